"""Watches a page for all that text can't do: run, ask somebody, make an element, or hide."""

from playwright.sync_api import BrowserContext, Request

TAGS = """button circle cite dd dialog div dl dt footer form g h1 h2 h3 header i input kbd label li
 line ol optgroup option p path polyline progress rect section select span strong svg table tbody
 td text textarea th thead title tr ul""".split()
ATTRIBUTES = """accept autocomplete class cx cy d dir disabled for height hidden id label lang max
 maxlength min open placeholder points r role rows scope spellcheck step stroke-width style tabindex
 text-anchor title transform type value viewBox width x x1 x2 y y1 y2""".split()

# What stands in the page that none of its own code makes.
UNKNOWN = r"""([tags, attributes]) => {
  const found = [];
  for (const node of document.querySelectorAll('.nte, .nte *')) {
    if (!tags.includes(node.localName)) found.push(node.localName);
    for (const { name, value } of node.attributes) {
      const known = attributes.includes(name) || /^(data|aria)-/.test(name);
      if (!known) found.push(`${node.localName} ${name}`);
      if (name === 'style' && /url|expression|@|fixed/.test(value)) found.push(`style ${value}`);
    }
  }
  // Gradio's own frame around it has addresses and scripts, but none of these.
  for (const node of document.querySelectorAll('[src], [href], [srcdoc], [action], [data]')) {
    const values = [...node.attributes].map(one => one.value).join(' ');
    if (/outside.invalid|pwned/.test(values)) found.push(node.outerHTML);
  }
  for (const node of document.scripts) {
    if (/^(parent.)?pwned/.test(node.textContent)) found.push(node.outerHTML);
  }
  return found;
}"""

# Characters that nobody can see, but for the two that keep a text's direction to itself.
HIDDEN = r"""() => {
  const unseen = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800\ufffc]/u;
  const said = ['title', 'aria-label', 'placeholder', 'aria-valuetext', 'label'];
  const page = document.querySelector('.nte'), found = [];
  const walker = document.createTreeWalker(page, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const texts = node.nodeType === Node.TEXT_NODE
      ? [node.data] : said.map(name => node.getAttribute(name) ?? '');
    for (const text of texts) {
      if (!unseen.test(text.replace(/[\u2068\u2069\n]/g, ''))) continue;
      const place = node.parentElement.closest('[data-el], section, td, th');
      found.push(`unseen in ${place.dataset.el ?? place.className}: ${JSON.stringify(text)}`);
    }
  }
  return found;
}"""


class Watched:
    """A page, and whatever it did that text can't do."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.url = url
        self.wrong: list[str] = []
        context.add_init_script("window.pwned = 0; window.alert = () => { window.pwned = 2; };")
        context.on("request", self._asked)
        self.page = context.new_page()
        context.on("page", lambda page: self.wrong.append(f"a window: {page.url}"))
        self.page.on("pageerror", lambda error: self.wrong.append(f"an error: {error}"))
        self.page.on("dialog", lambda dialog: self.wrong.append(f"a dialog: {dialog.message}"))

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.wrong.append(f"a request: {request.url}")

    def found(self) -> list[str]:
        """Scripts that ran, what was asked for outside, what nobody made, and what nobody sees."""
        ran = self.page.evaluate("[window.pwned, ({}).pwned].filter(Boolean).map(String)")
        unknown = self.page.evaluate(UNKNOWN, [TAGS, ATTRIBUTES])
        return [*self.wrong, *ran, *unknown, *self.page.evaluate(HIDDEN)]
