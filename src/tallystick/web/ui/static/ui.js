// What every page has: the zone's name, which only the browser knows.
for (const button of document.querySelectorAll("[data-zone-here]")) button.value = Intl.DateTimeFormat().resolvedOptions().timeZone || "utc"
