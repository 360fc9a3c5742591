/** The few DOM helpers of the page. Text goes in through `textContent` only, so nothing from a server becomes markup. */

/** The element with this id; the markup is ours, so a missing one is a mistake in this folder. */
export function byId(id) {
  const element = document.getElementById(id)
  if (!element) throw new Error(`the page has no #${id}`)
  return element
}

/** Writes only on a change: a rewrite would make screen readers repeat a live region and break text selection. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text
}

/** A new element with a class and text. */
export function make(tag, className, text) {
  const element = document.createElement(tag)
  if (className) element.className = className
  if (text !== undefined) element.textContent = text
  return element
}

/** A sign from the sprite in index.html. */
export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg')
  svg.setAttribute('class', 'icon')
  svg.setAttribute('aria-hidden', 'true')
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use')
  use.setAttribute('href', `#i-${name}`)
  svg.append(use)
  return svg
}

/** Shows a message in a box of its own, or hides the box. `kind`: '', 'warn' or 'bad'. `link`: `{ href, text }`. */
export function say(box, text, kind = '', link) {
  box.hidden = !text
  box.classList.toggle('warn', kind === 'warn')
  box.classList.toggle('bad', kind === 'bad')
  box.replaceChildren(text ?? '')
  if (!link) return
  const anchor = make('a', '', link.text)
  anchor.href = link.href
  anchor.addEventListener('click', (event) => {
    event.preventDefault()
    document.querySelector(link.href)?.focus()
  })
  box.append(' ', anchor)
}

/**
 * Runs `work` unless it runs already. The button turns aria-disabled, not disabled:
 * a disabled button drops the keyboard focus of the person who just pressed it.
 */
export function busyButton(button, work) {
  button.addEventListener('click', async () => {
    if (button.getAttribute('aria-disabled') === 'true') return
    button.setAttribute('aria-disabled', 'true')
    try {
      await work()
    } finally {
      button.removeAttribute('aria-disabled')
    }
  })
}
