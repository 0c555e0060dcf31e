// Pinned words: how likely the text goes on with each, whatever the table shows.
let pinsShown = remembered('pins') === '1';
let pins = [];
try { pins = JSON.parse(remembered('pinned') ?? '[]').filter(one => typeof one === 'string' && one).slice(0, limits.pinned_words); } catch { /* not ours */ }
let pinsRead = []; // the last answers, in the order of the pins

function drawPins() {
  setText(el['pins-open'], (pinsShown ? '▾ ' : '▸ ') + t('pins'));
  el['pins-open'].setAttribute('aria-expanded', String(pinsShown));
  el['pins-box'].hidden = !pinsShown;
  el['pins-table'].hidden = !pins.length;
  setText(el['pins-about'], pins.length ? t('pins_about') : t('pins_none'));
  el['pins-body'].replaceChildren(...pins.map(word => pinRow(word, pinsRead.find(one => one.text === word))));
}
function pinRow(word, read) {
  const row = make('tr'), name = make('th', 'pin-word');
  name.scope = 'row';
  const shown = make('span', 'pin-text', word.replaceAll(' ', '␣'));
  shown.dir = 'auto';
  name.append(shown);
  const remove = make('button', 'quiet pin-remove', '×');
  remove.type = 'button';
  remove.setAttribute('aria-label', t('pin_remove', { word }));
  remove.title = t('pin_remove', { word });
  remove.addEventListener('click', () => setPins(pins.filter(one => one !== word)));
  const last = make('td');
  last.append(remove);
  const pieces = read?.tokens ?? [];
  if (pieces.length > 1 || (pieces.length && pieces[0].text !== shown.textContent)) name.append(make('span', 'pin-tokens', pieces.map(token => token.text).join(' + ')));
  const cells = read ? [firstCell(read.first), massCell(read.spelled, read.unexplored, t('pin_ways', { count: grouped(read.spelled.tokenisations) })), massCell(read.begins, read.unexplored, '')] : [0, 1, 2].map(() => make('td', 'num', '…'));
  ['pin_first', 'pin_string', 'pin_begins'].forEach((label, i) => { cells[i].dataset.label = t(label); });
  row.append(name, ...cells, last);
  return row;
}
const pair = (raw, final) => probability(raw) + ' → ' + probability(final);
function firstCell(first) {
  const cell = make('td', 'num');
  if (!first) { cell.append(make('span', '', unknown)); return cell; }
  const rank = first.rank !== null ? t('pin_rank', { rank: grouped(first.rank) }) : first.rank_above ? t('pin_rank', { rank: '> ' + grouped(first.rank_above) }) : unknown;
  cell.append(make('span', 'pin-main', pair(first.raw, first.final)), make('span', 'pin-more', rank + (first.cut_by ? ' · ' + t('pin_cut', { rule: stepName(first.cut_by) }) : '')));
  return cell;
}
function massCell(mass, unexplored, more) {
  const cell = make('td', 'num');
  const open = Math.max(unexplored.raw, unexplored.final);
  const bound = open > 0 ? t('pin_bound', { mass: probability(open) }) : '';
  cell.append(make('span', 'pin-main', pair(mass.raw, mass.final)), make('span', 'pin-more', [more, bound].filter(Boolean).join(' · ')));
  return cell;
}
function setPins(words) {
  pins = words;
  remember('pinned', JSON.stringify(pins));
  pinsRead = pinsRead.filter(one => pins.includes(one.text));
  drawPins();
  readBeyond();
}
el['pin-add'].addEventListener('submit', event => {
  event.preventDefault();
  const word = el['pin-text'].value;
  if (!word || pins.includes(word)) return;
  if (pins.length >= limits.pinned_words) return showNote(t('pins_full', { count: grouped(limits.pinned_words) }));
  el['pin-text'].value = '';
  setPins([...pins, word]);
});
el['pins-open'].addEventListener('click', () => { pinsShown = !pinsShown; remember('pins', pinsShown ? '1' : '0'); drawPins(); readBeyond(); });
