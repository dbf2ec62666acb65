// The keyboard (`?` lists it): single keys off inside fields and where somebody switched them off.
const $ = selector => document.querySelector(selector)
const press = selector => $(selector)?.click()
const go = url => document.dispatchEvent(new CustomEvent("go", { detail: { url, target: "view" } }))
let behind_g = 0

const isOff = () => { try { return localStorage.getItem("tallystick-keys") === "off" } catch { return false } }
const isField = element => element?.closest?.("input, select, textarea, [contenteditable]")
const walk = step => document.dispatchEvent(new CustomEvent("rows:walk", { detail: step }))
const unfold = (selector, field) => { const more = $(selector); if (more) { more.open = true; $(field)?.focus() } }
const KEYS = {
  "/": () => { $("#f-user").focus(); $("#f-user").select() },
  f: () => unfold(".filters .more", "#f-q"),
  t: () => $("#f-range").focus(),
  j: () => walk(1), k: () => walk(-1), ArrowDown: () => walk(1), ArrowUp: () => walk(-1),
  l: () => document.dispatchEvent(new CustomEvent("live:toggle")),
  c: () => unfold("#columns", "#columns input[type=checkbox]"),
  z: () => document.dispatchEvent(new CustomEvent("zoom:out")),
  u: () => (document.querySelector("#view").dataset.zone === "utc" ? press("#local") : $("#local")?.previousElementSibling?.click()),
  y: () => document.dispatchEvent(new CustomEvent("copy:text", { detail: location.href })),
  e: () => press("#export"),
  n: () => press(".pager [rel=next]"), p: () => press(".pager [rel=prev]"),
  "?": () => $("#help")?.showModal(),
}
const AFTER_G = { e: "/events", v: "/verify", x: "/exports", k: "/settings/keys", a: "/alerts", s: "/settings/sources" }

document.addEventListener("keydown", event => {
  if (event.defaultPrevented) return
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k" && $("#help")) { event.preventDefault(); return palette() }
  if (event.ctrlKey || event.metaKey || event.altKey) return
  if (event.key === "Escape") return escape(event)
  if (isField(event.target) || document.querySelector("dialog[open]") || isOff() || !$("#results")) return
  if (behind_g && Date.now() - behind_g < 1500) {
    behind_g = 0
    const link = document.querySelector(`.rail a[href="${AFTER_G[event.key]}"]`)
    if (link) { event.preventDefault(); link.click() }
    return
  }
  if (event.key === "g") { behind_g = Date.now(); return }
  if (event.key.startsWith("Arrow") && document.activeElement?.closest("#chart, .grip, #region, #d-body")) return
  if (event.key === "Enter") {
    // On a row, or where a swap has just taken the row away; everything else that has the focus knows what Enter does.
    if (!document.activeElement || document.activeElement.matches("body, #rows a.open")) { event.preventDefault(); document.dispatchEvent(new CustomEvent("rows:open")) }
    return
  }
  const act = KEYS[event.key]
  if (act) { event.preventDefault(); act() }
})
const escape = event => {
  const menu = document.querySelector("details.menu[open]")
  if (menu) { menu.open = false; menu.querySelector("summary").focus() }
  else if (isField(event.target) && event.target.closest("#filters")) {
    event.preventDefault() // a browser empties a field of this kind, and with it the search that was just typed
    event.target.blur()
  }
  else if ($("#drawer") && !$("#drawer").hidden && !document.querySelector("dialog[open]")) press("#close")
}

document.addEventListener("change", event => { if (event.target.id === "keys-on") try { localStorage.setItem("tallystick-keys", event.target.checked ? "on" : "off") } catch { /* private windows */ } })
document.addEventListener("toggle", () => { const box = $("#keys-on"); if (box) box.checked = !isOff() }, true)

// The palette: pages, views, actions, the actors of this page; found by typing any part of them.
const choices = () => {
  const links = [...document.querySelectorAll(".rail a, #views a.item")].map(link => [link.textContent.trim(), () => link.click()])
  const acts = [["Live tail", KEYS.l], ["Columns", KEYS.c], ["Zoom out", KEYS.z], ["UTC or local time", KEYS.u], ["Copy the link", KEYS.y], ["Keyboard", KEYS["?"]]]
  const people = new Map([...document.querySelectorAll("#rows .c-user a.v")].map(link => [link.textContent, link.getAttribute("href")]))
  return [...links, ...acts, ...[...people].map(([name, href]) => [`Actor ${name}`, () => go(href)])]
}
const palette = () => {
  let box = $("#palette")
  if (!box) {
    box = document.createElement("dialog")
    box.id = "palette"
    box.setAttribute("aria-label", "Command palette")
    const field = Object.assign(document.createElement("input"), { type: "text", placeholder: "Go to a page, a view, an actor …", autocomplete: "off" })
    for (const [name, text] of [["role", "combobox"], ["aria-label", "Command"], ["aria-expanded", "true"], ["aria-controls", "palette-list"], ["aria-autocomplete", "list"]]) field.setAttribute(name, text)
    const list = Object.assign(document.createElement("ul"), { id: "palette-list" })
    list.setAttribute("role", "listbox"); list.setAttribute("aria-label", "Commands")
    box.append(field, list)
    document.body.append(box)
    field.addEventListener("input", () => fill(field, list))
    field.addEventListener("keydown", event => {
      const items = [...list.children], at = items.findIndex(item => item.getAttribute("aria-selected") === "true")
      if (event.key === "ArrowDown" || event.key === "ArrowUp") { event.preventDefault(); choose(field, items, (at + (event.key === "ArrowDown" ? 1 : items.length - 1)) % items.length) }
      if (event.key === "Enter") { event.preventDefault(); items[at]?.click() }
    })
  }
  box.showModal()
  const field = box.querySelector("input")
  field.value = ""
  fill(field, box.querySelector("ul"))
  field.focus()
}
const choose = (field, items, at) => {
  items.forEach((item, one) => item.setAttribute("aria-selected", String(one === at)))
  items[at]?.scrollIntoView({ block: "nearest" })
  items[at] ? field.setAttribute("aria-activedescendant", items[at].id) : field.removeAttribute("aria-activedescendant")
}
const fill = (field, list) => {
  const words = field.value.toLowerCase().split(/\s+/)
  const found = choices().filter(([name]) => words.every(word => name.toLowerCase().includes(word))).slice(0, 40)
  list.replaceChildren(...found.map(([name, act], at) => {
    const item = Object.assign(document.createElement("li"), { id: `palette-${at}`, textContent: name })
    item.setAttribute("role", "option")
    item.addEventListener("click", () => { $("#palette").close(); act() })
    return item
  }))
  choose(field, [...list.children], 0)
}
