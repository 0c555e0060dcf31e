// The tree of choices. Tokens that follow one another without a branch stand in one line.
let treeShown = remembered('tree') === '1';
const treeNodes = new Map(); // token buttons by node id: going somewhere repaints two of them

function drawTree(view) {
  setText(el['tree-open'], (treeShown ? '▾ ' : '▸ ') + t('tree'));
  el['tree-open'].setAttribute('aria-expanded', String(treeShown));
  setText(el['tree-count'], t('tree_count', { count: grouped(view.node_count) }));
  el.compare.disabled = view.node_count === 0;
  el['tree-box'].hidden = !treeShown;
  if (!treeShown || !view.tree) return;
  const { nodes, cursor } = view.tree, onPath = new Set(view.tree.path);
  const children = new Map([[0, []]]);
  for (const node of nodes) { children.set(node.id, []); children.get(node.parent).push(node); }
  for (const id of treeNodes.keys()) if (id !== 0 && !children.has(id)) treeNodes.delete(id);
  const focused = document.activeElement?.nteNode;
  const root = make('ul', 'tree-lines');
  const first = make('li', 'tree-line');
  first.append(treeToken({ id: 0, text: t('tree_prompt'), how: 'prompt', probability: null, sum: null }, cursor, onPath));
  root.append(first);
  // Not recursive: a tree can be a thousand branches deep.
  const waiting = children.get(0).map(node => [node, root]).reverse();
  while (waiting.length) {
    const [start, list] = waiting.pop();
    const line = make('li', 'tree-line'), run = make('span', 'tree-run');
    let node = start;
    for (;;) {
      run.append(treeToken(node, cursor, onPath));
      const after = children.get(node.id);
      if (after.length !== 1 || after[0].name || after[0].pinned) break;
      node = after[0];
    }
    line.append(branchTools(start, node), run);
    list.append(line);
    const after = children.get(node.id);
    if (after.length) {
      const inner = make('ul', 'tree-lines');
      line.append(inner);
      for (const next of [...after].reverse()) waiting.push([next, inner]);
    }
  }
  el['tree-box'].replaceChildren(root);
  const tokens = [...el['tree-box'].querySelectorAll('.tree-token')];
  oneTabStop(tokens, Math.max(0, tokens.findIndex(one => one.nteNode === cursor)));
  if (focused !== undefined) treeNodes.get(focused)?.focus();
}
function treeToken(node, cursor, onPath) {
  let button = treeNodes.get(node.id);
  const key = language + asFraction + node.text + node.sum;
  if (button?.nteKey !== key) {
    button = make('button', 'tree-token', node.text);
    button.type = 'button';
    button.dir = 'auto';
    button.nteNode = node.id;
    button.nteKey = key;
    button.dataset.bucket = node.id ? bucket(node.probability) : 'unknown';
    const says = node.id ? t('tree_token', { how: t('way_' + node.how), p: probability(node.probability), sum: node.sum === null ? unknown : decimals(node.sum, 2) }) : '';
    button.title = says;
    button.setAttribute('aria-label', node.text + (says ? ': ' + says : ''));
    treeNodes.set(node.id, button);
  }
  button.classList.toggle('here', node.id === cursor);
  button.classList.toggle('on-path', onPath.has(node.id));
  if (node.id === cursor) button.setAttribute('aria-current', 'true'); else button.removeAttribute('aria-current');
  return button;
}
function branchTools(start, end) {
  const box = make('span', 'tree-tools');
  const tool = (sign, says, act) => {
    const button = make('button', 'tree-tool', sign);
    button.type = 'button';
    button.title = says;
    button.setAttribute('aria-label', says);
    button.addEventListener('click', act);
    box.append(button);
    return button;
  };
  tool(start.pinned ? '★' : '☆', start.pinned ? t('unpin') : t('pin'), () => perform('mark', { node_id: start.id, pinned: !start.pinned })).setAttribute('aria-pressed', String(start.pinned));
  tool('✎', t('name_branch'), () => {
    const input = make('input');
    input.type = 'text';
    input.value = start.name;
    input.maxLength = 100;
    input.setAttribute('aria-label', t('name_branch'));
    let left = false;
    const done = save => { if (left) return; left = true; if (save && input.value !== start.name) perform('mark', { node_id: start.id, name: input.value }); else drawTree(current); };
    input.addEventListener('keydown', event => { if (event.key === 'Enter' && !event.isComposing) done(true); if (event.key === 'Escape') done(false); });
    input.addEventListener('blur', () => done(true));
    box.append(input);
    input.focus();
  });
  tool('×', t('delete_branch'), () => perform('delete', { node_id: start.id }));
  if (start.name) box.append(make('strong', 'tree-name', start.name));
  box.append(make('span', 'tree-sum', end.sum === null ? unknown : 'Σ ' + decimals(end.sum, 1)));
  return box;
}
el['tree-box'].addEventListener('click', event => {
  const token = event.target.closest('.tree-token');
  if (token) perform('go_to', { node_id: token.nteNode });
});
roving(el['tree-box'], '.tree-token');
el['tree-open'].addEventListener('click', () => {
  treeShown = !treeShown;
  remember('tree', treeShown ? '1' : '0');
  if (current) { drawTree(current); if (treeShown) perform('open'); }
});
el.compare.addEventListener('click', async () => {
  while (busy) await pause(5);
  const answer = await send('branches').catch(() => ({ error: { code: 'connection' } }));
  if (answer.error) return receive(answer);
  const found = answer.ok.branches;
  el['compare-body'].replaceChildren(...found.branches.map(branch => {
    const row = make('tr'), cell = make('td', 'branch-text'), go = make('button', 'branch-go', (branch.pinned ? '★ ' : '') + (branch.names.join(' / ') || t('go_there')));
    go.type = 'button';
    go.addEventListener('click', () => { el['compare-dialog'].close(); perform('go_to', { node_id: branch.id }); });
    const text = make('span', '', branch.text);
    text.dir = 'auto';
    cell.append(go, text);
    row.append(cell, make('td', 'num', grouped(branch.tokens)), make('td', 'num', branch.sum === null ? unknown : decimals(branch.sum, 2)), make('td', 'num', branch.repetition === null ? unknown : share(branch.repetition)));
    return row;
  }));
  setText(el['compare-note'], found.others ? t('branches_more', { count: grouped(found.others) }) : '');
  el['compare-dialog'].showModal();
});
el['compare-close'].addEventListener('click', () => el['compare-dialog'].close());
