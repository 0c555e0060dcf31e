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

const ROWS_AT_ONCE = 60; // more than a screen holds; the rest follows, so many a frame
let rowsToCome = 0;
function drawRows(table) {
  cancelAnimationFrame(rowsToCome);
  const rows = table.rows, body = el.tbody;
  while (body.children.length > rows.length + 1) body.lastChild.remove();
  const top = Math.max(...rows.map(row => Math.max(row.raw_probability, row.probability)), 1e-300);
  const starts = Array.from({ length: Math.ceil(rows.length / ROWS_AT_ONCE) }, (_, i) => i * ROWS_AT_ONCE);
  if (starts.length > 1) starts.unshift(...starts.splice(chunkInView(starts), 1));
  const drawNext = () => {
    const start = starts.shift() ?? 0;
    rows.slice(start, start + ROWS_AT_ONCE).forEach((row, i) => drawRow(row, start + i, top));
    if (starts.length) { rowsToCome = requestAnimationFrame(drawNext); return; }
    drawOther(table.other, body, rows.length);
    const picks = [...body.querySelectorAll('.pick')];
    oneTabStop(picks, Math.max(0, picks.indexOf(document.activeElement)));
  };
  drawNext();
}
function chunkInView(starts) {
  const box = el['rows-box'], drawn = el.tbody.children.length;
  const above = box.scrollTop / Math.max(1, box.scrollHeight) * drawn;
  return Math.max(0, starts.findLastIndex(start => start <= above && start < drawn));
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
  node.nteToken = row.token_id;
  setText(parts.rank, grouped(row.rank));
  setText(parts.pick, row.text);
  parts.pick.classList.toggle('special', row.special);
  const cut = row.cut_by === null ? '' : stepName(row.cut_by);
  const raw = probability(row.raw_probability), final = probability(row.probability);
  const said = t('pick_row', { token: row.text, rank: grouped(row.rank) }) + ', ' + t('raw') + ' ' + raw + ', ' + t('final') + ' ' + final + (cut ? ', ' + t('cut_at', { step: cut }) : '');
  parts.pick.setAttribute('aria-label', said);
  setText(parts.joins, row.completes ? '→ ' + row.completes : '');
  parts.joins.title = row.completes ? t('completes', { text: row.completes }) : '';
  setText(parts.id, String(row.token_id));
  setText(parts.raw, raw);
  setText(parts.final, final);
  drawBars(parts.bar, row.probability / top, row.raw_probability / top);
  parts.name.style.backgroundSize = `${100 * row.probability / top}% 4px`; // seen on phones
  setText(parts.cut, cut);
  parts.more.title = t('menu_title');
  parts.more.setAttribute('aria-label', t('menu_of', { token: row.text }));
}
// Not by custom properties: all that lies below a node inherits those and is styled anew.
function drawBars(bars, final, raw) {
  bars.style.backgroundSize = `${100 * final}% 9px, ${100 * raw}% 5px`;
}

function drawOther(other, body, at) {
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
  setText(parts.pick, t('other_tokens', { count: grouped(other.count) }));
  setText(parts.raw, probability(other.raw_probability));
  setText(parts.final, probability(other.probability));
}

const stepName = step => has('step_' + step) ? t('step_' + step) : step;

function drawSummary(table, view) {
  const s = table.summary;
  let text = t('summary', { kept: grouped(s.kept), vocab: grouped(s.vocab_size), mass: share(s.mass), raw: s.raw_entropy === null ? unknown : decimals(s.raw_entropy, 2), final: decimals(s.entropy, 2) });
  if (s.coverage < 1) text += ' · ' + t('coverage', { coverage: share(s.coverage) });
  setText(el.summary, text);
  const notes = [];
  if (view.stop) notes.push(t(view.stop, { limit: grouped(view.model.context_length) }));
  if (s.kept === 1 && table.rows.length) notes.push(t('only_one', { token: '“' + table.rows[0].text + '”' }));
  setText(el['stop-note'], notes.join(' '));
  el['stop-note'].hidden = !notes.length;
}

function pickRow(event) {
  const row = event.target.closest('.row');
  if (!row || row.nteToken === undefined) return;
  if (event.target.closest('.more')) return openMenu(row.nteToken);
  if (!getSelection()?.toString()) perform('pick', { token_id: row.nteToken });
}
el.tbody.addEventListener('click', pickRow);
roving(el.tbody, 'button.pick');
function setTopN(value) {
  if (!Number.isInteger(value) || value < 5 || value > 500) { showNote(t('error_number', { parameter: t('rows'), low: 5, high: 500 })); el['top-n'].value = topN; return; }
  topN = value;
  sendSettings({});
}
el['top-n'].addEventListener('change', () => setTopN(el['top-n'].valueAsNumber));
el['number-form'].addEventListener('click', () => { asFraction = !asFraction; remember('fraction', asFraction ? '1' : '0'); redraw(); });
