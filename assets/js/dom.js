// Elements. Texts from anywhere are only ever set as textContent or attributes.
const el = Object.fromEntries([...element.querySelectorAll('[data-el]')].map(node => [node.dataset.el, node]));

// The page is all there is: Gradio's own margins around it go.
for (let node = element; node && node !== document.body; node = node.parentElement) node.style.padding = '0';

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}
function setText(node, text) {
  if (node.textContent === text) return;
  // A text node that gets other words is laid out anew; a new one is styled and built, too.
  const only = node.firstChild;
  if (text !== '' && only?.nodeType === Node.TEXT_NODE && only === node.lastChild) only.data = text;
  else node.textContent = text;
}
// A token's text. What stands in it for something unseen is set apart: in looks, and in direction.
function setToken(node, text) {
  if (!text.includes('⟨')) return setText(node, text);
  if (node.textContent === text) return;
  node.replaceChildren(...text.split(/(⟨[^⟩]*⟩)/).filter(Boolean).map(part => part.startsWith('⟨') ? Object.assign(make('span', 'sign', part), { dir: 'ltr' }) : part));
}
function makeToken(tag, className, text) {
  const node = make(tag, className);
  node.dir = 'auto';
  setToken(node, text);
  return node;
}

function translatePage() {
  el.root.lang = language;
  document.documentElement.lang = language;
  document.title = t('title');
  for (const [attribute, set] of [
    ['t', (node, text) => setText(node, text)],
    ['tPlaceholder', (node, text) => { node.placeholder = text; }],
    ['tLabel', (node, text) => node.setAttribute('aria-label', text)],
    ['tTitle', (node, text) => { node.title = text; }],
  ]) {
    const selector = '[data-' + attribute.replace(/[A-Z]/g, letter => '-' + letter.toLowerCase()) + ']';
    for (const node of element.querySelectorAll(selector)) set(node, t(node.dataset[attribute]));
  }
  for (const button of element.querySelectorAll('[data-language]')) button.setAttribute('aria-pressed', String(button.dataset.language === language));
}

// One tab stop for a group; arrow keys move inside it.
function roving(box, selector) {
  box.addEventListener('keydown', event => {
    const by = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (!by && event.key !== 'Home' && event.key !== 'End') return;
    const all = [...box.querySelectorAll(selector)];
    const at = all.indexOf(document.activeElement);
    if (at < 0) return;
    const next = event.key === 'Home' ? all[0] : event.key === 'End' ? all.at(-1) : all[at + by];
    if (!next) return;
    event.preventDefault();
    all[at].tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
}
function oneTabStop(nodes, preferred = 0) {
  nodes.forEach((node, i) => { const index = i === preferred ? 0 : -1; if (node.tabIndex !== index) node.tabIndex = index; });
}

// A button that is about to be disabled or hidden hands its focus on, and has it back afterwards.
function handFocus(to) {
  const from = document.activeElement;
  if (!from?.matches('.nte button')) return () => {};
  to.focus();
  return () => { if ([to, document.body].includes(document.activeElement)) from.focus(); };
}

let noteTimer = 0, beforeNote = null; // what was focused when a note came
function showNote(text, { retry = null, kind = 'error', stays = false } = {}) {
  clearTimeout(noteTimer);
  if (!el.note.contains(document.activeElement)) beforeNote = document.activeElement;
  setText(el['note-text'], text);
  el.note.dataset.kind = kind;
  el.note.hidden = false;
  el['note-retry'].hidden = !retry;
  el['note-retry'].onclick = retry;
  if (kind === 'info' && !stays) noteTimer = setTimeout(hideNote, 2500);
}
function hideNote() {
  if (el.note.contains(document.activeElement)) beforeNote?.focus();
  el.note.hidden = true;
}
el['note-close'].addEventListener('click', hideNote);

function download(name, type, content) {
  const link = make('a');
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
