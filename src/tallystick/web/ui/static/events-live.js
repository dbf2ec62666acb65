// Live tail: rows as they are recorded, resumed where the connection broke, quiet while the page is hidden.
const $ = selector => document.querySelector(selector)
const ROWS_MAX = 200
const TOLD_EVERY = 10_000
let stream = null, last = null, source = null, held = [], told = 0, untold = 0

const button = () => $("#live")
const state = word => {
  const one = button()
  if (!one) return
  one.dataset.state = word
  one.setAttribute("aria-pressed", String(word !== "off"))
  one.querySelector(".label").textContent = { off: "Live", live: "Live", reconnecting: "Reconnecting", paused: "Paused" }[word]
}
const announce = count => {
  untold += count
  if (Date.now() - told < TOLD_EVERY || !untold) return
  $("#live-said").textContent = `${untold} new events`
  told = Date.now(); untold = 0
}
const row = html => { const made = document.createElement("template"); made.innerHTML = html; return made.content.firstElementChild }
const isBusy = () => !$("#drawer").hidden || ($("#region")?.scrollTop ?? 0) > 4 || scrollY > ($("#results")?.offsetTop ?? 0)
const pill = () => {
  let one = $("#new-rows")
  if (!held.length) return one?.remove()
  if (!one) {
    one = Object.assign(document.createElement("button"), { type: "button", id: "new-rows", className: "new-rows" })
    one.addEventListener("click", () => { const rows = held; held = []; put(rows); $("#region").scrollTop = 0; $("#results").scrollIntoView({ block: "nearest" }); pill() })
    $("#region").before(one)
  }
  one.textContent = `${held.length === ROWS_MAX ? `${ROWS_MAX}+` : held.length} new event${held.length === 1 ? "" : "s"}`
}
const put = rows => {
  const body = $("#rows")
  for (const one of rows) {
    if (document.getElementById(one.id)) continue
    one.classList.add("row-new")
    body.prepend(one)
  }
  while (body.rows.length > ROWS_MAX) body.lastElementChild.remove()
  announce(rows.length)
}
const take = event => {
  last = event.lastEventId || last
  const body = $("#rows")
  // The first row of an empty page brings the table with it.
  if (!body) { stop(); return document.dispatchEvent(new CustomEvent("go", { detail: { url: location.pathname + location.search, target: "view" } })) }
  const made = row(JSON.parse(event.data))
  if (!isBusy()) return put([made])
  held = [...held, made].slice(-ROWS_MAX)
  pill()
}
const open = () => {
  const one = button()
  if (!one) return
  source = one.dataset.source
  const url = new URL(source, location.href)
  url.searchParams.set("after", last ?? one.dataset.after)
  stream = new EventSource(url)
  stream.addEventListener("open", () => state("live"))
  stream.addEventListener("row", take)
  stream.addEventListener("problem", stop)
  stream.addEventListener("error", () => { if (stream?.readyState === EventSource.CLOSED) { stream = null; state("reconnecting"); setTimeout(() => { if (wanted && !stream) open() }, 2000) } else if (stream) state("reconnecting") })
}
let wanted = false
const start = () => { wanted = true; last = null; held = []; open(); state("reconnecting") }
const stop = () => { wanted = false; stream?.close(); stream = null; last = null; held = []; pill(); state("off") }

document.addEventListener("click", event => {
  if (!event.target.closest?.("#live")) return
  event.preventDefault()
  wanted ? stop() : start()
})
document.addEventListener("keydown", event => { if (event.key === " " && document.activeElement?.id === "live") { event.preventDefault(); button().click() } })
document.addEventListener("live:toggle", () => (wanted ? stop() : start()))
document.addEventListener("visibilitychange", () => {
  if (!wanted) return
  if (document.hidden) { stream?.close(); stream = null; state("paused") }
  else { open(); state("reconnecting") }
})
// Another search is another stream; an older page has no live end.
document.addEventListener("view:changed", () => {
  if (wanted && button() && button().dataset.source !== source) { stream?.close(); stream = null; last = null; held = []; pill(); open() }
  else if (wanted) state(stream?.readyState === EventSource.OPEN ? "live" : "reconnecting")
  watch()
})

// A new installation waits for its first event.
let waiting = null
const watch = () => {
  const place = $("#first-run")
  if (!place || waiting) return place || waiting?.close()
  waiting = new EventSource(place.dataset.source)
  waiting.addEventListener("row", () => {
    waiting.close(); waiting = null
    document.dispatchEvent(new CustomEvent("go", { detail: { url: "/events?view=all", target: "view" } }))
  })
}
watch()
addEventListener("pagehide", () => { stream?.close(); waiting?.close() })
if (new URLSearchParams(location.search).get("live") === "1") start()
