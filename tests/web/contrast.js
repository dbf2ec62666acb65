// Returns every text of the page whose contrast is below WCAG 2.2 AA: 4.5, or 3 for large text.
() => {
  const numbers = colour => (colour.match(/[\d.]+/g) || []).map(Number)
  const light = ([r, g, b]) => {
    const channel = value => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4
    return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b)
  }
  const behind = element => {
    for (let one = element; one; one = one.parentElement) {
      const colour = numbers(getComputedStyle(one).backgroundColor)
      if (colour.length === 3 || colour[3] > 0.99) return colour
    }
    return [255, 255, 255]
  }
  const found = []
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement
    if (!walker.currentNode.textContent.trim() || !element.getClientRects().length) continue
    const style = getComputedStyle(element)
    const [first, second] = [light(numbers(style.color)), light(behind(element))].sort((a, b) => b - a)
    const ratio = (first + 0.05) / (second + 0.05)
    const size = parseFloat(style.fontSize)
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700)
    if (ratio < (isLarge ? 3 : 4.5)) found.push(`${ratio.toFixed(2)}: ${walker.currentNode.textContent.trim().slice(0, 60)}`)
  }
  return [...new Set(found)]
}
