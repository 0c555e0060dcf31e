// Looking ahead: beam search, the most probable continuations, and three ways side by side.
// One request for each forward pass: what is found is seen at once, and Stop works at once.
let aheadShown = remembered('ahead') === '1';
let aheadKind = remembered('ahead-kind') ?? 'beam';
let aheadFound = []; // what was found: [{ kind, width, data }]
let aheadOf = ''; // the model and prompt that it belongs to
let aheadStopped = false;
const AHEAD_FIELDS = { beam: ['width', 'depth', 'penalty'], cover: ['share', 'depth', 'nodes'], side: ['width', 'depth'] };
const aheadDepth = { beam: 10, cover: 3, side: 40 }; // what one looks ahead by, for each kind
const aheadInput = name => el['ahead-' + name];
const textOf = view => [view.model.name, view.prompt.chat, view.prompt.text].join('\n');

function drawAhead() {
  setText(el['ahead-open'], (aheadShown ? '▾ ' : '▸ ') + t('ahead'));
  el['ahead-open'].setAttribute('aria-expanded', String(aheadShown));
  el['ahead-box'].hidden = !aheadShown;
  for (const button of element.querySelectorAll('[data-ahead]')) button.setAttribute('aria-pressed', String(button.dataset.ahead === aheadKind));
  const fields = AHEAD_FIELDS[aheadKind];
  for (const label of element.querySelectorAll('[data-ahead-field]')) label.hidden = !fields.includes(label.dataset.aheadField);
  setText(el['ahead-about'], t('ahead_about_' + aheadKind));
  if (current && aheadOf !== textOf(current)) aheadFound = [];
  const table = aheadFound.length > 0;
  el['ahead-table'].hidden = !table;
  el['ahead-tree'].hidden = !table || aheadFound.length > 1 || aheadFound[0].kind === 'greedy';
  if (!table) return setText(el['ahead-says'], '');
  const rows = aheadFound.flatMap(({ kind, width, data }) => {
    const paths = aheadKind === 'side' ? data.paths.slice(0, 1) : data.paths;
    return paths.map((path, i) => aheadRow(path, aheadKind === 'side' ? t('ahead_way_' + kind, { width: grouped(width), seed: current.seed }) : grouped(i + 1)));
  });
  el['ahead-body'].replaceChildren(...rows);
  el['ahead-table'].classList.toggle('unscored', aheadFound.every(({ data }) => data.paths.every(path => path.score === null)));
  if (!el['ahead-tree'].hidden) drawAheadTree(aheadFound[0].data);
  setText(el['ahead-says'], aheadSays(aheadFound.at(-1)));
}
function aheadSays({ kind, data }) {
  const facts = { depth: grouped(data.depth), nodes: grouped(data.nodes.length), paths: grouped(data.paths.length + data.other_paths), covered: data.covered === null ? unknown : share(data.covered) };
  if (kind === 'cover') return t('ahead_says_' + (data.ending ?? 'covering'), facts);
  return t(data.done ? 'ahead_says_done' : 'ahead_says_depth', facts);
}
function aheadRow(path, name) {
  const row = make('tr'), cell = make('td', 'branch-text'), go = make('button', 'branch-go', t('adopt'));
  go.type = 'button';
  go.title = t('adopt_title');
  go.disabled = running;
  go.addEventListener('click', () => adoptAhead(path.token_ids));
  cell.append(go, makeToken('span', '', path.text.replaceAll('\n', '⏎') + (path.finished ? '' : ' …')));
  const number = (label, text) => { const found = make('td', 'num', text); found.dataset.label = t(label); return found; };
  const repeated = number('branch_repetition', path.repetition === null ? unknown : share(path.repetition));
  if (path.repetition > 0) repeated.classList.add('repeats');
  row.append(make('th', 'ahead-name', name), cell, number('branch_tokens', grouped(path.tokens)), number('ahead_score', path.score === null ? unknown : decimals(path.score, 4)), number('branch_sum', decimals(path.sum, 2)), number('ahead_product', probability(path.probability)), repeated);
  row.firstChild.scope = 'row';
  return row;
}
// Tokens that follow one another without a branch stand in one line, as in the tree of choices.
function drawAheadTree(data) {
  const children = new Map([[-1, []]]), best = new Set();
  for (const node of data.nodes) { children.set(node.id, []); children.get(node.parent).push(node); }
  for (let at = data.paths[0]?.id ?? -1; at >= 0; at = data.nodes[at].parent) best.add(at);
  const root = make('ul', 'tree-lines'), waiting = children.get(-1).map(node => [node, root]).reverse();
  while (waiting.length) {
    const [start, list] = waiting.pop();
    const line = make('li', 'tree-line'), run = make('span', 'tree-run');
    let node = start, after;
    for (;;) {
      run.append(aheadToken(node, best, data));
      after = children.get(node.id);
      if (after.length !== 1) break;
      node = after[0];
    }
    line.append(make('span', 'tree-sum', probability(Math.exp(node.sum))), ' ', run);
    list.append(line);
    if (!after.length) continue;
    const inner = make('ul', 'tree-lines');
    line.append(inner);
    for (const next of after.reverse()) waiting.push([next, inner]);
  }
  const held = el['ahead-tree'].scrollTop;
  el['ahead-tree'].replaceChildren(root);
  el['ahead-tree'].scrollTop = held;
  oneTabStop([...el['ahead-tree'].querySelectorAll('.tree-token')]);
}
function aheadToken(node, best, data) {
  const button = makeToken('button', 'tree-token', node.text);
  button.type = 'button';
  button.dataset.bucket = bucket(node.probability);
  button.classList.toggle('on-path', best.has(node.id));
  const says = t('ahead_token', { p: probability(node.probability), sum: decimals(node.sum, 2), product: probability(Math.exp(node.sum)) });
  button.title = says + '\n' + t('adopt_title');
  button.setAttribute('aria-label', isolated(node.text) + ': ' + says);
  button.addEventListener('click', () => {
    const ids = [];
    for (let at = node.id; at >= 0; at = data.nodes[at].parent) ids.unshift(data.nodes[at].token_id);
    adoptAhead(ids);
  });
  return button;
}
async function adoptAhead(token_ids) {
  if (running) return;
  while (busy) await pause(5);
  perform('adopt', { token_ids, from_ahead: true });
}

// The numbers of the panel, or nothing and a word about the first that is wrong.
function aheadNumbers() {
  const read = {};
  for (const name of AHEAD_FIELDS[aheadKind]) {
    const input = aheadInput(name), value = input.valueAsNumber, { min, max, step } = input;
    if (!(value >= Number(min) && value <= Number(max)) || (step === '1' && !Number.isInteger(value))) {
      showNote(t('error_number', { parameter: t('ahead_field_' + name), low: formatter('limit', {}).format(min), high: formatter('limit', {}).format(max) }));
      return null;
    }
    read[name] = value;
  }
  return { width: read.width, depth: read.depth, length_penalty: read.penalty ?? 1, share: read.share / 100, most_nodes: read.nodes };
}
async function lookAhead() {
  const numbers = aheadNumbers();
  if (!numbers || running || !current) return;
  running = true;
  aheadStopped = false;
  aheadFound = [];
  aheadOf = textOf(current);
  el['ahead-stop'].hidden = false;
  const giveBack = handFocus(el['ahead-stop']);
  el['ahead-run'].hidden = true;
  setButtons();
  for (const kind of aheadKind === 'side' ? ['greedy', 'beam', 'sample'] : [aheadKind]) {
    const mine = { kind, width: numbers.width, data: null };
    const wantedNumbers = Object.fromEntries(Object.entries(numbers).filter(([, value]) => value !== undefined && !Number.isNaN(value)));
    while (!aheadStopped && !mine.data?.done) {
      while (busy) await pause(5);
      const ok = await perform(...(mine.data ? ['ahead_on', {}] : ['ahead', { kind, ...wantedNumbers }]), () => !aheadStopped);
      if (!ok) { aheadStopped = true; break; }
      if (!mine.data) aheadFound.push(mine);
      mine.data = ok.ahead;
      drawAhead();
    }
  }
  running = false;
  el['ahead-run'].hidden = false;
  setButtons();
  giveBack();
  el['ahead-stop'].hidden = true;
  drawAhead();
}
el['ahead-run'].addEventListener('click', lookAhead);
el['ahead-stop'].addEventListener('click', () => { aheadStopped = true; });
el['ahead-open'].addEventListener('click', () => { aheadShown = !aheadShown; remember('ahead', aheadShown ? '1' : '0'); drawAhead(); });
for (const button of element.querySelectorAll('[data-ahead]')) {
  button.addEventListener('click', () => {
    if (running || button.dataset.ahead === aheadKind) return;
    aheadKind = button.dataset.ahead;
    aheadInput('depth').value = aheadDepth[aheadKind];
    remember('ahead-kind', aheadKind);
    aheadFound = [];
    drawAhead();
  });
}
if (!Object.hasOwn(AHEAD_FIELDS, aheadKind)) aheadKind = 'beam';
aheadInput('depth').value = aheadDepth[aheadKind];
aheadInput('depth').addEventListener('input', () => { aheadDepth[aheadKind] = aheadInput('depth').value; });
roving(el['ahead-tree'], '.tree-token');
