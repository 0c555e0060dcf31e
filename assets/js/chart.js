// The distribution as a drawing: bars raw against final, the cumulative curves, the cut.
function drawChart(chart) {
  const count = Math.min(chart.labels.length, 20);
  const width = 400, height = 240, left = 34, right = 34, top = 10, bottom = 60;
  const inner = width - left - right, tall = height - top - bottom, slot = inner / count;
  const svg = sheet(width, height, t('chart_label', { count, token: chart.labels[0], raw: probability(chart.raw[0]), final: probability(chart.final[0]) }), el.chart.querySelector('svg'));
  const peak = niceTop(Math.max(...chart.raw.slice(0, count), ...chart.final.slice(0, count)));
  const y = p => top + tall * (1 - p / peak), yAll = p => top + tall * (1 - p);
  for (let i = 0; i <= 4; i++) {
    const at = top + tall * i / 4;
    shape(svg, 'line', { x1: left, x2: width - right, y1: at, y2: at, class: 'gridline' });
    shape(svg, 'text', { x: left - 4, y: at + 3, 'text-anchor': 'end', class: 'tick' }, percentTick(peak * (1 - i / 4)));
    shape(svg, 'text', { x: width - right + 4, y: at + 3, class: 'tick line' }, percentTick(1 - i / 4));
  }
  for (let i = 0; i < count; i++) {
    const x = left + slot * i, w = slot * 0.36;
    const group = shape(svg, 'g', { class: 'pair' });
    shape(group, 'title', {}, isolated(chart.labels[i]) + '  ' + t('raw') + ' ' + probability(chart.raw[i]) + '  ' + t('final') + ' ' + (chart.bounds ? between(...chart.bounds[i]) : probability(chart.final[i])));
    shape(group, 'rect', { x, y: top, width: slot, height: tall, class: 'hit' });
    shape(group, 'rect', { x: x + slot * 0.12, y: y(chart.raw[i]), width: w, height: Math.max(0, top + tall - y(chart.raw[i])), class: 'raw' });
    shape(group, 'rect', { x: x + slot * 0.5, y: y(chart.final[i]), width: w, height: Math.max(0, top + tall - y(chart.final[i])), class: 'final' });
    if (chart.bounds) shape(group, 'line', { x1: x + slot * 0.68, x2: x + slot * 0.68, y1: y(Math.min(peak, chart.bounds[i][0])), y2: y(Math.min(peak, chart.bounds[i][1])), class: 'between' });
    const label = shortened(chart.labels[i], 9);
    const lx = x + slot / 2, ly = top + tall + 9;
    shape(svg, 'text', { x: lx, y: ly, transform: `rotate(-52 ${lx} ${ly})`, 'text-anchor': 'end', class: chart.cut !== null && i >= chart.cut ? 'label gone' : 'label' }, label);
  }
  const middle = i => left + slot * (i + 0.5);
  for (const [name, values] of [['raw', chart.raw_cumulative], ['final', chart.final_cumulative]]) {
    const points = values.slice(0, count).map((p, i) => `${middle(i).toFixed(1)},${yAll(p).toFixed(1)}`).join(' ');
    shape(svg, 'polyline', { points, class: 'curve ' + name });
  }
  if (chart.cut !== null && chart.cut < count) {
    const x = left + slot * chart.cut;
    shape(svg, 'line', { x1: x, x2: x, y1: top - 4, y2: top + tall, class: 'cut' });
    const late = chart.cut > count / 2;
    shape(svg, 'text', { x: x + (late ? -4 : 4), y: top + tall * 0.42, 'text-anchor': late ? 'end' : 'start', class: 'cut-label' }, t('cut_label', { kept: grouped(chart.kept) }));
  }
  if ((chart.cut === null || chart.cut >= count) && chart.kept < chart.vocab_size) {
    shape(svg, 'text', { x: width - right, y: top + tall * 0.42, 'text-anchor': 'end', class: 'cut-label' }, t('cut_label', { kept: grouped(chart.kept) }) + ' →');
  }
  dropRest(svg);
  if (!svg.parentNode) el.chart.replaceChildren(svg);
}
function niceTop(p) {
  for (const top of [1e-4, 1e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8]) if (p <= top) return top;
  return 1;
}
function percentTick(p) {
  return formatter('tick', { style: 'percent', maximumSignificantDigits: 3 }).format(p);
}
