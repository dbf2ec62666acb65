// Rows and values: a click on a row opens it beside the table, a click on a value asks what to do with it.
const $ = selector => document.querySelector(selector)
const go = (url, target) => document.dispatchEvent(new CustomEvent("go", { detail: { url, target } }))
const menu = () => $("#menu")
let opener = null

const close = () => { const one = menu(); if (one && !one.hidden) { one.hidden = true; opener?.removeAttribute("aria-expanded"); opener = null } }

// What the search language needs quotes for (query/language.py, write_term).
const quoted = text => /["\s]/.test(text) || !text ? `"${text.replace(/\\/g, "\\\\").replace(/"/g, '\\"')}"` : text
const without = link => {
  const url = new URL(link.href)
  const values = url.searchParams.getAll(link.dataset.k)
  const here = new URL($("#results").dataset.base, location.href)
  const term = `-${link.dataset.k}:${quoted(values.at(-1))}`
  here.searchParams.set("q", [here.searchParams.get("q"), term].filter(Boolean).join(" "))
  return here.pathname + here.search
}

const show = link => {
  close()
  const box = menu()
  opener = link
  link.setAttribute("aria-expanded", "true")
  const of = Object.assign(document.createElement("div"), { className: "of", textContent: link.textContent })
  of.setAttribute("role", "presentation")
  const item = (text, made) => { made.textContent = text; made.setAttribute("role", "menuitem"); made.tabIndex = -1; return made }
  const filter = item("Filter for this", Object.assign(document.createElement("a"), { href: link.getAttribute("href") }))
  filter.dataset.go = ""
  const exclude = item("Exclude this", Object.assign(document.createElement("a"), { href: without(link) }))
  exclude.dataset.go = ""
  const copy = item("Copy", document.createElement("button"))
  copy.type = "button"
  copy.addEventListener("click", () => document.dispatchEvent(new CustomEvent("copy:text", { detail: new URL(link.href).searchParams.getAll(link.dataset.k).at(-1).replace(/^\^(.*)\$$/, "$1") })))
  const row = link.closest("tr")
  const open = item("Open the event", Object.assign(document.createElement("a"), { href: row?.querySelector(".open").getAttribute("href") ?? "#" }))
  open.addEventListener("click", event => { event.preventDefault(); openRow(row) })
  box.replaceChildren(of, filter, exclude, copy, ...(row ? [open] : []))
  box.hidden = false
  const at = link.getBoundingClientRect()
  box.style.left = `${Math.max(8, Math.min(at.left, innerWidth - box.offsetWidth - 8))}px`
  box.style.top = `${at.bottom + box.offsetHeight + 8 > innerHeight ? Math.max(8, at.top - box.offsetHeight - 4) : at.bottom + 4}px`
  filter.focus()
}

// Where somebody stands among the rows: at an event, and at its place once the event has left the table. `holds` says
// that the focus is there, or was when a swap took its row away.
let stood = null, holds = false
const rows = () => [...document.querySelectorAll("#rows tr")]
const standing = () => {
  const all = rows()
  return stood && (all.find(row => row.id === stood.id) ?? all[Math.min(stood.at, all.length - 1)])
}
const stand = row => { stood = { id: row.id, at: rows().indexOf(row) } }
const focus = row => row?.querySelector("a.open").focus({ preventScroll: true })
const isLost = () => !document.activeElement || document.activeElement === document.body
document.addEventListener("focusin", event => {
  const row = event.target.closest("#rows tr")
  holds = Boolean(row)
  if (row) stand(row)
})
document.addEventListener("pointerdown", event => { if (!event.target.closest?.("#rows")) holds = false })
document.addEventListener("view:changed", () => {
  if (!holds) return
  if (isLost()) focus(standing())
  else if (document.activeElement.closest("#rows tr")) stand(document.activeElement.closest("#rows tr"))
})
document.addEventListener("rows:walk", event => {
  const all = rows(), isOpen = !$("#drawer").hidden
  const row = all.find(one => one.contains(document.activeElement) || (isOpen && one.hasAttribute("aria-current"))) ?? (isOpen || holds ? standing() : null)
  const next = all[Math.max(0, Math.min(all.length - 1, (row ? all.indexOf(row) : -1) + event.detail))]
  if (!next) return
  next.scrollIntoView({ block: "nearest" })
  // With the drawer open the walk goes through its contents, else through the rows.
  if (isOpen) openRow(next)
  else focus(next)
})
document.addEventListener("rows:open", () => openRow(document.activeElement?.closest("#rows tr") ?? (holds && isLost() ? standing() : null)))

const openRow = row => { if (row) { close(); stand(row); go(row.querySelector("a.open").getAttribute("href").split("#")[0], "drawer") } }

document.addEventListener("click", event => {
  if (event.button || event.metaKey || event.ctrlKey || event.shiftKey || !$("#results")) return
  const value = event.target.closest?.("#rows a.v")
  if (value) {
    event.preventDefault()
    if (event.altKey) go(without(value), "view")
    else if (opener === value) close()
    else show(value)
    return
  }
  if (!event.target.closest?.("#menu")) close()
  else return void setTimeout(close)
  const row = event.target.closest?.("#rows tr")
  // Selecting text in a row is reading, not opening.
  if (!row || event.target.closest("button") || !getSelection().isCollapsed) return
  event.preventDefault()
  openRow(row)
})

document.addEventListener("keydown", event => {
  const box = menu()
  if (!box || box.hidden) return
  const items = [...box.querySelectorAll("[role=menuitem]")]
  const at = items.indexOf(document.activeElement)
  if (event.key === "Escape") { const back = opener; close(); back?.focus(); event.stopImmediatePropagation() }
  else if (event.key === "ArrowDown" || event.key === "ArrowUp") { items[(at + (event.key === "ArrowDown" ? 1 : items.length - 1)) % items.length].focus(); event.preventDefault() }
}, true)
document.addEventListener("scroll", close, true)

// Closing gives the focus back to the row; opening takes it to the sentence.
document.addEventListener("htmx:after:swap", event => {
  if (event.detail.ctx?.target?.id !== "drawer") return
  const drawer = $("#drawer")
  if (drawer.childElementCount) $("#summary-of-event")?.focus({ preventScroll: true })
  else focus(standing())
  mark()
})

// The column picker orders with buttons.
document.addEventListener("click", event => {
  const button = event.target.closest?.("[data-move]")
  if (!button) return
  const item = button.closest("li"), other = button.dataset.move === "-1" ? item.previousElementSibling : item.nextElementSibling
  if (other) { button.dataset.move === "-1" ? other.before(item) : other.after(item); button.focus() }
})

// … and by dragging, for those who have a mouse.
let dragged = null
document.addEventListener("dragstart", event => {
  dragged = event.target.closest?.(".picker li") ?? null
  if (dragged) event.dataTransfer.effectAllowed = "move"
})
document.addEventListener("dragover", event => {
  const over = dragged && event.target.closest?.(".picker li")
  if (!over) return
  event.preventDefault()
  const box = over.getBoundingClientRect()
  if (over !== dragged) event.clientY < box.top + box.height / 2 ? over.before(dragged) : over.after(dragged)
})
document.addEventListener("dragend", () => { dragged = null })

// The drawer's width: dragged or with arrow keys, remembered in this browser.
const root = document.documentElement
const width = pixels => { root.style.setProperty("--drawer", `${Math.round(Math.max(384, Math.min(pixels, innerWidth * 0.92)))}px`) }
const remember = () => { try { localStorage.setItem("tallystick-drawer", $("#drawer").offsetWidth) } catch { /* private windows */ } }
try { const kept = Number(localStorage.getItem("tallystick-drawer")); if (kept) width(kept) } catch { /* private windows */ }
document.addEventListener("pointerdown", event => {
  if (!event.target.closest?.(".grip")) return
  event.preventDefault()
  const move = one => width(innerWidth - one.clientX)
  addEventListener("pointermove", move)
  addEventListener("pointerup", () => { removeEventListener("pointermove", move); remember() }, { once: true })
})
document.addEventListener("keydown", event => {
  if (!event.target.closest?.(".grip") || !["ArrowLeft", "ArrowRight"].includes(event.key)) return
  width($("#drawer").offsetWidth + (event.key === "ArrowLeft" ? 32 : -32)); remember(); event.preventDefault()
})

// Which part of the drawer is being read.
const mark = () => {
  const body = $("#d-body")
  if (!body) return
  const tabs = [...document.querySelectorAll(".d-tabs a")]
  const here = () => {
    const top = body.getBoundingClientRect().top + 40
    const last = tabs.filter(tab => body.querySelector(tab.hash)?.getBoundingClientRect().top <= top).at(-1) ?? tabs[0]
    for (const tab of tabs) tab.classList.toggle("is-here", tab === last)
  }
  body.addEventListener("scroll", here, { passive: true })
  here()
}
document.addEventListener("click", event => {
  const tab = event.target.closest?.(".d-tabs a, .d-top a.chip[href^='#']")
  if (!tab) return
  event.preventDefault()
  $("#d-body, .one")?.querySelector(tab.hash)?.scrollIntoView({ block: "start" })
})
mark()
document.addEventListener("view:changed", mark)
