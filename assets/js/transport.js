// Requests to the server, one after another. The server keeps the session under this tab's key.
function newKey() {
  // Not crypto.randomUUID: browsers hide it on plain http, as in a classroom's own network.
  const hex = [...crypto.getRandomValues(new Uint8Array(16))].map(byte => byte.toString(16).padStart(2, '0')).join('');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
let key = null;
try { key = sessionStorage.getItem('nte-key'); } catch { /* no storage: the key lives as long as the page */ }
if (!/^[0-9a-f-]{36}$/.test(key ?? '')) key = newKey();
try { sessionStorage.setItem('nte-key', key); } catch { /* as above */ }

// An idle model has left again before this page came for it: whoever waits asks anew.
const ARRIVED = ['ready', 'failed', 'idle'];
const CROWDED = ['too_busy', 'too_many_yours'];
let busy = false;
let wholeStrip = false;
let topN = 50;

async function send(action, more = {}) {
  const answer = await ask({ action, key, top_n: topN, whole_strip: wholeStrip, with_ledger: ledgerShown, with_tree: treeShown, tree_known: treeKept.digest, with_score: scoreShown, ...more });
  // A model that nobody used for a while may have left memory for others; then it comes back first.
  if (!answer.ok?.away) return answer;
  let status = answer.ok.away;
  while (!ARRIVED.includes(status.phase)) {
    showLoading(status);
    await pause(400);
    status = (await ask({ action: 'status', model: status.model })).ok?.status ?? status;
  }
  hideLoading();
  return status.phase === 'failed' ? { error: status.error } : send(action, more);
}
async function ask(request) {
  const answer = await server.act(request);
  return answer ? JSON.parse(answer) : { error: { code: 'connection' } };
}

// While too many wait for the model, asks again, each time after a longer pause: half a minute in all.
// For what goes on by itself and would be lost otherwise; nothing once it is no longer wanted.
async function sendPatiently(action, more, stillWanted) {
  const unsay = () => { if (el['note-text'].textContent === t('run_waits')) hideNote(); };
  for (let wait = 500; ; wait = 1.5 * wait) {
    const answer = await send(action, more);
    if (!CROWDED.includes(answer.error?.code) || wait > 12000) { unsay(); return answer; }
    showNote(t('run_waits'), { kind: 'info', stays: true });
    // Not all at the same moment again.
    for (const end = performance.now() + wait * (0.5 + Math.random()); performance.now() < end;) {
      if (!stillWanted()) { unsay(); return null; }
      await pause(50);
    }
  }
}

// Runs one request if none is under way; shows what came back. True when it went well.
async function perform(action, more = {}, stillWanted = null) {
  if (busy) return false;
  setBusy(true);
  let answer;
  try {
    answer = await (stillWanted ? sendPatiently(action, more, stillWanted) : send(action, more));
  } catch {
    answer = { error: { code: 'connection' } };
  }
  setBusy(false);
  return answer !== null && receive(answer, () => perform(action, more));
}
function receive(answer, again) {
  if (answer.error) {
    if (answer.error.code === 'session_gone') { showNote(sayError(answer.error), { kind: 'info' }); begin(); return false; }
    showNote(sayError(answer.error), { retry: again && ['connection', ...CROWDED].includes(answer.error.code) ? () => { hideNote(); again(); } : null });
    return false;
  }
  if (el.note.dataset.kind === 'error') hideNote();
  if (answer.ok.view) show(answer.ok.view);
  if (answer.ok.table) showTable(answer.ok.table);
  return answer.ok;
}
let busyTimer = 0;
function setBusy(now) {
  busy = now;
  clearTimeout(busyTimer);
  if (now) busyTimer = setTimeout(() => { el.busy.hidden = false; }, 400); // quick answers need no word
  else el.busy.hidden = true;
  el.root.setAttribute('aria-busy', String(now));
}

// Settings change while one is dragging: only the last state is sent, when the line is free.
let waitingSettings = null;
async function sendSettings(more) {
  waitingSettings = { ...waitingSettings, ...more };
  if (busy) return;
  while (waitingSettings) {
    const settings = waitingSettings;
    waitingSettings = null;
    await perform('settings', settings);
  }
}
