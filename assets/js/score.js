// How well the model predicts the text: numbers for all of it, and its surprisal over position.
let scoreShown = remembered('score') === '1';

function drawScore(view) {
  setText(el['score-open'], (scoreShown ? '▾ ' : '▸ ') + t('score'));
  el['score-open'].setAttribute('aria-expanded', String(scoreShown));
  const { perplexity, bits_per_token: perToken, bits_per_byte: perByte } = view.score;
  const number = x => x === null ? unknown : x >= 1e6 ? x.toExponential(2) : decimals(x, 2);
  setText(el['score-says'], t('score_says', { perplexity: number(perplexity), token: number(perToken), byte: number(perByte) }));
  el['score-box'].hidden = !scoreShown;
  if (!scoreShown) return;
  const parts = view.chips.flatMap(chip => chip.parts);
  const width = 1000, height = 130, left = 34, bottom = 16, top = 6;
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-label', t('score_chart', { count: grouped(parts.length) }));
  const peak = Math.max(4, ...parts.map(part => Math.max(part.surprisal ?? 0, part.entropy ?? 0)));
  const slot = (width - left) / Math.max(parts.length, 12);
  const y = bits => top + (height - top - bottom) * (1 - bits / peak);
  for (const at of [0, peak / 2, peak]) {
    shape(svg, 'line', { x1: left, x2: width, y1: y(at), y2: y(at), class: 'gridline' });
    shape(svg, 'text', { x: left - 5, y: y(at) + 3, 'text-anchor': 'end', class: 'tick' }, decimals(at, 1));
  }
  // One path for all bars: thousands of shapes would make the page slow.
  const bars = parts.map((part, i) => part.surprisal === null ? '' : `M${(left + slot * (i + 0.5)).toFixed(1)} ${y(0).toFixed(1)}V${y(part.surprisal).toFixed(1)}`).join('');
  shape(svg, 'path', { d: bars, class: 'bars-path', 'stroke-width': Math.max(0.6, slot * 0.7).toFixed(2) });
  const line = parts.map((part, i) => part.entropy === null ? '' : `${(left + slot * (i + 0.5)).toFixed(1)},${y(part.entropy).toFixed(1)}`).filter(Boolean).join(' ');
  shape(svg, 'polyline', { points: line, class: 'entropy-line' });
  const place = event => {
    const box = svg.getBoundingClientRect();
    return parts[Math.floor(((event.clientX - box.left) / box.width * width - left) / slot)];
  };
  const says = make('p', 'hint score-point', t('score_hint'));
  svg.addEventListener('pointermove', event => {
    const part = place(event);
    setText(says, part ? t('score_point', { position: grouped(part.position), token: part.text, surprisal: bits(part.surprisal), entropy: bits(part.entropy) }) : t('score_hint'));
  });
  svg.addEventListener('click', event => {
    const part = place(event);
    if (!part) return;
    if (part.position >= view.prompt_length) perform('rewind', { depth: part.position - view.prompt_length });
    else if (part.position > 0) perform('jump', { position: part.position });
  });
  el['score-box'].replaceChildren(svg, says);
}
el['score-open'].addEventListener('click', () => { scoreShown = !scoreShown; remember('score', scoreShown ? '1' : '0'); if (current) drawScore(current); });
