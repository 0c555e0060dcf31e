// The dice: the final distribution as a strip, u as a marker on it, and a thousand throws.
let diceOf = 'next'; // which draw is shown
let otherU = null; // where the marker was dragged to
let diceKey = '';

function drawDice(table) {
  const last = table.last_draw ?? null;
  if (diceOf === 'last' && !last) diceOf = 'next';
  const draw = diceOf === 'last' ? last : table.next_draw;
  const key = diceOf + draw.u + JSON.stringify(draw.segments.map(one => [one.token_id, one.high]));
  if (key !== diceKey) { otherU = null; el.rolls.hidden = true; }
  diceKey = key;
  for (const button of element.querySelectorAll('[data-draw]')) {
    button.setAttribute('aria-pressed', String(button.dataset.draw === diceOf));
    if (button.dataset.draw === 'last') button.disabled = !last;
  }
  el.segments.replaceChildren(...draw.segments.map((one, i) => {
    const node = makeToken('span', 'segment', one.high - one.low > 0.045 ? one.text : '');
    node.style.flexGrow = one.high - one.low;
    node.dataset.shade = i % 4;
    node.title = isolated(one.text) + '  ' + probability(one.high - one.low);
    return node;
  }));
  const end = draw.segments.at(-1)?.high ?? 0;
  if (draw.others > 0) {
    const node = make('span', 'segment others', 1 - end > 0.12 ? t('other_tokens', { count: grouped(draw.others) }) : '');
    node.style.flexGrow = Math.max(0, 1 - end);
    node.title = t('other_tokens', { count: grouped(draw.others) }) + '  ' + probability(1 - end);
    el.segments.append(node);
  }
  setText(el['dice-unsent'], draw.unsent ? t('dice_unsent', { share: between(...draw.unsent, share) }) : '');
  el['dice-unsent'].hidden = !draw.unsent;
  showMarker(draw);
}
const shownDraw = () => diceOf === 'last' ? current.last_draw : current.next_draw;
function showMarker(draw) {
  const u = otherU ?? draw.u;
  el.marker.value = u;
  const at = otherU === null ? draw.segments.findIndex(one => one.token_id === draw.token_id) : draw.segments.findIndex(one => u >= one.low && u < one.high);
  [...el.segments.children].forEach((node, i) => node.classList.toggle('hit', i === (at < 0 ? draw.segments.length : at)));
  const hit = at < 0 ? null : draw.segments[at];
  el['dice-back'].hidden = otherU === null;
  if (otherU === null) {
    setText(el['dice-says'], t(diceOf === 'last' ? 'dice_last' : 'dice_next', { u: decimals(draw.u, 4), token: draw.text, p: probability(draw.probability), rank: grouped(draw.place) }));
  } else if (hit) {
    setText(el['dice-says'], t('dice_other', { u: decimals(u, 4), token: hit.text, p: probability(hit.high - hit.low), rank: grouped(at + 1) }));
  } else {
    setText(el['dice-says'], t('dice_beyond', { u: decimals(u, 4), count: grouped(draw.others) }));
  }
  el.marker.setAttribute('aria-valuetext', el['dice-says'].textContent);
}
el.marker.addEventListener('input', () => { otherU = el.marker.valueAsNumber; if (current) showMarker(shownDraw()); });
el.marker.addEventListener('change', async () => {
  const draw = current && shownDraw(), u = otherU;
  if (!draw || u === null || draw.segments.some(one => u >= one.low && u < one.high)) return;
  // Beyond the drawn segments only the server knows the token.
  const answer = await send('fall', { which: diceOf, u }).catch(() => ({ error: { code: 'connection' } }));
  if (answer.error) return showNote(sayError(answer.error));
  if (u !== otherU) return;
  const fell = answer.ok.fall;
  setText(el['dice-says'], t('dice_other', { u: decimals(u, 4), token: fell.text, p: probability(fell.probability), rank: grouped(fell.place) }));
  el.marker.setAttribute('aria-valuetext', el['dice-says'].textContent);
});
el['dice-back'].addEventListener('click', () => { otherU = null; showMarker(shownDraw()); el.marker.focus(); });
for (const button of element.querySelectorAll('[data-draw]')) button.addEventListener('click', () => { diceOf = button.dataset.draw; diceKey = ''; drawDice(current); });

el.roll.addEventListener('click', async () => {
  if (!current) return;
  while (busy) await pause(5);
  setBusy(true);
  const answer = await send('roll', { which: diceOf, count: 1000, seed: crypto.getRandomValues(new Uint32Array(1))[0] }).catch(() => ({ error: { code: 'connection' } }));
  setBusy(false);
  if (answer.error) return receive(answer);
  drawRolls(answer.ok.roll);
});
function drawRolls(rolls) {
  const rows = rolls.rows.map(row => [row.text, row.observed, row.expected]);
  if (rolls.others) rows.push([t('other_tokens', { count: grouped(rolls.others.count) }), rolls.others.observed, rolls.others.expected]);
  const top = Math.max(...rows.flatMap(([, seen, hoped]) => [seen, hoped]), 1);
  el['rolls-body'].replaceChildren(...rows.map(([text, seen, hoped]) => {
    const row = make('tr'), bar = make('td', 'roll-bar');
    const name = makeToken('th', 'roll-token', text);
    name.scope = 'row';
    bar.append(make('div'));
    bar.style.setProperty('--seen', seen / top);
    bar.style.setProperty('--hoped', hoped / top);
    row.append(name, make('td', 'num', grouped(seen)), make('td', 'num', decimals(hoped, 1)), bar);
    return row;
  }));
  const test = rolls.chi_square;
  setText(el['rolls-says'], test ? t('chi_square', { statistic: decimals(test.statistic, 2), freedom: grouped(test.degrees_of_freedom), p: test.p_value < 0.001 ? '<0.001' : decimals(test.p_value, 3) }) : t('chi_square_none'));
  el.rolls.hidden = false;
}
