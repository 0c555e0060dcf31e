// What int8 weights change: the rounded model's probabilities beside the full one's.
let roundingShown = remembered('rounding') === '1', roundingRead = null;
const isRounded = () => setup.models.some(one => one.name === current?.model?.name && one.rounds);

function drawRounding() {
  el.rounding.hidden = !isRounded();
  setText(el['rounding-open'], (roundingShown ? '▾ ' : '▸ ') + t('rounding'));
  el['rounding-open'].setAttribute('aria-expanded', String(roundingShown));
  el['rounding-box'].hidden = !roundingShown;
  setText(el['rounding-says'], '');
  const found = roundingRead;
  if (!roundingShown || !found) return;
  const [full, rounded] = found.perplexity;
  setText(el['rounding-says'], t('rounding_says', {
    variation: probability(found.total_variation),
    kl: found.kl === null ? unknown : decimals(found.kl, 4),
    full: full === null ? unknown : decimals(full, 2),
    rounded: rounded === null ? unknown : decimals(rounded, 2),
  }));
  el['rounding-body'].replaceChildren(...found.rows.map(row => {
    const line = make('tr'), name = make('th', 'pin-word');
    name.scope = 'row';
    name.append(makeToken('span', 'pin-text', row.text));
    const difference = row.rounded - row.full;
    const cells = [probability(row.full), probability(row.rounded), (difference < 0 ? '−' : '+') + probability(Math.abs(difference))].map(text => make('td', 'num', text));
    line.append(name, ...cells);
    return line;
  }));
}
el['rounding-open'].addEventListener('click', () => { roundingShown = !roundingShown; remember('rounding', roundingShown ? '1' : '0'); drawRounding(); readBeyond(); });
