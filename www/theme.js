// A classic script in the head, not a module: a choice made earlier must apply before the first paint, or the page flashes.
(() => {
  const KEY = 'keepfresh-demo-theme'
  const root = document.documentElement
  const dark = matchMedia('(prefers-color-scheme: dark)')

  // Web Storage throws where cookies are blocked; the toggle then lasts for this page only.
  const stored = () => { try { return localStorage.getItem(KEY) } catch { return null } }
  const store = (value) => { try { localStorage.setItem(KEY, value) } catch { /* see above */ } }
  const current = () => root.dataset.theme ?? (dark.matches ? 'dark' : 'light')

  const saved = stored()
  if (saved === 'dark' || saved === 'light') root.dataset.theme = saved

  addEventListener('DOMContentLoaded', () => {
    const button = document.getElementById('theme')
    const text = document.getElementById('theme-text')
    const name = () => { text.textContent = current() === 'dark' ? 'Light theme' : 'Dark theme' }
    button.addEventListener('click', () => {
      root.dataset.theme = current() === 'dark' ? 'light' : 'dark'
      store(root.dataset.theme)
      name()
    })
    dark.addEventListener('change', name)
    name()
  })
})()
