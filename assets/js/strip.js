// The token strip: a chip for each token, or for the byte tokens that make one character.
// Six buckets from expected (blue) to surprising (orange), by what the reader chose to see.
const COLOURS = {
  probability: { ends: [0.5, 0.2, 0.05, 0.01, 0.001], labels: ['≥50 %', '20', '5', '1', '0.1', '<0.1 %'], of: chip => chip.probability, rising: false },
  surprisal: { ends: [1, 2, 4, 7, 10], labels: ['<1', '2', '4', '7', '10', '≥10'], of: chip => sumOf(chip, 'surprisal'), rising: true },
  rank: { ends: [2, 11, 101, 1001, 10001], labels: ['1', '10', '100', '1000', '10⁴', '>10⁴'], of: chip => worstOf(chip, 'rank'), rising: true },
  entropy: { ends: [1, 2, 4, 6, 8], labels: ['<1', '2', '4', '6', '8', '≥8'], of: chip => chip.parts[0].entropy, rising: true },
};
const sumOf = (chip, name) => chip.parts.some(part => part[name] === null) ? null : chip.parts.reduce((sum, part) => sum + part[name], 0);
const worstOf = (chip, name) => chip.parts.some(part => part[name] === null) ? null : Math.max(...chip.parts.map(part => part[name]));
let colourBy = Object.hasOwn(COLOURS, remembered('colour')) ? remembered('colour') : 'probability';
function bucketBy(name, value) {
  if (value === null || value === undefined) return 'unknown';
  const { ends, rising } = COLOURS[name];
  const at = ends.findIndex(end => rising ? value < end : value >= end);
  return String(at < 0 ? ends.length : at);
}
const bucket = p => bucketBy('probability', p);
let splitBytes = false;

function drawLegend() {
  el.legend.replaceChildren(...COLOURS[colourBy].labels.map((label, i) => {
    const key = make('span', 'swatch', label);
    key.dataset.bucket = i;
    key.style.setProperty('--p', [1, 0.45, 0.2, 0.08, 0.03, 0.01][i]);
    return key;
  }));
  const says = t('legend', { what: t('colour_' + colourBy) });
  el.legend.setAttribute('aria-label', says);
  el.legend.title = says;
  el['colour-by'].replaceChildren(...Object.keys(COLOURS).map(name => Object.assign(make('option', '', t('colour_' + name)), { value: name })));
  el['colour-by'].value = colourBy;
}
el['colour-by'].addEventListener('change', () => { colourBy = el['colour-by'].value; remember('colour', colourBy); drawLegend(); colourStrip(); });
// Chips take another colour as they are: making thousands of them anew would take most of a second.
function colourStrip() {
  for (const node of el.chips.querySelectorAll('.chip')) node.dataset.bucket = bucketBy(colourBy, COLOURS[colourBy].of(node.nteChip));
}

function drawStrip(view) {
  const nodes = [];
  if (view.chips_from > 0) {
    const more = make('button', 'earlier', t('earlier_tokens', { count: grouped(view.chips_from) }));
    more.type = 'button';
    more.addEventListener('click', () => { wholeStrip = true; perform('open'); });
    nodes.push(more);
  }
  // Chips that stay keep their nodes: a step draws one new chip, however long the text.
  const kept = new Map([...el.chips.children].map(node => [node.nteKey, node]));
  for (const chip of view.chips) {
    const shown = splitBytes && chip.parts.length > 1 ? chip.parts.map(part => ({ ...chip, text: part.text, probability: part.probability, parts: [part] })) : [chip];
    for (const one of shown) {
      const key = language + asFraction + view.prompt_length + JSON.stringify(one);
      const node = kept.get(key) ?? chipNode(one, view);
      node.nteKey = key;
      nodes.push(node);
    }
    if (chip.breaks) nodes.push(make('span', 'break'));
  }
  const focused = el.chips.contains(document.activeElement);
  arrange(el.chips, nodes);
  const chips = [...el.chips.querySelectorAll('button')];
  oneTabStop(chips, chips.length - 1);
  if (focused && !el.chips.contains(document.activeElement)) chips.at(-1)?.focus({ preventScroll: true });
  requestAnimationFrame(() => { el.chips.scrollTop = el.chips.scrollHeight; }); // no layout before all is drawn
  setText(el.length, t('token_count', { count: grouped(view.length), limit: grouped(view.model.context_length) }));
}

// Puts these children in this order, touching only those that differ.
function arrange(box, nodes) {
  const wanted = new Set(nodes);
  for (const child of [...box.children]) if (!wanted.has(child)) child.remove(); // first: what follows then stays in its place
  nodes.forEach((node, i) => { if (box.children[i] !== node) box.insertBefore(node, box.children[i] ?? null); });
}

function chipNode(chip, view) {
  const node = makeToken('button', 'chip', chip.text);
  node.type = 'button';
  node.dataset.bucket = bucketBy(colourBy, COLOURS[colourBy].of(chip));
  if (chip.special) node.classList.add('special');
  node.classList.add(chip.prompt ? 'of-prompt' : 'of-text');
  if (chip.parts.length > 1) node.classList.add('joined');
  node.style.setProperty('--p', chip.probability ?? 0);
  node.setAttribute('aria-label', isolated(chip.text) + ': ' + describe(chip).flat().join(' '));
  const depth = chip.parts[0].position - view.prompt_length;
  node.nteChip = chip;
  if (depth >= 0) node.addEventListener('click', () => { hidePop(); perform('rewind', { depth }); });
  else node.addEventListener('click', () => { showPop(node); offerJump(chip.parts[0].position); });
  return node;
}

// Lines of [name, value] for each part of a chip.
function describe(chip) {
  const lines = [];
  for (const part of chip.parts) {
    if (chip.parts.length > 1) lines.push([isolated(part.text), '']);
    lines.push([t('part_id'), String(part.token_id)]);
    lines.push([t('part_bytes'), (part.bytes_hex.match(/../g) ?? [unknown]).join(' ').toUpperCase()]);
    lines.push([t('part_rank'), part.rank !== null ? grouped(part.rank) : part.rank_beyond ? t('rank_beyond', { count: grouped(part.rank_beyond) }) : part.position > 0 ? t('not_asked') : unknown]);
    lines.push([t('part_probability'), probability(part.probability)]);
    lines.push([t('part_surprisal'), t('part_bits', { bits: bits(part.surprisal) })]);
    lines.push([t('part_entropy'), part.entropy === null ? unknown : t('part_bits', { bits: bits(part.entropy) })]);
    lines.push([t('part_how'), t('how_' + part.how, { u: part.u === null ? unknown : decimals(part.u, 4) })]);
  }
  if (chip.special) lines.push([t('special_token'), '']);
  return lines;
}

function showPop(node) {
  const chip = node.nteChip;
  if (!chip) return;
  const list = make('dl');
  for (const [name, value] of describe(chip)) {
    list.append(make('dt', value === '' ? 'head' : '', name));
    if (value !== '') list.append(make('dd', '', value));
  }
  el.pop.replaceChildren(makeToken('strong', '', chip.text), list);
  if (!chip.prompt) el.pop.append(make('p', 'hint', t('go_back')));
  el.pop.hidden = false;
  const at = node.getBoundingClientRect(), size = el.pop.getBoundingClientRect();
  el.pop.style.left = Math.max(8, Math.min(at.left, innerWidth - size.width - 8)) + 'px';
  el.pop.style.top = (at.bottom + size.height + 8 < innerHeight ? at.bottom + 6 : Math.max(8, at.top - size.height - 6)) + 'px';
}
function hidePop() {
  if (el.pop.contains(document.activeElement)) popOf?.focus();
  el.pop.hidden = true;
  el.pop.classList.remove('held');
  popHeld = false;
}
// A prompt token that was clicked keeps its box open, with a way to stand just before it.
let popHeld = false, popOf = null;
function offerJump(position) {
  if (position < 1) return;
  const jump = make('button', 'main', t('jump'));
  jump.type = 'button';
  jump.addEventListener('click', () => { hidePop(); perform('jump', { position }); });
  el.pop.append(jump);
  el.pop.classList.add('held');
  popHeld = true;
  popOf = document.activeElement;
  jump.focus();
}
document.addEventListener('pointerdown', event => { if (popHeld && !el.pop.contains(event.target)) hidePop(); });

el.chips.addEventListener('mouseover', event => { const node = event.target.closest('.chip'); if (node && !popHeld) showPop(node); });
el.chips.addEventListener('mouseleave', () => { if (!popHeld) hidePop(); });
el.chips.addEventListener('focusin', event => { if (event.target.matches('.chip:focus-visible')) showPop(event.target); });
el.chips.addEventListener('focusout', event => { if (!el.pop.contains(event.relatedTarget) && !popHeld) hidePop(); });
el.chips.addEventListener('scroll', () => { if (!popHeld) hidePop(); });
roving(el.chips, 'button');
el.split.addEventListener('change', () => { splitBytes = el.split.checked; if (current) drawStrip(current); });
