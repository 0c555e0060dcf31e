// Strategies, sliders and the seed. A slider only says what it is set to; the server decodes.
const SLIDERS = setup.strategies.sliders, PRESETS = setup.strategies.presets;
let values = Object.fromEntries(SLIDERS.map(slider => [slider.name, slider.neutral]));
const inputs = {};

// The rules in the order in which transformers applies them; a neutral one is left out.
function chainOf(settings) {
  if (settings.temperature === 0) return [{ step: 'greedy' }];
  return SLIDERS.filter(slider => settings[slider.name] !== slider.neutral).map(slider => ({ step: slider.step, [slider.field]: settings[slider.name] }));
}
const presetValues = preset => ({ ...Object.fromEntries(SLIDERS.map(slider => [slider.name, slider.neutral])), ...preset.values });
const chainOfStrategy = name => chainOf(presetValues(PRESETS.find(preset => preset.name === name)));
// What the sliders must show for a chain; null when they can't show it.
function valuesOf(chain) {
  const found = presetValues({ values: {} });
  for (const item of chain) {
    if (item.step === 'greedy') { found.temperature = 0; continue; }
    const slider = SLIDERS.find(one => one.step === item.step);
    if (!slider) return null;
    found[slider.name] = item[slider.field];
  }
  return found;
}

function buildControls() {
  el.strategies.replaceChildren(...[...PRESETS.map(preset => preset.name), 'custom'].map(name => {
    const button = make('button', 'strategy', t('strategy_' + name));
    button.type = 'button';
    button.dataset.strategy = name;
    button.title = t('strategy_' + name + '_title');
    button.setAttribute('role', 'radio');
    button.addEventListener('click', () => {
      if (name === 'custom') return inputs.temperature.range.focus();
      values = presetValues(PRESETS.find(preset => preset.name === name));
      settingsChanged();
    });
    return button;
  }));
  el.sliders.replaceChildren(...SLIDERS.map(slider => {
    const row = make('div', 'slider');
    const label = make('label', 'field-label', t('slider_' + slider.name));
    const range = make('input'), number = make('input'), state = make('span', 'hint');
    label.htmlFor = range.id = 'nte-' + slider.name;
    Object.assign(range, { type: 'range', min: slider.min, max: slider.max, step: slider.by });
    Object.assign(number, { type: 'number', min: slider.min, max: slider.top, step: slider.by === 1 ? 1 : 'any' });
    number.setAttribute('aria-label', t('slider_' + slider.name));
    range.addEventListener('input', () => { values[slider.name] = range.valueAsNumber; settingsChanged(); });
    number.addEventListener('change', () => typed(slider, number));
    inputs[slider.name] = { range, number, state };
    row.append(label, range, number, state);
    return row;
  }));
  showValues();
}
function typed(slider, number) {
  const value = number.valueAsNumber;
  if (!Number.isFinite(value) || value < slider.min || value > slider.top || (slider.by === 1 && !Number.isInteger(value))) {
    showNote(t('error_number', { parameter: t('slider_' + slider.name), low: grouped(slider.min), high: grouped(slider.top) }));
    number.value = values[slider.name];
    return;
  }
  values[slider.name] = value;
  settingsChanged();
}
function settingsChanged() {
  showValues();
  sendSettings({ chain: chainOf(values) });
}
function showValues() {
  for (const slider of SLIDERS) {
    const { range, number, state } = inputs[slider.name], value = values[slider.name];
    range.value = value;
    if (document.activeElement !== number) number.value = value;
    const said = slider.name === 'temperature' && value === 0 ? t('slider_is_greedy') : value === slider.neutral && slider.name !== 'temperature' ? t('slider_off') : '';
    setText(state, said);
    if (said) range.setAttribute('aria-valuetext', value + ' ' + said); else range.removeAttribute('aria-valuetext');
  }
  const chain = chainOf(values), now = JSON.stringify(chain);
  const strategy = PRESETS.find(preset => JSON.stringify(chainOf(presetValues(preset))) === now)?.name ?? 'custom';
  for (const button of el.strategies.children) {
    const on = button.dataset.strategy === strategy;
    button.setAttribute('aria-checked', String(on));
    button.tabIndex = on ? 0 : -1;
  }
  setText(el['chain-text'], chain.length ? chain.map(item => [stepName(item.step), ...Object.entries(item).filter(([name]) => name !== 'step').map(([, value]) => value)].join(' ')).join(' → ') : t('chain_empty'));
}
function showSettings(table) {
  // While one is dragging, the hand is ahead of the answers.
  if (!waitingSettings) values = valuesOf(table.chain) ?? values;
  showValues();
  if (document.activeElement !== el.seed) el.seed.value = table.seed;
  setText(el['next-u'], t('next_u', { u: decimals(table.u, 4) }));
}
roving(el.strategies, 'button');
el.seed.addEventListener('change', () => {
  const seed = el.seed.valueAsNumber;
  if (!Number.isSafeInteger(seed) || seed < 0) { showNote(t('error_number', { parameter: t('seed'), low: 0, high: grouped(Number.MAX_SAFE_INTEGER) })); el.seed.value = current?.seed ?? 0; return; }
  sendSettings({ seed });
});
el['new-seed'].addEventListener('click', () => sendSettings({ seed: crypto.getRandomValues(new Uint32Array(1))[0] }));
