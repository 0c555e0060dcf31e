// The chain editor: a list of rules in the order in which they act. It only says what each is set
// to; the server decodes.
const RULES = setup.rules.steps;
let rules = [];
let ruleCount = 0;

const isNumber = field => field.kind === 'number';
function newRule(step, values = {}, on = true) {
  const start = Object.fromEntries(RULES[step].fields.map(field => [field.name, structuredClone(field.start)]));
  return { id: ++ruleCount, step, on, open: false, values: { ...start, ...values }, mu: values.mu ?? null };
}
const neutralRule = step => newRule(step, Object.fromEntries(RULES[step].fields.filter(field => 'neutral' in field).map(field => [field.name, field.neutral])));
// A rule whose telling fields all stand at "off" is left out of the chain.
function isNeutral(rule) {
  const telling = RULES[rule.step].fields.filter(field => 'neutral' in field);
  return telling.length > 0 && telling.every(field => JSON.stringify(rule.values[field.name]) === JSON.stringify(field.neutral));
}
function stepOf(rule) {
  if (rule.step === 'temperature' && rule.values.temperature === 0) return { step: 'greedy' };
  if (rule.step === 'constraint') return { step: 'constraint', [rule.values.kind]: rule.values.grammar };
  return { step: rule.step, ...rule.values, ...(rule.mu === null ? {} : { mu: rule.mu }) };
}
const acting = () => rules.filter(rule => rule.on && !isNeutral(rule) && !(rule.step === 'constraint' && !rule.values.grammar));
const chainOfRules = () => acting().map(stepOf);

// A chain as rules: the basic ones are always there to be moved, at "off" where the chain has none.
function rulesOfChain(chain) {
  const found = chain.map(item => {
    if (item.step === 'greedy') return newRule('temperature', { temperature: 0 });
    if (item.step === 'constraint') return newRule('constraint', item.regex ? { kind: 'regex', grammar: item.regex } : { kind: 'json_schema', grammar: item.json_schema });
    const { step, ...values } = item;
    return newRule(step, values);
  });
  const basics = setup.rules.basics, inChain = found.map(rule => rule.step);
  const missing = basics.filter(step => !inChain.includes(step));
  const order = inChain.filter(step => basics.includes(step)).map(step => basics.indexOf(step));
  if (found.length === order.length && order.every((place, i) => i === 0 || place > order[i - 1])) {
    return basics.map(step => found.find(rule => rule.step === step) ?? neutralRule(step));
  }
  // Mirostat comes after what it leaves alone; the basics at "off" stand at the end, and do nothing.
  return [...found, ...missing.map(neutralRule)];
}
const neutralItem = item => item.step !== 'greedy' && isNeutral({ step: item.step, values: item });
const plain = chain => JSON.stringify(chain.filter(item => !neutralItem(item)).map(ruleKey));
// The stages of rules that act; a chain from elsewhere may hold some at "off".
const actingStages = table => table.stages.map((stage, i) => ({ ...stage, i, item: table.chain[i] })).filter(stage => !neutralItem(stage.item));
function ruleKey(item) {
  const { mu, ...rest } = item;
  if (item.step === 'temperature' && item.temperature === 0) return { step: 'greedy' };
  if (rest.regex === '') delete rest.regex;
  if (rest.json_schema === '') delete rest.json_schema;
  return Object.fromEntries(Object.entries(rest).sort(([a], [b]) => a.localeCompare(b)));
}
const sameChain = (one, other) => plain(one) === plain(other);

// What is switched off is this tab's own business: the server only knows the chain.
function rememberRules() {
  try { sessionStorage.setItem('nte-rules', JSON.stringify(rules)); } catch { /* no storage: kept until a reload */ }
}
function recallRules(chain) {
  let kept = null;
  try { kept = JSON.parse(sessionStorage.getItem('nte-rules')); } catch { /* as above, or damaged */ }
  if (!Array.isArray(kept) || !kept.every(rule => RULES[rule?.step])) return null;
  const found = kept.map(rule => ({ ...newRule(rule.step, rule.values, rule.on), mu: rule.mu ?? null }));
  const before = rules;
  rules = found;
  const fits = sameChain(chainOfRules(), chain);
  rules = before;
  return fits ? found : null;
}

function setRules(next) {
  rules = next;
  rulesChanged();
}
function rulesChanged() {
  drawRules();
  rememberRules();
  sendSettings({ chain: chainOfRules() });
}

// Drawing. A rule keeps its node, so that a slider under the finger is never replaced.
const ruleNodes = new Map();
function drawRules() {
  for (const [id, node] of ruleNodes) if (!rules.some(rule => rule.id === id)) { node.remove(); ruleNodes.delete(id); }
  const nodes = rules.map(rule => {
    let node = ruleNodes.get(rule.id);
    if (!node || node.nteLanguage !== language) { node = ruleNode(rule); ruleNodes.set(rule.id, node); }
    return node;
  });
  arrange(el.rules, nodes);
  const seen = {};
  rules.forEach(rule => {
    seen[rule.step] = (seen[rule.step] ?? 0) + 1;
    showRule(rule, seen[rule.step] === 1);
  });
  showStrategy();
}
function ruleNode(rule) {
  const node = make('li', 'rule');
  node.nteLanguage = language;
  node.nteRule = rule;
  node.dataset.rule = rule.step;
  const name = t('step_' + rule.step), about = RULES[rule.step];
  const grip = make('button', 'grip', '⠿');
  grip.type = 'button';
  grip.title = t('move_rule', { rule: name });
  grip.setAttribute('aria-label', t('move_rule', { rule: name }));
  grip.addEventListener('keydown', event => moveByKey(event, rule));
  grip.addEventListener('pointerdown', event => startDrag(event, node));
  const on = make('input');
  on.type = 'checkbox';
  on.setAttribute('aria-label', t('rule_on', { rule: name }));
  on.addEventListener('change', () => { rule.on = on.checked; rulesChanged(); });
  const title = make('button', 'rule-name', name);
  title.type = 'button';
  title.setAttribute('aria-expanded', String(rule.open));
  title.addEventListener('click', () => { rule.open = !rule.open; showRule(rule); });
  const state = make('span', 'hint rule-state'), left = make('span', 'rule-kept');
  const remove = make('button', 'icon rule-remove', '×');
  remove.type = 'button';
  remove.setAttribute('aria-label', t('remove_rule', { rule: name }));
  remove.title = t('remove_rule', { rule: name });
  remove.addEventListener('click', () => {
    const next = node.nextElementSibling ?? node.previousElementSibling;
    setRules(rules.filter(one => one !== rule));
    next?.querySelector('.grip').focus();
  });
  const fields = {}, rows = about.fields.map(field => fieldNode(rule, field, fields));
  const head = make('div', 'rule-head'), foot = make('div', 'rule-foot'), main = fields[about.fields[0]?.name];
  // A rule with one slider has it beside its name; what the rule did stands below.
  const compact = rows.length === 1 && main.range;
  node.classList.toggle('compact', Boolean(compact));
  head.append(grip, on, title, ...(compact ? rows : [state]), remove);
  foot.append(...(main?.near ? [main.near] : []), ...(compact ? [state] : []), left);
  const told = make('p', 'rule-about', t('about_' + rule.step) + ' ');
  told.append(make('cite', '', about.source));
  node.nteParts = { grip, on, title, state, left, told, fields };
  node.append(head, ...(compact ? [] : rows), foot, told);
  return node;
}
function showRule(rule, first = false) {
  const node = ruleNodes.get(rule.id), parts = node.nteParts;
  parts.on.checked = rule.on;
  const idle = !rule.on || isNeutral(rule);
  node.classList.toggle('idle', idle);
  parts.told.hidden = !rule.open;
  parts.title.setAttribute('aria-expanded', String(rule.open));
  const greedy = rule.step === 'temperature' && rule.values.temperature === 0;
  setText(parts.state, greedy ? t('slider_is_greedy') : isNeutral(rule) && rule.step !== 'temperature' ? t('slider_off') : '');
  for (const field of RULES[rule.step].fields) {
    const shown = parts.fields[field.name];
    shown.show(rule.values[field.name]);
    if (shown.range) shown.range.id = first && field === RULES[rule.step].fields[0] ? 'nte-' + rule.step : '';
  }
  if (idle) { setText(parts.left, ''); showTicks(parts, null); }
}
// What each acting rule did, from the server's answer: it lists them in the chain's order.
function showStages(table) {
  const now = acting(), told = actingStages(table);
  if (now.length !== told.length) return; // an answer to an older chain: the next is on its way
  now.forEach((rule, i) => {
    const stage = told[i], parts = ruleNodes.get(rule.id).nteParts;
    let text = stage.cut ? t('rule_kept', { count: grouped(stage.kept) }) : '';
    if (stage.fires !== undefined && rule.values.probability < 1) text += (text ? ' · ' : '') + t(stage.fires ? 'coin_fires' : 'coin_misses', { q: share(rule.values.probability), coin: decimals(stage.coin, 3) });
    if (stage.fit && stage.fit !== 'open') text = t('fit_' + stage.fit);
    setText(parts.left, text);
    showTicks(parts, stage);
  });
}

// Moving a rule: by the grip with a pointer, or with the arrow keys on it.
function moveRule(rule, to) {
  const from = rules.indexOf(rule);
  if (to < 0 || to >= rules.length || to === from) return false;
  rules = rules.filter(one => one !== rule);
  rules.splice(to, 0, rule);
  return true;
}
function sayPlace(rule) {
  setText(el['rules-said'], t('rule_place', { rule: t('step_' + rule.step), place: rules.indexOf(rule) + 1, count: rules.length }));
}
function moveByKey(event, rule) {
  const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  const to = event.key === 'Home' ? 0 : event.key === 'End' ? rules.length - 1 : by ? rules.indexOf(rule) + by : -1;
  if (to < 0 && !by) return;
  event.preventDefault();
  if (moveRule(rule, to)) { rulesChanged(); ruleNodes.get(rule.id).nteParts.grip.focus(); }
  sayPlace(rule);
}
function startDrag(event, node) {
  if (event.button !== 0) return;
  event.preventDefault();
  const grip = node.nteParts.grip, rule = node.nteRule;
  grip.focus();
  node.classList.add('dragged');
  let moved = false;
  const move = at => {
    const others = [...el.rules.children].filter(one => one !== node);
    const to = others.filter(one => { const box = one.getBoundingClientRect(); return at.clientY > box.top + box.height / 2; }).length;
    if (moveRule(rule, to)) { moved = true; arrange(el.rules, rules.map(one => ruleNodes.get(one.id))); }
  };
  const end = () => {
    document.removeEventListener('pointermove', move);
    document.removeEventListener('pointerup', end);
    document.removeEventListener('pointercancel', end);
    node.classList.remove('dragged');
    if (moved) { rulesChanged(); sayPlace(rule); }
  };
  // On the document: the node moves in the list under the pointer, and would lose a capture.
  document.addEventListener('pointermove', move);
  document.addEventListener('pointerup', end);
  document.addEventListener('pointercancel', end);
}

function buildAddRule() {
  const first = Object.assign(make('option', '', t('add_rule')), { value: '' });
  el['add-rule'].replaceChildren(first, ...setup.rules.groups.map(group => {
    const box = make('optgroup');
    box.label = t('group_' + group.name);
    box.append(...group.steps.map(step => Object.assign(make('option', '', t('step_' + step)), { value: step })));
    return box;
  }));
}
el['add-rule'].addEventListener('change', () => {
  const step = el['add-rule'].value;
  el['add-rule'].value = '';
  if (!step) return;
  const rule = newRule(step);
  rule.open = true;
  // Rules on raw logits belong first; the others act on what the rules before them left.
  const first = setup.rules.groups[0].steps.includes(step) || step === 'top_n_sigma';
  setRules(first ? [rule, ...rules] : [...rules, rule]);
  const node = ruleNodes.get(rule.id);
  node.scrollIntoView({ block: 'nearest' });
  (node.querySelector('input[type=range], textarea, input[type=text]') ?? node.nteParts.title).focus();
});
