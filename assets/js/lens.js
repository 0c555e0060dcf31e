// The next character rather than the next token; and when to ask for what lies beyond the table.
let lensShown = remembered('lens') === '1';
let lensRead = null, lensPasses = 4; // how many passes may follow unfinished characters

function drawLens() {
  setText(el['lens-open'], (lensShown ? '▾ ' : '▸ ') + t('lens'));
  el['lens-open'].setAttribute('aria-expanded', String(lensShown));
  el['lens-box'].hidden = !lensShown;
  if (!lensShown || !lensRead) return;
  const rows = lensRead.rows.map(lensRow);
  const plain = (name, mass, says) => {
    const row = make('tr', 'lens-rest');
    row.append(makeToken('th', 'lens-name', name), make('td', 'num', probability(mass.raw)), make('td', 'num', probability(mass.final)), make('td'), make('td', 'num', says), make('td'));
    row.firstChild.scope = 'row';
    return row;
  };
  for (const special of lensRead.specials) if (special.raw >= 1e-6 || special.final >= 1e-6) rows.push(plain(special.text, special, '1'));
  if (lensRead.others.count) rows.push(plain(t('lens_others', { count: grouped(lensRead.others.count) }), lensRead.others, ''));
  if (lensRead.broken.raw > 0) rows.push(plain(t('lens_broken'), lensRead.broken, ''));
  for (const piece of lensRead.unexpanded.pieces.slice(0, 5)) rows.push(plain(piece.text + ' → ?', piece, ''));
  el['lens-body'].replaceChildren(...rows);
  el['lens-more'].hidden = lensRead.passes < lensPasses || lensPasses >= limits.followed_passes;
  const facts = { raw: probability(lensRead.unexpanded.raw), final: probability(lensRead.unexpanded.final), passes: grouped(lensRead.passes) };
  setText(el['lens-about'], t('lens_about', facts) + (lensRead.unknown > 0 ? ' ' + t('lens_unknown', { mass: pair(lensRead.unknown, lensRead.unknown_final) }) : ''));
}
function lensRow(read) {
  const row = make('tr'), name = make('th', 'lens-name'), bar = make('td', 'bar-col'), bars = make('div', 'bars');
  name.scope = 'row';
  const shown = makeToken('span', 'lens-character', read.character);
  shown.title = read.code;
  name.append(shown);
  const most = Math.max(...lensRead.rows.map(one => Math.max(one.raw, one.final)));
  drawBars(bars, read.final / most, read.raw / most);
  bar.append(bars);
  const ways = make('td', 'lens-ways');
  for (const way of read.ways) {
    const go = makeToken('button', 'tree-token', way.texts.map(isolated).join(' → '));
    go.type = 'button';
    go.dataset.bucket = bucket(way.raw);
    go.title = t('lens_way', { p: probability(way.raw) });
    go.addEventListener('click', async () => { if (running) return; while (busy) await pause(5); perform('adopt', { token_ids: way.token_ids }); });
    ways.append(go);
  }
  row.append(name, make('td', 'num', probability(read.raw)), make('td', 'num', probability(read.final)), bar, make('td', 'num', grouped(read.tokens)), ways);
  return row;
}
el['lens-more'].addEventListener('click', () => { lensPasses = Math.min(4 * lensPasses, limits.followed_passes); readBeyond(); });
el['lens-open'].addEventListener('click', () => { lensShown = !lensShown; remember('lens', lensShown ? '1' : '0'); drawLens(); readBeyond(); });

// What lies beyond the table costs forward passes: it is asked for when the table is there, and
// no click waits for it. Only the last state is asked about.
const BEYOND = ['pins-box', 'lens-box', 'rounding-box'];
let beyondWanted = false, beyondReading = false;
async function readBeyond() {
  const wanted = () => current && !document.hidden && ((pinsShown && pins.length) || lensShown || (roundingShown && isRounded()));
  if (!wanted()) return;
  beyondWanted = true;
  for (const name of BEYOND) el[name].classList.add('stale');
  if (beyondReading) return;
  beyondReading = true;
  while (beyondWanted && wanted()) {
    beyondWanted = false;
    await pause(120);
    while (busy || running || awaited !== null) await pause(50); // nor does a table wait for the model
    if (beyondWanted) continue;
    if (pinsShown && pins.length) {
      const answer = await sendPatiently('words', { words: pins }, () => !beyondWanted && wanted()).catch(() => null);
      if (answer?.ok) { pinsRead = answer.ok.words; drawPins(); }
    }
    if (lensShown && !beyondWanted) {
      const answer = await sendPatiently('characters', { passes: lensPasses }, () => !beyondWanted && wanted()).catch(() => null);
      if (answer?.ok) { lensRead = answer.ok.characters; drawLens(); }
    }
    if (roundingShown && isRounded() && !beyondWanted) {
      const answer = await sendPatiently('rounding', {}, () => !beyondWanted && wanted()).catch(() => null);
      if (answer?.ok) { roundingRead = answer.ok.rounding; drawRounding(); }
    }
    if (!beyondWanted) for (const name of BEYOND) el[name].classList.remove('stale');
  }
  beyondReading = false;
}
document.addEventListener('visibilitychange', readBeyond);
