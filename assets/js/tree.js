// The tree of choices. Tokens that follow one another without a branch stand in one line.
let treeShown = remembered('tree') === '1';
let treeKept = { digest: '', nodes: [] }; // the last tree that came: the server sends no tree twice
let treeDrawn = ''; // which tree the box shows, in which language and form of numbers
let treePath = new Set(), treeHere = null; // where the marks are
let treeOpened = true; // just now: the current node is to be brought into view
const treeRoot = make('ul', 'tree-lines');
const treeNodes = new Map(); // token buttons by node id
const treeLines = new Map(); // lines by the id of their first node
const LARGE = 300; // nodes from which on lines out of sight are not laid out
const DEEP = 8; // levels from which on a level is indented by less

function drawTree(view) {
  setText(el['tree-open'], (treeShown ? '▾ ' : '▸ ') + t('tree'));
  el['tree-open'].setAttribute('aria-expanded', String(treeShown));
  setText(el['tree-count'], t('tree_count', { count: grouped(view.node_count) }));
  el.compare.disabled = view.node_count === 0;
  el['tree-box'].hidden = !treeShown;
  if (!treeShown || !view.tree) return;
  if (view.tree.nodes) treeKept = view.tree;
  const form = [treeKept.digest, language, asFraction].join(' ');
  if (form !== treeDrawn) buildTree(treeKept.nodes);
  treeDrawn = form;
  markTree(view.tree);
}

// Lines and tokens that are the same keep their elements: a step draws one more token.
function buildTree(nodes) {
  const children = new Map([[0, []]]);
  for (const node of nodes) { children.set(node.id, []); children.get(node.parent).push(node); }
  const held = treeFocus();
  el['tree-box'].classList.toggle('large', nodes.length >= LARGE);
  const first = treeLine({ id: 0 }, []);
  arrange(first.run, [treeToken({ id: 0, text: t('tree_prompt'), how: 'prompt', probability: null, sum: null })]);
  const lists = [[treeRoot, [first.item]]];
  // Not recursive: a tree can be a thousand branches deep.
  const waiting = children.get(0).map(node => [node, lists[0], 1]).reverse();
  const starts = new Set([0]);
  while (waiting.length) {
    const [start, list, level] = waiting.pop();
    const run = [];
    let node = start;
    for (;;) {
      run.push(treeToken(node));
      const after = children.get(node.id);
      if (after.length !== 1 || after[0].name || after[0].pinned) break;
      node = after[0];
    }
    const line = treeLine(start, [language, asFraction, start.pinned, start.name, node.sum], node.sum);
    starts.add(start.id);
    arrange(line.run, run);
    list[1].push(line.item);
    const after = children.get(node.id), inner = [line.inner, []];
    arrange(line.item, after.length ? [line.tools, line.run, line.inner] : [line.tools, line.run]);
    line.inner.classList.toggle('deep', level >= DEEP);
    if (after.length) lists.push(inner);
    for (const next of [...after].reverse()) waiting.push([next, inner, level + 1]);
  }
  for (const [list, items] of lists) arrange(list, items);
  for (const id of treeLines.keys()) if (!starts.has(id)) treeLines.delete(id);
  for (const id of treeNodes.keys()) if (!children.has(id)) treeNodes.delete(id);
  held?.()?.focus({ preventScroll: true });
}
// What is focused now, to be found again after its element was moved or made anew.
function treeFocus() {
  const focused = document.activeElement;
  if (!el['tree-box'].contains(focused)) return null;
  if (focused.nteNode !== undefined) return () => treeNodes.get(focused.nteNode);
  const start = focused.closest('li').nteStart.id, { act } = focused.dataset;
  return act ? () => treeLines.get(start)?.item.querySelector(`[data-act=${act}]`) : null;
}
function treeLine(start, looks, sum) {
  let line = treeLines.get(start.id);
  if (!line) {
    line = { item: make('li', 'tree-line'), tools: make('span', 'tree-tools'), run: make('span', 'tree-run'), inner: make('ul', 'tree-lines'), looks: '' };
    line.item.append(line.tools, line.run);
    treeLines.set(start.id, line);
  }
  line.item.nteStart = start;
  const key = looks.join('\n');
  if (line.looks !== key) line.tools.replaceChildren(...treeTools(start, sum));
  line.looks = key;
  return line;
}
function treeToken(node) {
  let button = treeNodes.get(node.id);
  const key = [language, asFraction, node.text, node.how, node.probability, node.sum].join('\n');
  if (button?.nteKey !== key) {
    button = makeToken('button', 'tree-token', node.text);
    button.type = 'button';
    button.tabIndex = -1;
    button.nteNode = node.id;
    button.nteKey = key;
    button.dataset.bucket = node.id ? bucket(node.probability) : 'unknown';
    const says = node.id ? t('tree_token', { how: t('way_' + node.how), p: probability(node.probability), sum: node.sum === null ? unknown : decimals(node.sum, 2) }) : '';
    button.title = says;
    button.setAttribute('aria-label', isolated(node.text) + (says ? ': ' + says : ''));
    treeNodes.set(node.id, button);
  }
  return button;
}
function treeTools(start, sum) {
  const tool = (act, sign, says) => {
    const button = make('button', 'tree-tool', sign);
    button.type = 'button';
    button.tabIndex = -1; // reached with the arrow keys: hundreds of branches are one tab stop
    button.title = says;
    button.setAttribute('aria-label', says);
    button.dataset.act = act;
    return button;
  };
  const pin = tool('pin', start.pinned ? '★' : '☆', start.pinned ? t('unpin') : t('pin'));
  pin.setAttribute('aria-pressed', String(start.pinned));
  const found = [pin, tool('name', '✎', t('name_branch')), tool('delete', '×', t('delete_branch'))];
  if (start.name) found.push(makeToken('strong', 'tree-name', visible(start.name)));
  found.push(make('span', 'tree-sum', sum === null ? unknown : 'Σ ' + decimals(sum, 1)));
  return found;
}
function nameBranch(start, box) {
  const input = make('input');
  input.type = 'text';
  input.value = start.name;
  input.maxLength = 100;
  input.setAttribute('aria-label', t('name_branch'));
  let left = false;
  const done = (save, back) => {
    if (left) return;
    left = true;
    input.remove();
    if (back) box.querySelector('[data-act=name]').focus();
    if (save && input.value !== start.name) perform('mark', { node_id: start.id, name: input.value });
  };
  input.addEventListener('keydown', event => {
    if (event.isComposing || !['Enter', 'Escape'].includes(event.key)) return;
    event.preventDefault(); // else the same Enter presses the button that is focused next
    done(event.key === 'Enter', true);
  });
  input.addEventListener('blur', () => done(true, false));
  box.append(input);
  input.focus();
}

// Going from node to node moves the marks, however large the tree is.
function markTree({ cursor, path }) {
  const here = treeNodes.get(cursor), now = new Set(path);
  for (const id of treePath) if (!now.has(id)) treeNodes.get(id)?.classList.remove('on-path');
  for (const id of now) treeNodes.get(id).classList.add('on-path');
  treePath = now;
  const moved = treeHere !== here;
  if (moved) {
    treeHere?.classList.remove('here');
    treeHere?.removeAttribute('aria-current');
  }
  for (const one of treeRoot.querySelectorAll('[tabindex="0"]')) if (one !== here) one.tabIndex = -1;
  here.classList.add('here');
  here.setAttribute('aria-current', 'true');
  here.tabIndex = 0;
  treeHere = here;
  if (moved || treeOpened) bringIntoView(here);
  treeOpened = false;
}
// Scrolls the box, never the page; in a frame to come, as there must be no layout before all is
// drawn. Lines of a large tree get their true heights some frames after they come into sight.
function bringIntoView(token, frames = el['tree-box'].classList.contains('large') ? 6 : 1) {
  requestAnimationFrame(() => {
    if (token !== treeHere) return;
    const box = el['tree-box'], at = token.getBoundingClientRect(), frame = box.getBoundingClientRect();
    if (at.top < frame.top || at.bottom > frame.bottom) box.scrollTop += (at.top + at.bottom - frame.top - frame.bottom) / 2;
    if (at.left < frame.left || at.right > frame.right) box.scrollLeft += (at.left + at.right - frame.left - frame.right) / 2;
    if (frames > 1) bringIntoView(token, frames - 1);
  });
}

el['tree-box'].append(treeRoot);
el['tree-box'].addEventListener('click', event => {
  const token = event.target.closest('.tree-token'), tool = event.target.closest('.tree-tool');
  if (token) perform('go_to', { node_id: token.nteNode });
  if (!tool) return;
  const start = tool.closest('li').nteStart, { act } = tool.dataset;
  if (act === 'pin') perform('mark', { node_id: start.id, pinned: !start.pinned });
  if (act === 'delete') perform('delete', { node_id: start.id });
  if (act === 'name') nameBranch(start, tool.parentElement);
});
roving(el['tree-box'], '.tree-token, .tree-tool');
el['tree-open'].addEventListener('click', async () => {
  treeShown = !treeShown;
  remember('tree', treeShown ? '1' : '0');
  if (!current) return;
  treeOpened = treeShown;
  drawTree(current);
  if (treeShown) { while (busy) await pause(5); perform('open'); }
});
el.compare.addEventListener('click', async () => {
  while (busy) await pause(5);
  const answer = await send('branches').catch(() => ({ error: { code: 'connection' } }));
  if (answer.error) return receive(answer);
  const found = answer.ok.branches;
  el['compare-body'].replaceChildren(...found.branches.map(branch => {
    const row = make('tr'), cell = make('td', 'branch-text'), go = make('button', 'branch-go', (branch.pinned ? '★ ' : '') + (branch.names.map(name => isolated(visible(name))).join(' / ') || t('go_there')));
    go.type = 'button';
    go.addEventListener('click', () => { el['compare-dialog'].close(); perform('go_to', { node_id: branch.id }); });
    cell.append(go, makeToken('span', '', branch.text));
    row.append(cell, make('td', 'num', grouped(branch.tokens)), make('td', 'num', branch.sum === null ? unknown : decimals(branch.sum, 2)), make('td', 'num', branch.repetition === null ? unknown : share(branch.repetition)));
    return row;
  }));
  setText(el['compare-note'], found.others ? t('branches_more', { count: grouped(found.others) }) : '');
  el['compare-dialog'].showModal();
});
el['compare-close'].addEventListener('click', () => el['compare-dialog'].close());
