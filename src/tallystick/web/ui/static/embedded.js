// Events within somebody else's page: takes colours from the page around, tells it how tall it is and when the session is
// over; to no page but one whose origin the token names, which speaks first. Runs before the page is drawn.
{
  const root = document.documentElement
  const hosts = root.dataset.hosts.split(" ")
  const KEPT = "tallystick-theme"
  const COLOURS = ["paper", "panel", "raised", "hover", "ink", "soft", "line", "edge", "accent", "on-accent", "accent-soft", "good", "good-soft", "bad", "bad-soft", "warn", "warn-soft"]
  const OTHERS = { round: "border-radius", sans: "font-family", mono: "font-family" }
  const isFit = (name, value) => typeof value === "string" && value.length <= 200 && !/url\(|var\(|env\(|image/i.test(value)
    && (COLOURS.includes(name) ? CSS.supports("color", value) : name in OTHERS && CSS.supports(OTHERS[name], value))

  const dress = ({ theme, colors }) => {
    if (["light", "dark", "system"].includes(theme)) root.dataset.theme = theme
    for (const name of [...COLOURS, ...Object.keys(OTHERS)]) {
      if (isFit(name, colors?.[name])) root.style.setProperty(`--${name}`, colors[name])
      else root.style.removeProperty(`--${name}`)
    }
  }
  try { dress(JSON.parse(sessionStorage.getItem(KEPT) ?? "{}")) } catch { /* no storage within a foreign page: the colours come a moment later */ }

  let host = null
  const tell = (type, more = {}) => { if (host) parent.postMessage({ type: `tallystick:${type}`, ...more }, host) }
  const tellHeight = () => { const main = document.querySelector("main"); if (main) tell("height", { height: Math.ceil(main.getBoundingClientRect().height) }) }
  addEventListener("message", event => {
    const isNamed = hosts.includes(event.origin) || hosts.includes("*") || event.origin === location.origin
    if (event.source !== parent || parent === window || !isNamed || event.data?.type !== "tallystick:hello") return
    host = event.origin
    dress(event.data)
    try { sessionStorage.setItem(KEPT, JSON.stringify({ theme: event.data.theme, colors: event.data.colors })) } catch { /* as above */ }
    tell("ended" in root.dataset ? "ended" : "ready")
    tellHeight()
  })
  addEventListener("DOMContentLoaded", () => new ResizeObserver(tellHeight).observe(document.querySelector("main")))
  // The page that says so comes from the server, which alone knows whether the session is over.
  if (root.dataset.ends) setTimeout(() => location.reload(), Math.max(0, new Date(root.dataset.ends) - Date.now()) + 500)
}
