// <tallystick-viewer token="vwt_…">: a part of an audit log within your page. One file, no framework, nothing else loaded.
//   token   what your backend made for this visit; a new one begins a new session
//   query   what to begin with, as the viewer's own address says it: "range=7d&cols=time,user,action"
//   theme   light, dark or system
//   label   what a screen reader calls it
// Custom properties: --tallystick-accent, --tallystick-paper and the others of NAMES, and --tallystick-max-height.
// Events: "tallystick-ready", "tallystick-ended" (give it a new token).
{
  const server = new URL(document.currentScript.src).origin
  const NAMES = ["paper", "panel", "raised", "hover", "ink", "soft", "line", "edge", "accent", "on-accent", "accent-soft", "good", "good-soft", "bad", "bad-soft", "warn", "warn-soft", "round", "sans", "mono"]
  const sheet = new CSSStyleSheet()
  sheet.replaceSync(":host { display: block } iframe { display: block; width: 100%; border: 0; height: 28rem; max-height: var(--tallystick-max-height, 80vh); color-scheme: light dark }")

  class TallystickViewer extends HTMLElement {
    static observedAttributes = ["token", "theme", "style", "class", "label"]
    #frame = document.createElement("iframe")
    #loaded = false
    #hear = event => {
      if (event.origin !== server || event.source !== this.#frame.contentWindow) return
      const { type, height } = event.data ?? {}
      if (type === "tallystick:height" && Number.isFinite(height)) this.#frame.style.height = `${Math.max(0, Math.min(height, 20000))}px`
      if (type === "tallystick:ready") this.dispatchEvent(new CustomEvent("tallystick-ready", { bubbles: true, composed: true }))
      if (type === "tallystick:ended") this.dispatchEvent(new CustomEvent("tallystick-ended", { bubbles: true, composed: true }))
    }

    constructor() {
      super()
      const root = this.attachShadow({ mode: "open" })
      root.adoptedStyleSheets = [sheet]
      this.#frame.allow = "clipboard-write"
      this.#frame.addEventListener("load", () => { this.#loaded = Boolean(this.#frame.src); this.#hello() })
      root.append(this.#frame)
    }

    get token() { return this.getAttribute("token") ?? "" }
    set token(value) { this.setAttribute("token", value) }
    get theme() { return this.getAttribute("theme") ?? "system" }
    set theme(value) { this.setAttribute("theme", value) }

    connectedCallback() { addEventListener("message", this.#hear); this.#open() }
    disconnectedCallback() { removeEventListener("message", this.#hear) }
    attributeChangedCallback(name, before, now) {
      if (!this.isConnected || before === now) return
      if (name === "token") this.#open()
      else { this.#frame.title = this.getAttribute("label") ?? "Audit log"; this.#hello() }
    }

    #open() {
      this.#frame.title = this.getAttribute("label") ?? "Audit log"
      this.#loaded = false
      if (this.token) this.#frame.src = `${server}/embed?${new URLSearchParams([["token", this.token], ...new URLSearchParams(this.getAttribute("query") ?? "")])}`
    }

    // The page around speaks first; the viewer answers none but an origin its token names.
    #hello() {
      const style = getComputedStyle(this)
      const colors = Object.fromEntries(NAMES.map(name => [name, style.getPropertyValue(`--tallystick-${name}`).trim()]).filter(([, value]) => value))
      if (this.#loaded) this.#frame.contentWindow?.postMessage({ type: "tallystick:hello", theme: this.theme, colors }, server)
    }
  }
  customElements.define("tallystick-viewer", TallystickViewer)
}
