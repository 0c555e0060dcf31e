// The inputs of a rule: sliders with their ticks, words that become token ids, texts.
function fieldNode(rule, field, made) {
  const build = { number: numberField, token_ids: wordsField, sequences: wordsField, bias: wordsField, text: textField, choice: choiceField }[field.kind];
  const single = RULES[rule.step].fields.length === 1;
  return build(rule, field, made, single ? t('step_' + rule.step) : t('field_' + field.name));
}

function numberField(rule, field, made, name) {
  const row = make('div', 'slider'), single = RULES[rule.step].fields.length === 1;
  const label = single ? '' : make('span', 'field-label', t('field_' + field.name));
  const range = make('input'), number = make('input'), ticks = make('div', 'ticks'), near = make('div', 'near');
  Object.assign(range, { type: 'range', min: field.min, max: field.max, step: field.by });
  Object.assign(number, { type: 'number', min: field.min, max: field.top, step: field.by === 1 ? 1 : 'any' });
  range.setAttribute('aria-label', name);
  number.setAttribute('aria-label', name);
  const set = value => { rule.values[field.name] = value; rule.on = true; rulesChanged(); };
  range.addEventListener('input', () => set(range.valueAsNumber));
  number.addEventListener('change', () => {
    const value = number.valueAsNumber, low = Math.min(field.min, 0) === 0 && field.min !== 1 ? 0 : field.min;
    if (!Number.isFinite(value) || value < low || value > field.top || (field.by === 1 && !Number.isInteger(value))) {
      showNote(t('error_number', { parameter: name, low: grouped(low), high: grouped(field.top) }));
      number.value = rule.values[field.name];
      return;
    }
    set(value);
  });
  const box = make('div', 'range-box');
  box.append(range, ticks);
  row.append(label, box, number);
  made[field.name] = {
    row, range, number, ticks, near, field, set,
    show(value) {
      range.value = value;
      if (document.activeElement !== number) number.value = value;
      const said = rule.step === 'temperature' && value === 0 ? t('slider_is_greedy') : 'neutral' in field && value === field.neutral && rule.step !== 'temperature' ? t('slider_off') : '';
      if (said) range.setAttribute('aria-valuetext', value + ' ' + said); else range.removeAttribute('aria-valuetext');
    },
  };
  return row;
}

const shortNumber = x => Number.isInteger(x) ? grouped(x) : formatter('short', { maximumSignificantDigits: 3 }).format(x);
// Where the kept set changes: marks under the slider, and the nearest change each way in words.
function showTicks(parts, stage) {
  const name = stage?.parameter;
  for (const [field, shown] of Object.entries(parts.fields)) {
    if (!shown.ticks) continue;
    const found = field === name ? stage.ticks : [];
    const { min, max } = shown.field;
    const marks = found.filter(tick => tick.value >= min && tick.value <= max).map(tick => {
      const mark = make('i', tick.kept ? 'goes' : 'comes');
      mark.style.left = (100 * (tick.value - min) / (max - min)) + '%';
      return mark;
    });
    shown.ticks.replaceChildren(...marks);
    const current = Number(shown.number.value), rough = stage?.estimate ? '≈ ' : '';
    const nearest = kept => found.filter(tick => tick.kept === kept).sort((a, b) => Math.abs(a.value - current) - Math.abs(b.value - current))[0];
    const buttons = [nearest(true), nearest(false)].filter(Boolean).sort((a, b) => a.value - b.value).map(tick => {
      const button = make('button', 'tick ' + (tick.kept ? 'goes' : 'comes'), rough + t(tick.kept ? 'tick_goes' : 'tick_comes', { value: formatter('tick-value', { maximumSignificantDigits: 4 }).format(tick.past), token: tick.text }));
      button.type = 'button';
      button.title = t(tick.kept ? 'tick_goes_title' : 'tick_comes_title', { value: String(tick.value), token: tick.text }) + (rough ? ' ' + t('estimate') : '');
      button.addEventListener('click', () => shown.set(tick.past));
      return button;
    });
    const focused = [...shown.near.children].indexOf(document.activeElement);
    shown.near.replaceChildren(...buttons);
    if (focused >= 0) (shown.near.children[focused] ?? shown.range).focus();
  }
}

// Words: bans, biases, breakers. The server turns each into token ids and says how many.
function wordsField(rule, field, made, name) {
  const box = make('div', 'words'), list = make('ul', 'word-list'), row = make('div', 'word-add');
  const text = make('input'), add = make('button', '', t('add_word')), warning = make('p', 'hint word-warning');
  text.type = 'text';
  text.placeholder = t('word_hint_' + field.kind);
  text.setAttribute('aria-label', name);
  text.dir = 'auto';
  add.type = 'button';
  warning.setAttribute('role', 'status');
  const value = field.kind === 'bias' ? make('input') : null;
  row.append(text);
  if (value) {
    Object.assign(value, { type: 'number', min: -100, max: 100, step: 'any', value: 5 });
    value.setAttribute('aria-label', t('field_bias'));
    row.append(value);
  }
  row.append(add);
  box.append(list, row, warning);
  const enter = async () => {
    if (!text.value) return;
    const answer = await send('encode', { text: text.value }).catch(() => ({ error: { code: 'connection' } }));
    if (answer.error) return showNote(sayError(answer.error));
    const tokens = answer.ok.encode.tokens, ids = tokens.map(token => token.token_id);
    if (!ids.length) return;
    const pieces = tokens.map(token => isolated(token.text)).join(' · ');
    setText(warning, ids.length > 1 ? t('several_tokens_' + field.kind, { text: visible(answer.ok.encode.text), count: ids.length, pieces }) : '');
    for (const token of tokens) tokenTexts[token.token_id] = token.text;
    const now = rule.values[field.name];
    if (field.kind === 'sequences') rule.values[field.name] = [...now.filter(one => one.join() !== ids.join()), ids];
    else if (field.kind === 'token_ids') rule.values[field.name] = [...new Set([...now, ids.at(-1)])];
    else rule.values[field.name] = { ...now, ...Object.fromEntries(ids.map(id => [id, value.valueAsNumber || 0])) };
    text.value = '';
    rulesChanged();
  };
  add.addEventListener('click', enter);
  text.addEventListener('keydown', event => { if (event.key === 'Enter' && !event.isComposing) { event.preventDefault(); enter(); } });
  const word = (label, removed) => {
    const item = make('li', 'word'), remove = make('button', '', '×');
    remove.type = 'button';
    remove.setAttribute('aria-label', t('remove_word', { word: label }));
    remove.addEventListener('click', () => { rule.values[field.name] = removed(); rulesChanged(); text.focus(); });
    item.append(makeToken('span', '', label), remove);
    return item;
  };
  const said = id => isolated(tokenTexts[id] ?? '#' + id);
  made[field.name] = {
    show(now) {
      const key = JSON.stringify(now) + JSON.stringify(Object.keys(tokenTexts).length);
      if (list.nteShown === key) return;
      list.nteShown = key;
      if (field.kind === 'sequences') list.replaceChildren(...now.map((ids, i) => word(ids.map(said).join(' · '), () => now.filter((_, j) => j !== i))));
      else if (field.kind === 'token_ids') list.replaceChildren(...now.map(id => word(said(id), () => now.filter(one => one !== id))));
      else list.replaceChildren(...Object.entries(now).map(([id, bias]) => word(said(id) + ' ' + (bias === null ? '−∞' : (bias > 0 ? '+' : '') + bias), () => Object.fromEntries(Object.entries(now).filter(([one]) => one !== id)))));
    },
  };
  return box;
}
let tokenTexts = {};

function textField(rule, field, made, name) {
  const box = make('label', 'text-field');
  const area = make('textarea');
  area.rows = 2;
  area.spellcheck = false;
  area.dir = 'ltr';
  area.setAttribute('aria-label', name);
  const send = () => { if (rule.values[field.name] !== area.value) { rule.values[field.name] = area.value; rulesChanged(); } };
  area.addEventListener('change', send);
  box.append(make('span', 'field-label', name), area);
  made[field.name] = { show(value) { if (document.activeElement !== area) area.value = value; } };
  return box;
}
function choiceField(rule, field, made, name) {
  const box = make('div', 'switch');
  box.setAttribute('role', 'group');
  box.setAttribute('aria-label', name);
  const examples = { regex: '[A-Z][a-z ]*\\.', json_schema: '{"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}, "required": ["name", "age"]}' };
  const buttons = field.options.map(option => {
    const button = make('button', '', t('option_' + option));
    button.type = 'button';
    button.addEventListener('click', () => {
      if (rule.values[field.name] === option) return;
      rule.values[field.name] = option;
      rule.values.grammar = examples[option];
      rulesChanged();
    });
    return button;
  });
  box.append(...buttons);
  made[field.name] = { show(value) { buttons.forEach((button, i) => button.setAttribute('aria-pressed', String(field.options[i] === value))); } };
  return box;
}
