// Strategies, the chain as JSON, and the seed.
const PRESETS = setup.rules.presets; // name -> chain
let chosen = null; // the preset whose button was pressed: two presets can be the same chain

const chainOfStrategy = name => PRESETS[name];
const strategyNames = [...setup.rules.strategies, ...setup.rules.elsewhere];

function buildControls() {
  const button = name => {
    const made = make('button', 'strategy', t('strategy_' + name));
    made.type = 'button';
    made.dataset.strategy = name;
    made.title = t('strategy_' + name + '_title');
    made.setAttribute('role', 'radio');
    made.addEventListener('click', () => {
      if (name === 'custom') return el['add-rule'].focus();
      chosen = name;
      setRules(rulesOfChain(PRESETS[name]));
    });
    return made;
  };
  el.strategies.replaceChildren(...setup.rules.strategies.map(button), make('span', 'strategy-gap', t('elsewhere')), ...setup.rules.elsewhere.map(button), button('custom'));
  buildAddRule();
  drawRules();
}
function showStrategy() {
  const chain = chainOfRules();
  const fitting = strategyNames.filter(name => sameChain(PRESETS[name], chain));
  const strategy = fitting.includes(chosen) ? chosen : fitting[0] ?? 'custom';
  const buttons = [...el.strategies.querySelectorAll('button')];
  for (const button of buttons) button.setAttribute('aria-checked', String(button.dataset.strategy === strategy));
  oneTabStop(buttons, buttons.findIndex(button => button.dataset.strategy === strategy));
  setText(el['strategy-about'], t('strategy_' + strategy + '_title'));
  setText(el['chain-text'], chain.length ? chain.map(item => stepName(item.step)).join(' → ') : t('chain_empty'));
}
function showSettings(table) {
  tokenTexts = { ...tokenTexts, ...table.tokens_in_chain };
  // While one is dragging, the hand is ahead of the answers.
  if (!waitingSettings && !sameChain(chainOfRules(), table.chain)) rules = recallRules(table.chain) ?? rulesOfChain(table.chain);
  drawRules();
  showStages(table);
  if (document.activeElement !== el.seed) el.seed.value = table.seed;
}
roving(el.strategies, 'button');
el.seed.addEventListener('change', () => {
  const seed = el.seed.valueAsNumber;
  if (!Number.isSafeInteger(seed) || seed < 0) { showNote(t('error_number', { parameter: t('seed'), low: 0, high: grouped(Number.MAX_SAFE_INTEGER) })); el.seed.value = current?.seed ?? 0; return; }
  sendSettings({ seed });
});
el['new-seed'].addEventListener('click', () => sendSettings({ seed: crypto.getRandomValues(new Uint32Array(1))[0] }));

// The chain as JSON, to read, copy and paste.
function openChain() {
  el['chain-json'].value = JSON.stringify(chainOfRules(), null, 1);
  setText(el['chain-error'], '');
  el['chain-dialog'].showModal();
}
async function applyChain() {
  let chain;
  try {
    chain = JSON.parse(el['chain-json'].value);
  } catch (error) {
    return setText(el['chain-error'], t('error_json', { detail: visible(error.message) }));
  }
  while (busy) await pause(5);
  setBusy(true);
  const answer = await send('settings', { chain }).catch(() => ({ error: { code: 'connection' } }));
  setBusy(false);
  if (answer.error) return setText(el['chain-error'], sayError(answer.error));
  rules = rulesOfChain(answer.ok.table.chain);
  el['chain-dialog'].close();
  receive(answer);
  rememberRules();
}
el['open-chain'].addEventListener('click', openChain);
el['chain-apply'].addEventListener('click', applyChain);
el['chain-copy'].addEventListener('click', () => copyText(el['chain-json'].value, el['chain-dialog']));
el['chain-close'].addEventListener('click', () => el['chain-dialog'].close());
