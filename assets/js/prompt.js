// The prompt, its mode, the model, the examples, and waiting for a model to load.
let mode = 'completion';
let asking = 0; // the number of the latest question: an older one that still waits gives up

function buildModels() {
  const options = setup.models.map(choice => {
    const option = make('option', '', visible([choice.title, choice.languages.join(' '), choice.needs_hub ? 'Hub' : ''].filter(Boolean).join(' · ')));
    option.value = choice.name;
    return option;
  });
  const known = setup.models.map(choice => choice.name);
  if (!known.includes(setup.default_model)) options.unshift(Object.assign(make('option', '', visible(setup.default_model)), { value: setup.default_model }));
  if (!setup.public) options.push(Object.assign(make('option', '', t('other_model_choice')), { value: '' }));
  const chosen = el.model.value;
  el.model.replaceChildren(...options);
  el.model.value = chosen || setup.default_model;
}
function selectModel(name) {
  if (![...el.model.options].some(option => option.value === name)) el.model.prepend(Object.assign(make('option', '', visible(name)), { value: name }));
  el.model.value = name;
  el['other-model'].hidden = el['load-other'].hidden = true;
}
function setMode(next) {
  mode = next;
  for (const button of element.querySelectorAll('[data-mode]')) button.setAttribute('aria-pressed', String(button.dataset.mode === mode));
  markEdited();
}
function buildExamples() {
  el.examples.replaceChildren(...setup.examples.map((example, i) => {
    const button = make('button', 'example', example.name[language]);
    button.type = 'button';
    button.title = example.prompt;
    button.dataset.example = i;
    button.addEventListener('click', () => useExample(example));
    return button;
  }));
}
function useExample(example) {
  if (running) return;
  selectModel(example.model);
  el.prompt.value = example.prompt;
  setMode(example.chat ? 'chat' : 'completion');
  rules = rulesOfChain(chainOfStrategy(example.strategy));
  chosen = example.strategy;
  drawRules();
  rememberRules();
  askModel({ chain: chainOfRules() });
}

// Asks about the prompt; while the model is still on its way, shows how far it is and asks again.
async function askModel(more = {}) {
  const tooLong = overLimit('prompt_characters', el.prompt.value);
  if (tooLong) return showNote(tooLong);
  const mine = ++asking;
  forgetPresses(); // they were meant for the text before
  const question = { model: el.model.value, prompt: el.prompt.value, chat: mode === 'chat', ...more };
  wholeStrip = false;
  for (;;) {
    while (busy) await pause(20);
    if (mine !== asking) return;
    const ok = await perform('ask', question);
    if (mine !== asking) return;
    if (!ok) { hideLoading(); if (current) selectModel(current.model.name); return; }
    if (!ok.status) { hideLoading(); return; }
    if (await waitFor(ok.status, mine) !== 'ready') return;
  }
}
const pause = ms => new Promise(done => setTimeout(done, ms));
async function waitFor(status, mine) {
  while (!ARRIVED.includes(status.phase)) {
    showLoading(status);
    await pause(400);
    if (mine !== asking) return 'replaced';
    const answer = await send('status', { model: status.model }).catch(() => ({}));
    if (mine !== asking) return 'replaced';
    status = answer.ok?.status ?? status;
  }
  if (status.phase === 'failed') {
    hideLoading();
    showNote(sayError(status.error), { retry: () => { hideNote(); askModel(); } });
    if (current) selectModel(current.model.name);
  }
  return status.phase === 'idle' ? 'ready' : status.phase;
}
function showLoading(status) {
  const counted = status.phase === 'downloading' && status.total_bytes;
  setText(el['loading-text'], t('loading_' + status.phase, { model: titleOf(status.model), done: counted ? megabytes(status.done_bytes) : '', total: counted ? megabytes(status.total_bytes) : '' }));
  if (counted) { el['loading-bar'].max = status.total_bytes; el['loading-bar'].value = status.done_bytes; } else el['loading-bar'].removeAttribute('value');
  el.loading.hidden = false;
}
function hideLoading() { el.loading.hidden = true; }
const titleOf = name => visible(setup.models.find(choice => choice.name === name)?.title ?? name);

// A table of an earlier start is shown until the model is there, which then makes it anew.
let isEarly = false, awaited = null; // the model of such a table, while it is on its way
function drawEarly() {
  el.early.hidden = !isEarly;
  setText(el.early, t('early') + (awaited === null ? '' : ' ' + t('early_waits', { model: titleOf(awaited) })));
}
async function awaitModel(status) {
  const model = status?.model ?? null, known = model === awaited;
  isEarly = model !== null;
  awaited = model;
  drawEarly();
  if (known || model === null) return;
  while (!ARRIVED.includes(status.phase)) {
    await pause(400);
    if (awaited !== model) return;
    status = (await ask({ action: 'status', model }).catch(() => ({}))).ok?.status ?? status;
  }
  while (busy) await pause(20);
  if (awaited !== model) return;
  awaited = null;
  drawEarly();
  const anew = () => perform('settings');
  if (status.phase !== 'failed') return anew();
  showNote(sayError(status.error), { retry: () => { hideNote(); anew(); } });
}

function markEdited() {
  const edited = current && (el.prompt.value !== current.prompt.text || (mode === 'chat') !== current.prompt.chat);
  setText(el['prompt-state'], edited ? t('prompt_edited') : '');
  el.ask.classList.toggle('wanted', Boolean(edited));
}
function showPrompt(view) {
  if (document.activeElement !== el.prompt || el.prompt.value === '') el.prompt.value = view.prompt.text;
  selectModel(view.model.name);
  const chat = element.querySelector('[data-mode=chat]');
  chat.disabled = !view.model.chat;
  chat.title = view.model.chat ? '' : t('no_chat');
  setMode(view.prompt.chat ? 'chat' : 'completion');
}

for (const button of element.querySelectorAll('[data-mode]')) button.addEventListener('click', () => { setMode(button.dataset.mode); askModel(); });
el.ask.addEventListener('click', () => askModel());
el.prompt.addEventListener('input', markEdited);
el.prompt.addEventListener('keydown', event => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey) && !event.isComposing) { event.preventDefault(); askModel(); }
});
el.model.addEventListener('change', () => {
  const other = el.model.value === '';
  el['other-model'].hidden = el['load-other'].hidden = !other;
  if (other) return el['other-model'].focus();
  if (mode === 'chat') setMode('completion');
  askModel();
});
function loadOther() {
  const name = el['other-model'].value.trim();
  if (!name) return;
  selectModel(name);
  askModel();
}
el['load-other'].addEventListener('click', loadOther);
el['other-model'].addEventListener('keydown', event => { if (event.key === 'Enter' && !event.isComposing) loadOther(); });
