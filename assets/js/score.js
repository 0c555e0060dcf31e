// How well the model predicts the text: numbers for all of it, and its surprisal over position.
let scoreShown = remembered('score') === '1';
let scoreWidth = 1000; // of the drawing; once it is seen, that of its place: a unit is a pixel

function drawScore(view) {
  setText(el['score-open'], (scoreShown ? '▾ ' : '▸ ') + t('score'));
  el['score-open'].setAttribute('aria-expanded', String(scoreShown));
  const number = x => x >= 1e6 ? x.toExponential(2) : decimals(x, 2);
  // Where a server did not list a token of the text, only a lower bound is known.
  const said = name => view.score[name] !== null ? number(view.score[name]) : typeof view.score[name + '_at_least'] === 'number' ? '≥ ' + number(view.score[name + '_at_least']) : unknown;
  const missing = view.score.unlisted ? ' · ' + t('score_unlisted', { count: grouped(view.score.unlisted) }) : '';
  setText(el['score-says'], t('score_says', { perplexity: said('perplexity'), token: said('bits_per_token'), byte: said('bits_per_byte') }) + missing);
  el['score-box'].hidden = !scoreShown;
  if (scoreShown && view.score.series) drawSeries(view);
}
function drawSeries(view) {
  const { series } = view.score, count = series.texts.length;
  const width = scoreWidth, height = 130, left = 34, bottom = 16, top = 6;
  const svg = sheet(width, height, t('score_chart', { count: grouped(count) }));
  // A text with more tokens than pixels: each column of pixels says the mean and the highest of its tokens.
  const most = Math.floor(width - left), crowded = count > most;
  const columns = columnsOf(series, crowded ? most : count);
  const peak = columns.reduce((high, one) => Math.max(high, one.highest ?? 0, one.entropy ?? 0), 4);
  const slot = (width - left) / Math.max(columns.length, 12);
  const x = i => (left + slot * (i + 0.5)).toFixed(1);
  const y = bits => top + (height - top - bottom) * (1 - bits / peak);
  for (const at of [0, peak / 2, peak]) {
    shape(svg, 'line', { x1: left, x2: width, y1: y(at), y2: y(at), class: 'gridline' });
    shape(svg, 'text', { x: left - 5, y: y(at) + 3, 'text-anchor': 'end', class: 'tick' }, decimals(at, 1));
  }
  // One path for all bars: thousands of shapes would make the page slow.
  const bars = name => columns.map((one, i) => one[name] === null ? '' : `M${x(i)} ${y(0).toFixed(1)}V${y(one[name]).toFixed(1)}`).join('');
  const thick = Math.max(0.6, slot * (crowded ? 1 : 0.7)).toFixed(2);
  if (crowded) shape(svg, 'path', { d: bars('highest'), class: 'bars-path highest', 'stroke-width': thick });
  shape(svg, 'path', { d: bars('surprisal'), class: 'bars-path', 'stroke-width': thick });
  let pen = 'M'; // lifted where nothing is known
  const line = columns.map((one, i) => {
    const said = one.entropy === null ? '' : `${pen}${x(i)} ${y(one.entropy).toFixed(1)}`;
    pen = one.entropy === null ? 'M' : 'L';
    return said;
  }).join('');
  shape(svg, 'path', { d: line, class: 'entropy-line' });
  const place = event => {
    const box = svg.getBoundingClientRect();
    return columns[Math.floor(((event.clientX - box.left) / box.width * width - left) / slot)];
  };
  const hint = crowded ? t('score_hint_columns', { count: grouped(Math.ceil(count / most)) }) : t('score_hint');
  const says = make('p', 'hint score-point', hint);
  svg.addEventListener('pointermove', event => {
    const one = place(event);
    setText(says, one ? sayColumn(one, series) : hint);
  });
  svg.addEventListener('pointerleave', () => setText(says, hint));
  svg.addEventListener('click', event => {
    const one = place(event);
    if (!one) return;
    if (one.at >= view.prompt_length) perform('rewind', { depth: one.at - view.prompt_length });
    else if (one.at > 0) perform('jump', { position: one.at });
  });
  el['score-box'].replaceChildren(svg, says);
}

// So many columns for all positions; each with its means and its most surprising token.
function columnsOf({ surprisal, entropy }, most) {
  const count = surprisal.length;
  return Array.from({ length: most }, (_, i) => {
    const first = Math.floor(i * count / most), end = Math.floor((i + 1) * count / most);
    let at = first;
    for (let position = first; position < end; position++) if ((surprisal[position] ?? -1) > (surprisal[at] ?? -1)) at = position;
    return { first, last: end - 1, at, highest: surprisal[at], surprisal: meanOf(surprisal, first, end), entropy: meanOf(entropy, first, end) };
  });
}
function meanOf(values, first, end) {
  let sum = 0, known = 0;
  for (let i = first; i < end; i++) if (values[i] !== null) { sum += values[i]; known++; }
  return known ? sum / known : null;
}
function sayColumn(one, { texts }) {
  const facts = { position: grouped(one.at), token: texts[one.at], surprisal: bits(one.highest), entropy: bits(one.entropy) };
  return one.first === one.last ? t('score_point', facts) : t('score_column', { ...facts, first: grouped(one.first), last: grouped(one.last), mean: bits(one.surprisal) });
}

new ResizeObserver(([entry]) => {
  const width = Math.round(entry.contentRect.width);
  if (!width || width === scoreWidth) return; // no width: the box is closed
  scoreWidth = width;
  if (current) drawScore(current);
}).observe(el['score-box']);
el['score-open'].addEventListener('click', async () => {
  scoreShown = !scoreShown;
  remember('score', scoreShown ? '1' : '0');
  if (!current) return;
  drawScore(current);
  // The series came with no answer while the panel was closed.
  if (scoreShown && !current.score.series) { while (busy) await pause(5); perform('open'); }
});
