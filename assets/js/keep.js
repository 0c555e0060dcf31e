// This tab's own copy of its session. A server that was restarted, or that let the session go after
// hours in which nobody came, gets it back from here.
const COPY = 'nte-copy', OPEN = 'nte-open';
const COPY_AFTER = 400, COPY_AT_LATEST = 2000; // ms after a change; a run changes on and on
const kept = name => { try { return sessionStorage.getItem(name); } catch { return null; } };
const keep = (name, value) => { try { sessionStorage.setItem(name, value); } catch { /* no storage, or a full one: kept as long as the page */ } };

// A tab that was duplicated has all that the other one keeps. So a key that an open page uses is not
// taken: this tab gets one of its own, and its own copy of the session.
let duplicated = false;
function tabKey() {
  duplicated = !window.nteKey && kept(OPEN) !== null;
  const found = window.nteKey ?? (duplicated ? null : kept('nte-key'));
  window.nteKey = /^[0-9a-f-]{36}$/.test(found ?? '') ? found : newKey();
  keep('nte-key', window.nteKey);
  keep(OPEN, '1');
  addEventListener('pagehide', () => { try { sessionStorage.removeItem(OPEN); } catch { /* no storage */ } });
  addEventListener('pageshow', () => keep(OPEN, '1'));
  return window.nteKey;
}

let copyTimer = 0, copyDue = null;
function keepCopySoon() {
  const now = performance.now();
  copyDue ??= now + COPY_AT_LATEST;
  clearTimeout(copyTimer);
  copyTimer = setTimeout(keepCopy, Math.min(COPY_AFTER, Math.max(0, copyDue - now)));
}
async function keepCopy() {
  copyDue = null;
  const answer = await ask({ action: 'link', key, top_n: topN }).catch(() => null); // the last copy stays
  if (answer?.ok?.link) keep(COPY, answer.ok.link);
}

// The session as it was, after the server has let it go; a fresh one if this tab has no copy.
async function comeBack() {
  const link = kept(COPY);
  if (link === null) { showNote(t('error_session_gone'), { kind: 'info' }); return begin(); }
  const says = t(duplicated ? 'duplicated' : 'restored');
  duplicated = false;
  return loadState({ link, own: true }, says);
}
