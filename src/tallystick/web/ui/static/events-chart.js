// The histogram: says what a bar is, and zooms into what was dragged over or chosen with the keyboard.
const $ = selector => document.querySelector(selector)
const go = url => document.dispatchEvent(new CustomEvent("go", { detail: { url, target: "view" } }))
const bars = () => [...document.querySelectorAll("#bars tbody tr")]
let from = null, to = null, dragging = false

const draw = () => {
  const brush = $("#chart .brush"), count = bars().length
  if (!brush || !count) return
  const [low, high] = from === null ? [0, -1] : [Math.min(from, to), Math.max(from, to)]
  brush.setAttribute("x", `${100 * low / count}%`)
  brush.setAttribute("width", `${100 * Math.max(0, high - low + 1) / count}%`)
}
const tell = at => {
  const tip = $("#chart .tip"), row = bars()[at]
  if (!tip || !row) return
  const [time, good, other] = [...row.cells].map(cell => cell.textContent)
  const many = (text, word) => `${Number(text).toLocaleString("en")} ${word}`
  tip.textContent = from !== null && from !== to
    ? `${bars()[Math.min(from, to)].cells[0].textContent} – ${bars()[Math.max(from, to)].cells[0].textContent}`
    : `${time} · ${many(good, "success")} · ${many(other, "not successful")}`
  tip.hidden = false
  const box = $("#chart"), left = (at + 0.5) / bars().length * box.clientWidth
  tip.style.left = `${Math.max(0, Math.min(left - tip.offsetWidth / 2, box.clientWidth - tip.offsetWidth))}px`
}
const hush = () => { const tip = $("#chart .tip"); if (tip) tip.hidden = true }
const clear = () => { from = to = null; draw(); hush() }
const at = event => {
  const box = $("#chart .plot").getBoundingClientRect(), count = bars().length
  return Math.max(0, Math.min(count - 1, Math.floor((event.clientX - box.left) / box.width * count)))
}
const zoom = () => {
  if (from === null) return
  const rows = bars(), first = rows[Math.min(from, to)], last = rows[Math.max(from, to)]
  const url = new URL($("#chart").dataset.zoom, location.href)
  url.searchParams.set("from", first.dataset.f)
  url.searchParams.set("to", last.dataset.t)
  clear()
  go(url.pathname + url.search)
}
const out = () => { const url = $("#chart")?.dataset.out; clear(); if (url && /[?&](from|to|range)=/.test(location.search)) go(url) }

document.addEventListener("pointerdown", event => {
  if (event.button || !event.target.closest?.("#chart .plot")) return
  dragging = true
  from = to = at(event)
  draw()
})
document.addEventListener("pointermove", event => {
  if (dragging) { to = at(event); draw(); tell(to) }
  else if (event.target.closest?.("#chart .plot")) tell(at(event))
  else hush()
})
document.addEventListener("pointerup", event => {
  if (!dragging) return
  dragging = false
  // A click is no selection; a drag over one bar is.
  if (from === to && Math.abs(event.clientX - started) < 4) clear()
  else zoom()
})
let started = 0
document.addEventListener("pointerdown", event => { started = event.clientX }, true)
document.addEventListener("dblclick", event => { if (event.target.closest?.("#chart .plot")) out() })
document.addEventListener("zoom:out", out)
document.addEventListener("keydown", event => {
  if (document.activeElement?.id !== "chart") return
  const count = bars().length, step = { ArrowLeft: -1, ArrowRight: 1 }[event.key]
  if (step && count) {
    const edge = Math.max(0, Math.min(count - 1, (to ?? count) + step))
    if (!event.shiftKey || from === null) from = edge
    to = edge
    draw(); tell(to); event.preventDefault()
  } else if (event.key === "Enter") zoom()
  else if (event.key === "Escape" && from !== null) { clear(); event.stopPropagation() }
})
document.addEventListener("view:changed", () => { from = to = null; dragging = false })
