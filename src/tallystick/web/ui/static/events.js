// The events page goes from state to state without loading anew: links and the filter form fetch the part that changes,
// the address follows, back and forward work. Every link works without this file too.
const $ = selector => document.querySelector(selector)

// List and drawer each have a queue of their own: asking for one never takes back what was asked of the other.
const go = (url, target = "view", more = {}) =>
  htmx.ajax("GET", url, { source: target === "drawer" ? "#drawer" : "#view", target: `#${target}`, swap: target === "drawer" ? "innerHTML" : "outerMorph", push: "true", headers: { "HX-Target": `section#${target}` }, ...more })

// What was asked for after what, since answers come as they like: a list that was asked for before an event was opened
// or a field was edited takes neither away.
let turn = 0, opened = { id: null, turn: 0 }, edited = { field: null, turn: 0 }
const askedAt = new WeakMap()
const eventIn = path => new URLSearchParams(path.split("?")[1]).get("event")
opened.id = eventIn(location.search)
const withEvent = (path, id) => {
  const [place, query = ""] = path.split("?")
  const pairs = query.split("&").filter(pair => pair && !pair.startsWith("event="))
  return [place, [...pairs, ...(id ? [`event=${id}`] : [])].join("&")].filter(Boolean).join("?")
}
const keepsDrawer = source => source?.id === "filters" || opened.turn > (askedAt.get(source) ?? 0)
document.addEventListener("htmx:config:request", event => {
  const { sourceElement, request } = event.detail.ctx
  askedAt.set(sourceElement, ++turn)
  if (sourceElement.id === "drawer") opened = { id: eventIn(request.action), turn }
})
document.addEventListener("input", event => { if (event.target.closest("#filters")) edited = { field: event.target, turn: ++turn } })
document.addEventListener("htmx:before:history:update", event => {
  const { history, sourceElement } = event.detail
  if (sourceElement?.id === "drawer") history.path = withEvent(location.pathname + location.search, eventIn(history.path))
  else if (keepsDrawer(sourceElement)) history.path = withEvent(history.path, opened.id)
  else opened.id = eventIn(history.path)
})
addEventListener("popstate", () => { opened.id = eventIn(location.search) })

// Links. Modifier keys and other windows are the browser's business.
document.addEventListener("click", event => {
  if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return
  const link = event.target.closest?.("#view a[data-go]")
  if (!link || !window.htmx || !$("#results") || !link.pathname.endsWith("/events")) return
  event.preventDefault()
  go(link.getAttribute("href"), link.dataset.go === "drawer" ? "drawer" : "view")
})
document.addEventListener("submit", event => {
  const form = event.target.closest("form[data-go]")
  if (!form || !window.htmx) return
  event.preventDefault()
  go(`${form.getAttribute("action")}?${new URLSearchParams(new FormData(form))}`)
})

// The zone's name is known to the browser alone.
const nameZone = () => {
  const link = $("#local")
  if (link) link.href = link.href.replace("tz=local", `tz=${encodeURIComponent(Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC")}`)
}

// Typing: one entry of the history for each visit to a field, whatever is typed there; nothing empty in the address.
let typed = null
document.addEventListener("focusin", event => { if (event.target.closest("#filters")) typed = null })
document.addEventListener("htmx:config:request", event => {
  const { ctx } = event.detail
  if (ctx.sourceElement?.id !== "filters") return
  const { body } = ctx.request
  const field = ctx.sourceEvent.target
  if (field?.name === "range") for (const name of ["from", "to", "from_at", "to_at"]) body.delete(name)
  for (const [name, text] of [...body]) if (text === "") body.delete(name)
  if (field?.name !== "from_at" && field?.name !== "to_at") { body.delete("from_at"); body.delete("to_at") }
  const asked = `${new URLSearchParams(body)}`
  const isTyping = ctx.sourceEvent.type === "input"
  // Leaving a field asks nothing that was not asked while typing.
  if (ctx.sourceEvent.type === "change" && field?.type === "search" && typed?.asked === asked) return event.preventDefault()
  if (isTyping && typed?.field === field) ctx.request.headers["X-Typing"] = "1"
  typed = { field, asked }
})

// What was fetched is shown; a failure leaves the old rows and says so.
const say = text => { const place = $("#said"); if (place) { place.textContent = text; clearTimeout(say.timer); say.timer = setTimeout(() => { place.textContent = "" }, 2500) } }
const failed = ctx => {
  const results = $("#results"), { response, request, target } = ctx
  if (!results) return
  results.classList.add("is-old")
  $("#failed")?.remove()
  const box = Object.assign(document.createElement("div"), { id: "failed", className: "note bad inline" })
  box.setAttribute("role", "alert")
  const why = response ? `The server answered ${response.status}.` : "The server could not be reached."
  const id = response?.headers?.get?.("X-Request-Id")
  const words = Object.assign(document.createElement("span"), { textContent: `${why} What you see is from before.${id ? ` Request ${id}.` : ""}` })
  const again = Object.assign(document.createElement("button"), { type: "button", className: "compact", textContent: "Retry" })
  again.addEventListener("click", () => go(request.action, ["results", "drawer"].includes(target?.id) ? target.id : "view"))
  box.append(words, again)
  results.prepend(box)
}
document.addEventListener("htmx:error", event => failed(event.detail.ctx))
document.addEventListener("htmx:response:error", event => {
  const { ctx } = event.detail
  if (ctx.response.status === 401 || ctx.response.raw.redirected) location.reload()
  else failed(ctx)
})
document.addEventListener("htmx:before:swap", event => {
  const { ctx } = event.detail
  if (ctx.response?.status >= 400) return event.preventDefault() // what is shown stays, and says that it is from before
  // Signed out meanwhile: what came is the sign-in page, which is no part of this one.
  if (ctx.response?.raw && new URL(ctx.response.raw.url).pathname.startsWith("/sign-in")) { event.preventDefault(); return location.reload() }
  if (ctx.target?.id === "view") $("#drawer")?.toggleAttribute("hx-morph-skip", keepsDrawer(ctx.sourceElement))
})
// A field keeps what was typed over what the page says, so the page has to say it again; not where it was edited since.
const refill = since => {
  const fields = [...document.querySelectorAll("#filters input[type=search], #filters input[type=datetime-local], #filters select")]
  for (const field of fields) if (field !== edited.field || edited.turn < since) field.value = (field.matches("select") ? field.querySelector("option[selected]")?.value : field.getAttribute("value")) ?? ""
}
document.addEventListener("htmx:after:swap", event => {
  const { ctx } = event.detail
  // Only when all of it came anew: a chart that arrives late must not take away what is being typed.
  if (ctx?.target?.id === "view") refill(askedAt.get(ctx.sourceElement) ?? 0)
  $("#drawer")?.removeAttribute("hx-morph-skip")
  $("#results")?.classList.remove("is-old")
  $("#failed")?.remove()
  settle()
  document.dispatchEvent(new CustomEvent("view:changed"))
})

// The drawer: opened in place, the row it belongs to marked, the focus given back.
const settle = () => {
  nameZone()
  const drawer = $("#drawer")
  if (!drawer) return
  const open = drawer.childElementCount > 0
  const id = eventIn(location.search)
  drawer.hidden = !open
  for (const row of document.querySelectorAll("#rows tr[aria-current]")) if (row.id !== `e-${id}`) row.removeAttribute("aria-current")
  if (open && id) document.getElementById(`e-${id}`)?.setAttribute("aria-current", "true")
  for (const menu of document.querySelectorAll("#view details.menu[open]")) if (!menu.contains(document.activeElement)) menu.open = false
}
document.addEventListener("DOMContentLoaded", settle)
settle()

// Copying: a link, a command, the event as it is.
document.addEventListener("click", async event => {
  const button = event.target.closest?.("[data-copy], [data-copy-from]")
  if (!button) return
  const source = button.dataset.copyFrom
  const text = source ? $("#raw-exact")?.value ?? $(source).textContent : button.dataset.copy
  try { await navigator.clipboard.writeText(text); say(button.dataset.copied || "Copied") } catch { say("The browser did not allow copying") }
})
document.addEventListener("copy:text", async event => {
  try { await navigator.clipboard.writeText(event.detail); say("Copied") } catch { say("The browser did not allow copying") }
})
document.addEventListener("go", event => go(event.detail.url, event.detail.target))
// A menu closes when something else is clicked.
document.addEventListener("click", event => {
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false
})
