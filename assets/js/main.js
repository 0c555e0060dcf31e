// What is shown now, what the buttons do, and how it all begins.
let current = null; // the last view the server sent, with the last table
let running = false;
let drawsOnly = false; // the view on its way follows a draw, which the dice then show

function show(view) {
  if (view.last_draw && drawsOnly) diceOf = 'last';
  drawsOnly = false;
  current = view;
  if (!running) setText(el['run-progress'], '');
  showPrompt(view);
  drawStrip(view);
  drawScore(view);
  drawTree(view);
  if (aheadFound.length && aheadOf !== textOf(view)) drawAhead();
  drawRounding();
  showTable(view);
  setButtons();
  const name = setup.models.find(choice => choice.name === view.model.name)?.title ?? view.model.name;
  const { vocab_size, context_length, family, dtype, device, licence } = view.model;
  const said = Object.fromEntries(Object.entries({ name, family, dtype: dtype ?? unknown, device: device ?? unknown, licence: licence ?? t('licence_unknown') }).map(([fact, text]) => [fact, visible(text)]));
  setText(el['model-facts'], t('model_facts', { ...said, vocab: grouped(vocab_size), context: grouped(context_length) }));
}
function showTable(table) {
  Object.assign(current, table);
  drawRows(current);
  drawSummary(current, current);
  drawChart({ ...current.chart, vocab_size: current.summary.vocab_size });
  showSettings(current);
  drawLedger(current);
  drawDice(current);
  drawCockpit(current);
  sayTable(current);
  readBeyond();
}
// For those who hear the page: what the table says, once it has come to rest.
let sayTimer = 0;
function sayTable({ rows: [first], summary }) {
  clearTimeout(sayTimer);
  sayTimer = setTimeout(() => setText(el.said, t('say_table', { token: first.text, p: finalOf(first), kept: grouped(summary.kept) })), 600);
}
function redraw() {
  translatePage();
  if (setup.public) el.prompt.title = t('prompt_limit', { characters: grouped(limits.prompt_characters), tokens: grouped(limits.prompt_tokens) });
  drawLegend();
  buildModels();
  buildExamples();
  buildControls();
  setText(el['number-form'], asFraction ? '0.00' : '%');
  drawAhead();
  drawPins();
  drawLens();
  drawRounding();
  drawEarly();
  if (current) show(current);
}
// What an input allows is what the server does.
for (const [name, limit] of [['run-count', 'run_tokens'], ['top-n', 'table_rows'], ['ahead-width', 'beams'], ['ahead-depth', 'ahead_tokens'], ['ahead-nodes', 'ahead_nodes']]) {
  el[name].max = limits[limit];
  el[name].value = Math.min(el[name].value, limits[limit]);
}
function setButtons() {
  el['ahead-run'].disabled = !current || running || current.stop === 'context_full';
  const can = { undo: current?.can_undo, redo: current?.can_redo, reset: current && current.length > current.prompt_length };
  for (const button of element.querySelectorAll('[data-do]')) {
    const action = button.dataset.do;
    const grows = ['step', 'sample', 'step-n', 'sample-n'].includes(action);
    button.disabled = !current || (running && !['text', 'csv', 'path_csv', 'json', 'link'].includes(action)) || (action in can && !can[action]) || (grows && current.stop === 'context_full');
  }
}

// Every press counts, in order, however slow the answers; a held key must not pile up.
let pressed = Promise.resolve(), inLine = 0, forgotten = 0;
async function press(action, held = false) {
  if (!isPossible(action) || (held && inLine)) return;
  const before = pressed, mine = forgotten;
  let letNext;
  pressed = new Promise(done => { letNext = done; });
  inLine += 1;
  await before;
  while (busy) await pause(5);
  inLine -= 1;
  // What came back meanwhile may have left nothing to undo, or have been an error.
  const done = mine === forgotten && isPossible(action) ? doAction(action) : null;
  letNext(); // who is next waits until this one is answered
  await done;
}
function forgetPresses() { forgotten += 1; }
function isPossible(action) {
  return current && (!running || action === 'text') && !element.querySelector(`[data-do="${action}"]`).disabled;
}

async function doAction(action) {
  drawsOnly = action === 'sample';
  if (action === 'step-n' || action === 'sample-n') return run(action.split('-')[0]);
  const ok = await perform(action);
  if (!ok) return forgetPresses();
  if (action === 'csv') download('next-tokens.csv', 'text/csv;charset=utf-8', ok.csv);
  if (action === 'path_csv') download('text-tokens.csv', 'text/csv;charset=utf-8', ok.path_csv);
  if (action === 'json') download('session.json', 'application/json', ok.json);
  if (action === 'text') copyText(ok.text);
  if (action === 'link') shareLink(ok.link);
}
async function copyText(text, within = el.root) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Plain http, as in a classroom's own network, has no clipboard API.
    const box = make('textarea', 'off-screen', '');
    box.value = text;
    within.append(box);
    box.select();
    const done = document.execCommand('copy');
    box.remove();
    if (!done) return showNote(t('error_copy'));
  }
  showNote(t('copied'), { kind: 'info' });
}

// N tokens, one request each: every one is seen, Stop works at once, and one undo takes all back.
let wanted = 0;
async function run(action) {
  const count = el['run-count'].valueAsNumber;
  if (!Number.isInteger(count) || count < 2 || count > limits.run_tokens) return showNote(t('error_number', { parameter: t('run_count'), low: 2, high: grouped(limits.run_tokens) }));
  running = true;
  wanted = count;
  el.stop.hidden = false;
  const giveBack = handFocus(el.stop);
  setButtons();
  for (let done = 0; done < wanted; done++) {
    setText(el['run-progress'], t('run_progress', { done: grouped(done), count: grouped(count) }));
    while (busy) await pause(5);
    await flushSettings();
    if (done >= wanted) break;
    if (!await perform(action, { joined: done > 0 }, () => done < wanted)) break;
    setText(el['run-progress'], t('run_progress', { done: grouped(done + 1), count: grouped(count) }));
    if (current.stop) break;
  }
  running = false;
  setButtons();
  giveBack();
  el.stop.hidden = true;
}
function stopRun() { wanted = 0; forgetPresses(); }

function begin() { useExample(setup.opening); }

for (const button of element.querySelectorAll('[data-do]')) button.addEventListener('click', () => press(button.dataset.do));
el.stop.addEventListener('click', stopRun);
for (const button of element.querySelectorAll('[data-language]')) button.addEventListener('click', () => { language = button.dataset.language; remember('language', language); redraw(); });
el.theme.addEventListener('click', () => { document.body.classList.toggle('dark'); });

redraw();
setButtons();
const opened = takeFragment();
sendPatiently('open').then(async answer => {
  const fresh = answer.error?.code === 'session_gone';
  if (!fresh) receive(answer, begin);
  if (opened !== null && await loadState({ link: opened })) return;
  if (fresh && kept(COPY) !== null && await comeBack()) return;
  if (fresh && !current) begin();
});
