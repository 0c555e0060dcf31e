// Shortcuts, and the help that lists them.
const SHORTCUTS = [
  ['Ctrl+Enter', 'help_ask', null],
  ['G', 'step', held => press('step', held)],
  ['S', 'sample', held => press('sample', held)],
  ['Shift+G', 'step_n', held => press('step-n', held)],
  ['Shift+S', 'sample_n', held => press('sample-n', held)],
  ['1 … 9', 'help_pick', null],
  ['M', 'help_menu', null],
  ['L', 'help_ledger', () => element.querySelector(`[data-view=${ledgerShown ? 'table' : 'ledger'}]`).click()],
  ['Z', 'undo', held => press('undo', held)],
  ['Y', 'redo', held => press('redo', held)],
  ['Shift+R', 'reset', held => press('reset', held)],
  ['C', 'copy', held => press('text', held)],
  ['/', 'help_focus_prompt', () => el.prompt.focus()],
  ['T', 'help_focus_table', () => [...(ledgerShown ? el['ledger-body'] : el.tbody).querySelectorAll('button.pick')].find(pick => pick.tabIndex === 0)?.focus()],
  ['Esc', 'help_stop', null],
  ['?', 'help_help', () => openHelp()],
];
const SHORTCUT_OF = Object.fromEntries(SHORTCUTS.filter(([, , act]) => act).map(([name, , act]) => [name, act]));

function onKey(event) {
  if (!element.isConnected) { document.removeEventListener('keydown', onKey); return; }
  if (event.key === 'Escape') { stopRun(); hidePop(); return; }
  const within = event.target;
  if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey || element.querySelector('dialog[open]')) return;
  if (within instanceof HTMLElement && (within.isContentEditable || within.matches('textarea, select, input:not([type=range]):not([type=checkbox])'))) return;
  if (/^[1-9]$/.test(event.key)) {
    const row = el.tbody.children[Number(event.key) - 1];
    if (row?.nteToken !== undefined) { event.preventDefault(); perform('pick', { token_id: row.nteToken }); }
    return;
  }
  const letter = event.key.length === 1 ? event.key.toUpperCase() : event.key;
  const act = SHORTCUT_OF[event.shiftKey && /[A-Z]/.test(letter) ? 'Shift+' + letter : letter];
  if (act) { event.preventDefault(); act(event.repeat); }
}
document.addEventListener('keydown', onKey);

function openHelp() {
  const list = make('dl', 'keys');
  for (const [name, key] of SHORTCUTS) {
    const term = make('dt');
    term.append(make('kbd', '', name));
    list.append(term, make('dd', '', t(key)));
  }
  el['help-body'].replaceChildren(make('p', '', t('help_intro')), list, make('p', 'hint', t('help_symbols')), make('p', 'hint', t('limits_about', Object.fromEntries(Object.entries(limits).map(([name, limit]) => [name, grouped(limit)])))));
  el['help-dialog'].showModal();
}
el.help.addEventListener('click', openHelp);
el['help-close'].addEventListener('click', () => el['help-dialog'].close());
