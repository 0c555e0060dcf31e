// The ledger: a row for each candidate, a column for each stage, and by how much a cut one missed.
let ledgerShown = remembered('ledger') === '1';
const folded = new Set();

function showView() {
  el.rows.hidden = ledgerShown;
  el.ledger.hidden = !ledgerShown;
  for (const button of element.querySelectorAll('[data-view]')) button.setAttribute('aria-pressed', String((button.dataset.view === 'ledger') === ledgerShown));
}
for (const button of element.querySelectorAll('[data-view]')) button.addEventListener('click', () => {
  ledgerShown = button.dataset.view === 'ledger';
  remember('ledger', ledgerShown ? '1' : '0');
  showView();
  sendSettings({});
});

const valuesText = item => Object.entries(item).filter(([name, value]) => name !== 'step' && value !== null && value !== '' && typeof value !== 'object').map(([, value]) => typeof value === 'number' ? shortNumber(value) : isolated(visible(value))).join(', ');
function quantityText(quantity, value) {
  if (value === null) return unknown;
  if (quantity === 'rank') return grouped(value);
  if (quantity === 'logit') return decimals(value, 2);
  if (quantity === 'surprisal') return t('part_bits', { bits: decimals(value, 2) });
  return value !== 0 && Math.abs(value) < 0.001 ? value.toExponential(1) : formatter('measured', { maximumSignificantDigits: 3 }).format(value);
}
const missText = miss => (miss.estimate ? '≈ ' : '') + t('miss_' + miss.keeps, { quantity: t('quantity_' + miss.quantity), needed: quantityText(miss.quantity, miss.needed), had: quantityText(miss.quantity, miss.had) });

function drawLedger(table) {
  showView();
  if (!ledgerShown || !table.ledger) return;
  const stages = actingStages(table);
  const focusedToken = document.activeElement?.closest('tr')?.nteToken, focusedFold = document.activeElement?.dataset.fold;
  const head = make('tr');
  const token = make('th', 'ledger-token', t('token')), raw = make('th', 'num ledger-raw', t('raw'));
  raw.title = t('raw_title');
  for (const cell of [token, raw]) cell.scope = 'col';
  head.append(token, raw, ...stages.map(stage => stageHead(stage, table.ledger.curves[stage.i])));
  el['ledger-head'].replaceChildren(head);
  el['ledger-body'].replaceChildren(...table.rows.map((row, i) => ledgerRow(row, table.ledger.rows[i], stages)));
  setText(el['ledger-note'], stages.length ? '' : t('ledger_empty'));
  el['ledger-note'].hidden = stages.length > 0;
  const picks = [...el['ledger-body'].querySelectorAll('.pick')];
  const again = picks.findIndex(pick => pick.closest('tr').nteToken === focusedToken);
  oneTabStop(picks, Math.max(0, again));
  if (again >= 0) picks[again].focus();
  if (focusedFold !== undefined) el['ledger-head'].querySelector(`[data-fold="${focusedFold}"]`)?.focus();
}
function stageHead(stage, curve) {
  const cell = make('th', 'stage'), name = stepName(stage.step), values = valuesText(stage.item);
  cell.scope = 'col';
  const isFolded = folded.has(stage.i + stage.step);
  cell.classList.toggle('folded', isFolded);
  const fold = make('button', 'fold', (isFolded ? '▸ ' : '▾ ') + name);
  fold.type = 'button';
  fold.dataset.fold = stage.i;
  fold.setAttribute('aria-expanded', String(!isFolded));
  fold.title = t('fold', { rule: name });
  fold.addEventListener('click', () => {
    if (isFolded) folded.delete(stage.i + stage.step); else folded.add(stage.i + stage.step);
    drawLedger(current);
  });
  cell.append(fold);
  if (isFolded) return cell;
  cell.append(make('span', 'stage-values', values), make('span', 'stage-kept', stage.cut ? t('rule_kept', { count: grouped(stage.kept) }) : t('stage_all')));
  if (curve) cell.append(curveChart(curve, name));
  return cell;
}
// What the rule compares, by rank, and the line it draws.
function curveChart(curve, name) {
  const width = 120, height = 40, pad = 3;
  const says = t('curve_label', { rule: name, quantity: t('quantity_' + curve.quantity), line: quantityText(curve.quantity, curve.line), kept: grouped(curve.kept) }) + (curve.estimate ? ' ' + t('estimate') : '');
  const svg = sheet(width, height, says);
  svg.setAttribute('class', 'curve-chart');
  shape(svg, 'title', {}, says);
  const known = curve.values.filter(value => value !== null);
  // A place far behind the last candidate would press all others together.
  const line = curve.line !== null && curve.quantity === 'rank' ? Math.min(curve.line, Math.max(...known)) : curve.line;
  const all = line === null ? known : [...known, line];
  const low = Math.min(0, ...all), high = Math.max(...all, low + 1e-9);
  const last = Math.log(curve.ranks.at(-1) + 1);
  const x = rank => pad + (width - 2 * pad) * (last > Math.log(2) ? (Math.log(rank + 1) - Math.log(2)) / (last - Math.log(2)) : 0);
  const y = value => height - pad - (height - 2 * pad) * (value - low) / (high - low);
  curve.ranks.forEach((rank, i) => {
    if (curve.values[i] === null) return;
    const value = curve.values[i], stays = curve.line === null || { at_most: value <= curve.line, at_least: value >= curve.line, below: value < curve.line }[curve.keeps];
    shape(svg, 'circle', { cx: x(rank).toFixed(1), cy: y(value).toFixed(1), r: 1.5, class: stays ? 'stays' : 'goes' });
  });
  if (line !== null) shape(svg, 'line', { x1: 0, x2: width, y1: y(line).toFixed(1), y2: y(line).toFixed(1), class: 'cut' });
  return svg;
}
function ledgerRow(row, entry, stages) {
  const line = make('tr', 'row'), name = make('th', 'ledger-token'), pick = makeToken('button', 'pick', row.text);
  line.nteToken = row.token_id;
  line.classList.toggle('gone', row.cut_by !== null);
  name.scope = 'row';
  pick.type = 'button';
  if (row.special) pick.classList.add('special');
  pick.setAttribute('aria-label', t('pick_row', { token: row.text, rank: grouped(row.rank) }));
  name.append(pick, menuButton(row));
  line.append(name, barCell(entry.probabilities[0], 'ledger-raw'));
  for (const stage of stages) {
    if (folded.has(stage.i + stage.step)) { line.append(make('td', entry.cut_at === stage.i ? 'folded cut-here' : 'folded')); continue; }
    if (entry.cut_at === null || stage.i < entry.cut_at) { line.append(barCell(entry.probabilities[stage.i + 1], '', current.ledger.certain?.[stage.i] === false)); continue; }
    if (stage.i > entry.cut_at) { line.append(make('td', 'num after', '·')); continue; }
    const cell = make('td', 'cut-here');
    cell.append(make('strong', '', t('cut_here')), make('span', '', entry.miss ? missText(entry.miss) : t('miss_forbidden')));
    line.append(cell);
  }
  return line;
}
function barCell(p, className, rough = false) {
  const cell = make('td', 'num bar-cell ' + className, (rough ? '≈ ' : '') + probability(p));
  cell.style.setProperty('--share', p);
  return cell;
}
el['ledger-body'].addEventListener('click', pickRow);
roving(el['ledger-body'], 'button.pick');

// A candidate's menu: the least change that lets it survive, or leaves it alone.
function menuButton(row) {
  const button = make('button', 'more', '⋯');
  button.type = 'button';
  button.tabIndex = -1;
  button.title = t('menu_title');
  button.setAttribute('aria-label', t('menu_of', { token: row.text }));
  return button;
}
async function openMenu(tokenId) {
  if (running) return;
  while (busy) await pause(5);
  setBusy(true);
  const answer = await send('change', { token_id: tokenId }).catch(() => ({ error: { code: 'connection' } }));
  setBusy(false);
  if (answer.error) return receive(answer);
  const found = answer.ok.change;
  const parts = [];
  const pick = make('button', 'main', t('menu_pick', { token: found.text }));
  pick.type = 'button';
  pick.addEventListener('click', () => { el['menu-dialog'].close(); perform('pick', { token_id: tokenId }); });
  parts.push(pick, make('h3', '', t('menu_survive')));
  if (found.survives) parts.push(make('p', 'hint', t('menu_survives')));
  else parts.push(alternativeNode(found.survive));
  parts.push(make('h3', '', t('menu_alone')));
  if (found.alone_now) parts.push(make('p', 'hint', t('menu_is_alone')));
  else if (found.alone.length) parts.push(...found.alone.map(alternativeNode));
  else parts.push(make('p', 'hint', t('menu_never_alone')));
  setToken(el['menu-title'], found.text);
  el['menu-body'].replaceChildren(...parts);
  el['menu-dialog'].showModal();
}
function alternativeNode(found) {
  const box = make('div', 'alternative'), list = make('ul');
  for (const change of found.changes) {
    const rule = stepName(change.step);
    const text = change.new === null ? t('change_off', { rule }) : change.old === null ? t('change_add', { rule, new: String(change.new) }) : t('change_set', { rule, parameter: t('field_' + change.parameter), old: String(change.old), new: String(change.new) });
    list.append(make('li', '', text));
  }
  const apply = make('button', '', t('change_apply'));
  apply.type = 'button';
  apply.addEventListener('click', () => { el['menu-dialog'].close(); chosen = null; setRules(rulesOfChain(found.chain)); });
  if (found.estimate) box.append(make('p', 'hint', t('estimate')));
  box.append(list, apply);
  return box;
}
el['menu-close'].addEventListener('click', () => el['menu-dialog'].close());
for (const body of [el.tbody, el['ledger-body']]) {
  body.addEventListener('contextmenu', event => {
    const row = event.target.closest('.row');
    if (row?.nteToken !== undefined) { event.preventDefault(); openMenu(row.nteToken); }
  });
  body.addEventListener('keydown', event => {
    const row = event.target.closest('.row');
    if (event.key.toLowerCase() === 'm' && !event.ctrlKey && !event.metaKey && row?.nteToken !== undefined) { event.preventDefault(); event.stopPropagation(); openMenu(row.nteToken); }
  });
}
