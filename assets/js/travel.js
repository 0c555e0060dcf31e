// A session that travels: as a file, or as a link whose fragment no server ever sees.
const FRAGMENT = '#s=';

async function loadState(what) {
  const mine = ++asking;
  for (;;) {
    while (busy) await pause(20);
    const ok = await perform('load', what);
    if (!ok || !ok.status) {
      hideLoading();
      if (ok) {
        rules = rulesOfChain(current.chain);
        drawRules();
        rememberRules();
        showStages(current);
        const differs = ok.differs.map(name => t('differs_' + name)).join(t('list_comma'));
        showNote(differs ? t('loaded_differs', { differs }) : t('loaded'), { kind: 'info', stays: Boolean(differs) });
      }
      return Boolean(ok);
    }
    if (await waitFor(ok.status, mine) !== 'ready') return false;
  }
}
el['load-file'].addEventListener('click', () => el.file.click());
el.file.addEventListener('change', async () => {
  const file = el.file.files[0];
  el.file.value = '';
  if (!file || running) return;
  const text = await file.text(), tooLong = overLimit('file_characters', text);
  if (tooLong) return showNote(tooLong);
  loadState({ file: text });
});

function shareLink(link) {
  const url = location.origin + location.pathname + location.search + FRAGMENT + link;
  if (link.length > setup.max_link) return showNote(t('link_too_long', { count: grouped(link.length), limit: grouped(setup.max_link) }));
  copyText(url);
}
// The fragment is read once: what one does from there on is not undone by a reload.
function takeFragment() {
  if (!location.hash.startsWith(FRAGMENT)) return null;
  const link = location.hash.slice(FRAGMENT.length);
  history.replaceState(null, '', location.pathname + location.search);
  return link;
}
addEventListener('hashchange', () => {
  if (!element.isConnected) return;
  const link = takeFragment();
  if (link !== null && !running) loadState({ link });
});
