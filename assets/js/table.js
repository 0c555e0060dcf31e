// The next-token table. Row nodes are reused, so that nothing jumps while a slider moves.
function rowNode() {
  const row = make('tr', 'row');
  const cells = Array.from({ length: 7 }, () => row.appendChild(make('td')));
  for (const i of [0, 2, 3, 4]) cells[i].className = 'num';
  const pick = cells[1].appendChild(make('button', 'pick'));
  pick.type = 'button';
  pick.dir = 'auto';
  const joins = cells[1].appendChild(make('span', 'joins'));
  const more = cells[6].appendChild(make('button', 'more', '⋯'));
  more.type = 'button';
  more.tabIndex = -1; // M on the row opens it, too
  const bar = cells[5].appendChild(make('div', 'bars'));
  cells[5].className = 'bar-col';
  row.nteParts = { rank: cells[0], name: cells[1], pick, joins, id: cells[2], raw: cells[3], final: cells[4], bar, cut: cells[6].insertBefore(make('span', 'cut'), more), more };
  return row;
}

// The rows in view are drawn first, the others from the next frame on, so many at once.
const ROWS_AT_ONCE = 60, ROW_HEIGHT = 30; // pixels, or more
let rowsToCome = 0;
let inView = { first: 0, count: 0 }; // rows
// Called before anything is drawn: after that the browser would have to lay out the page to answer.
function seeRows() {
  const box = el['rows-box'], drawn = el.tbody.children.length;
  const above = Math.floor(box.scrollTop / Math.max(1, box.scrollHeight) * drawn) - 1; // the table's head is there, too
  inView = { first: Math.max(0, above), count: Math.ceil(box.clientHeight / ROW_HEIGHT) + 2 };
}
function drawRows(table) {
  cancelAnimationFrame(rowsToCome);
  const rows = table.rows, body = el.tbody;
  while (body.children.length > rows.length + 1) body.lastChild.remove();
  const top = Math.max(...rows.map(row => Math.max(row.raw_probability, row.probability_high ?? row.probability)), 1e-300);
  el.rows.classList.toggle('inexact', table.summary.partial?.exact === false);
  const parts = rowsInTurn(rows.length, body.children.length);
  const drawNext = () => {
    const [start, end] = parts.shift();
    for (let at = start; at < end; at++) drawRow(rows[at], at, top);
    if (parts.length) { rowsToCome = requestAnimationFrame(drawNext); return; }
    drawOther(table, body, rows.length);
    const picks = [...body.querySelectorAll('.pick')];
    oneTabStop(picks, Math.max(0, picks.indexOf(document.activeElement)));
  };
  drawNext();
}
// Parts of the rows, [start, end), in the order in which they are drawn.
function rowsInTurn(count, drawn) {
  const start = Math.min(inView.first, Math.max(0, Math.min(count, drawn) - inView.count));
  const end = Math.min(count, start + inView.count), parts = [[start, end]];
  for (const [from, to] of [[0, start], [end, count]]) {
    for (let at = from; at < to; at += ROWS_AT_ONCE) parts.push([at, Math.min(to, at + ROWS_AT_ONCE)]);
  }
  return parts;
}
function drawRow(row, at, top) {
  let node = el.tbody.children[at];
  if (!node || !node.nteParts || node.classList.contains('other')) {
    const fresh = rowNode();
    el.tbody.insertBefore(fresh, node ?? null);
    node = fresh;
  }
  const parts = node.nteParts;
  node.classList.toggle('gone', row.cut_by !== null);
  node.classList.toggle('inexact', row.probability_low !== undefined);
  node.nteToken = row.token_id;
  setText(parts.rank, grouped(row.rank));
  setToken(parts.pick, row.text);
  parts.pick.classList.toggle('special', row.special);
  const cut = row.cut_by === null ? '' : stepName(row.cut_by);
  const raw = probability(row.raw_probability), final = finalOf(row);
  const said = t('pick_row', { token: row.text, rank: grouped(row.rank) }) + ', ' + t('raw') + ' ' + raw + ', ' + t('final') + ' ' + final + (cut ? ', ' + t('cut_at', { step: cut }) : '');
  parts.pick.setAttribute('aria-label', said);
  setText(parts.joins, row.completes ? '→ ' + isolated(row.completes) : '');
  parts.joins.title = row.completes ? t('completes', { text: row.completes }) : '';
  setText(parts.id, String(row.token_id));
  setText(parts.raw, raw);
  setText(parts.final, final);
  const most = (row.probability_high ?? row.probability) / top;
  drawBars(parts.bar, most, row.raw_probability / top, row.probability_low && row.probability_low / top);
  parts.name.style.backgroundSize = `${100 * most}% 4px`; // seen on phones
  setText(parts.cut, cut);
  parts.more.title = t('menu_title');
  parts.more.setAttribute('aria-label', t('menu_of', { token: row.text }));
}
// Not by custom properties: all that lies below a node inherits those and is styled anew.
function drawBars(bars, final, raw, certain = undefined) {
  const shares = certain === undefined ? [final] : [certain, final];
  bars.style.backgroundSize = [...shares.map(one => `${100 * one}% 9px`), `${100 * raw}% 5px`].join(', ');
}

function drawOther({ other, summary }, body, at) {
  let node = body.children[at];
  if (!node || !node.classList.contains('other')) {
    node?.remove();
    node = rowNode();
    node.classList.add('other');
    const label = make('span', 'other-label');
    node.nteParts.pick.replaceWith(label);
    node.nteParts.pick = label;
    node.nteParts.bar.remove();
    node.nteParts.more.remove();
    body.append(node);
  }
  while (body.lastChild !== node) body.lastChild.remove();
  const parts = node.nteParts;
  const hidden = summary.partial ? summary.vocab_size - summary.partial.sent : 0;
  setText(parts.pick, hidden === 0 ? t('other_tokens', { count: grouped(other.count) }) : hidden === other.count ? t('unsent_tokens', { count: grouped(hidden) }) : t('other_unsent', { count: grouped(other.count), hidden: grouped(hidden) }));
  setText(parts.raw, probability(other.raw_probability));
  setText(parts.final, finalOf(other));
}

const stepName = step => has('step_' + step) ? t('step_' + step) : step;

function drawSummary(table, view) {
  const s = table.summary, facts = { kept: grouped(s.kept), vocab: grouped(s.vocab_size), mass: share(s.mass) };
  if (s.partial) setText(el.summary, t('summary_partial', { ...facts, sent: grouped(s.partial.sent), coverage: share(s.coverage), raw: bitsBetween(s.partial.raw_entropy), final: bitsBetween(s.partial.entropy) }));
  else setText(el.summary, t('summary', { ...facts, raw: s.raw_entropy === null ? unknown : decimals(s.raw_entropy, 2), final: decimals(s.entropy, 2) }));
  drawCertainty(s);
  const notes = [];
  if (view.stop) notes.push(t(view.stop, { limit: grouped(view.model.context_length) }));
  if (s.kept === 1 && !(s.partial?.unsent[1] > 0) && table.rows.length) notes.push(t('only_one', { token: '“' + isolated(table.rows[0].text) + '”' }));
  setText(el['stop-note'], notes.join(' '));
  el['stop-note'].hidden = !notes.length;
}

// What is exact where a server sent a part only, and which rules leave what in doubt.
function drawCertainty(s) {
  const said = [];
  if (s.partial && !s.partial.exact) said.push(t('bounds_only'));
  else if (s.partial) said.push(s.partial.unsent[1] > 0 ? t('exact_beside', { share: share(s.partial.unsent[1]) }) : t('exact_all'));
  for (const one of s.because ?? []) said.push(t('because_' + one.reason, { rule: stepName(one.step) }));
  setText(el.certainty, said.join(' '));
  el.certainty.hidden = !said.length;
}

function pickRow(event) {
  const row = event.target.closest('.row');
  if (!row || row.nteToken === undefined) return;
  if (event.target.closest('.more')) return openMenu(row.nteToken);
  // Who marks a row's text to copy it clicks, too. A key picks all the same, whatever is marked.
  if (event.detail === 0 || !getSelection()?.toString()) perform('pick', { token_id: row.nteToken });
}
el.tbody.addEventListener('click', pickRow);
roving(el.tbody, 'button.pick');
function setTopN(value) {
  if (!Number.isInteger(value) || value < 5 || value > limits.table_rows) { showNote(t('error_number', { parameter: t('rows'), low: 5, high: grouped(limits.table_rows) })); el['top-n'].value = topN; return; }
  topN = value;
  sendSettings({});
}
el['top-n'].addEventListener('change', () => setTopN(el['top-n'].valueAsNumber));
el['number-form'].addEventListener('click', () => { asFraction = !asFraction; remember('fraction', asFraction ? '1' : '0'); redraw(); });
