// Mirostat's dials: mu, the target, what each token surprised, and where the cut stands.
function drawCockpit(table) {
  const dials = table.dials;
  el.cockpit.hidden = !dials;
  if (!dials) return;
  const last = dials.past.at(-1) ?? null;
  const inBits = x => x === null || x === undefined ? unknown : t('part_bits', { bits: decimals(x, 2) });
  const readings = [
    ['dial_mu', inBits(dials.mu)],
    ['dial_tau', inBits(dials.tau)],
    ['dial_surprise', inBits(last?.surprise)],
    ['dial_error', last?.error === null || last?.error === undefined ? unknown : (last.error > 0 ? '+' : '') + inBits(last.error)],
    [dials.step === 'mirostat_v1' ? 'dial_k' : 'dial_cut', dials.step === 'mirostat_v1' ? grouped(dials.cut) : 'p ≥ ' + quantityText('probability', dials.cut)],
    ['dial_kept', t('dial_of', { kept: grouped(dials.kept), of: grouped(dials.of) })],
  ];
  const rough = dials.estimate ? '≈ ' : '';
  el['dial-estimate'].hidden = !dials.estimate;
  el.dials.replaceChildren(...readings.map(([key, value]) => {
    const box = make('div', 'dial');
    box.append(make('dt', '', t(key)), make('dd', '', key === 'dial_tau' || value === unknown || (key === 'dial_mu' && !last) ? value : rough + value));
    box.title = t(key + '_title');
    return box;
  }));
  drawDialChart(dials);
}
function drawDialChart(dials) {
  const past = dials.past.slice(-60);
  el['dial-hint'].hidden = past.length > 0;
  el['dial-chart'].hidden = past.length === 0;
  if (!past.length) return;
  const width = 400, height = 150, left = 30, right = 8, top = 8, bottom = 34;
  const mean = past.filter(one => one.surprise !== null).reduce((sum, one, _, all) => sum + one.surprise / all.length, 0);
  const svg = sheet(width, height, t('dial_chart_label', { count: past.length, mean: decimals(mean, 2), tau: decimals(dials.tau, 2) }));
  const mus = [...past.map(one => one.mu), dials.mu];
  const peak = Math.max(...mus, ...past.map(one => one.surprise ?? 0), dials.tau, 1), floor = Math.min(0, ...mus);
  const x = i => left + (width - left - right) * (i + 0.5) / (past.length + 1);
  const y = bits => top + (height - top - bottom) * (1 - (bits - floor) / (peak - floor));
  for (const at of [floor, (peak + floor) / 2, peak]) {
    shape(svg, 'line', { x1: left, x2: width - right, y1: y(at), y2: y(at), class: 'gridline' });
    shape(svg, 'text', { x: left - 4, y: y(at) + 3, 'text-anchor': 'end', class: 'tick' }, decimals(at, 1));
  }
  const slot = (width - left - right) / (past.length + 1);
  past.forEach((one, i) => {
    const group = shape(svg, 'g', { class: 'pair' });
    shape(group, 'title', {}, t('dial_point', { token: one.text, surprise: inBitsOf(one.surprise), mu: decimals(one.mu, 2), next: decimals(one.next_mu, 2), kept: grouped(one.kept) }));
    shape(group, 'rect', { x: x(i) - slot / 2, y: top, width: slot, height: height - top - bottom, class: 'hit' });
    if (one.surprise !== null) shape(group, 'rect', { x: x(i) - slot * 0.3, width: slot * 0.6, y: y(one.surprise), height: Math.max(0.5, y(0) - y(one.surprise)), class: 'surprise' });
    if (past.length <= 24) shape(svg, 'text', { x: x(i), y: height - bottom + 10, transform: `rotate(-45 ${x(i)} ${height - bottom + 10})`, 'text-anchor': 'end', class: 'label' }, shortened(one.text, 7));
  });
  shape(svg, 'polyline', { points: mus.map((mu, i) => `${x(i).toFixed(1)},${y(mu).toFixed(1)}`).join(' '), class: 'mu' });
  shape(svg, 'line', { x1: left, x2: width - right, y1: y(dials.tau), y2: y(dials.tau), class: 'tau' });
  el['dial-chart'].replaceChildren(svg);
}
const inBitsOf = x => x === null ? unknown : decimals(x, 2);
