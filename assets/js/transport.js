// Requests to the server, one after another. The server keeps the session under this tab's key.
function newKey() {
  // Not crypto.randomUUID: browsers hide it on plain http, as in a classroom's own network.
  const hex = [...crypto.getRandomValues(new Uint8Array(16))].map(byte => byte.toString(16).padStart(2, '0')).join('');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
const key = tabKey();

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

// While the server can't be reached, asks again after longer and longer pauses, for half a minute.
// While too many wait for the model, too, but only for what goes on by itself and would be lost
// otherwise. Nothing once it is no longer wanted.
async function sendPatiently(action, more, stillWanted) {
  const waits = { connection: t('connection_waits'), ...(stillWanted && Object.fromEntries(CROWDED.map(code => [code, t('run_waits')]))) };
  stillWanted ??= () => true;
  const unsay = () => { if (Object.values(waits).includes(el['note-text'].textContent)) hideNote(); };
  const begun = performance.now();
  for (let wait = 500; ; wait = Math.min(1.5 * wait, 4000)) {
    const answer = await send(action, more).catch(() => ({ error: { code: 'connection' } }));
    const says = waits[answer.error?.code];
    if (!says || performance.now() > begun + 30000) { unsay(); return answer; }
    showNote(says, { kind: 'info', stays: true });
    // Not all at the same moment again.
    for (const end = performance.now() + wait * (0.5 + Math.random()); performance.now() < end;) {
      if (!stillWanted()) { unsay(); return null; }
      await pause(50);
    }
  }
}

// Runs one request if none is under way; shows what came back. True when it went well. Its number
// stays the same when it is asked again: what the server did, though its answer was lost, is not
// done twice.
async function perform(action, more = {}, stillWanted = null) {
  if (busy) return false;
  more = { request: newKey(), ...more };
  setBusy(true);
  const answer = await sendPatiently(action, more, stillWanted);
  setBusy(false);
  return answer !== null && receive(answer, () => perform(action, more));
}
function receive(answer, again) {
  if (answer.error) {
    if (answer.error.code === 'session_gone') { comeBack(); return false; }
    showNote(sayError(answer.error), { retry: again && ['connection', ...CROWDED].includes(answer.error.code) ? () => { hideNote(); again(); } : null });
    return false;
  }
  seeRows();
  if (el.note.dataset.kind === 'error') hideNote();
  if (answer.ok.view) show(answer.ok.view);
  if (answer.ok.table) showTable(answer.ok.table);
  if (answer.ok.view || answer.ok.table) { awaitModel(answer.ok.early); keepCopySoon(); }
  return answer.ok;
}
let busyTimer = 0;
function setBusy(now) {
  busy = now;
  clearTimeout(busyTimer);
  if (now) busyTimer = setTimeout(() => { el.busy.hidden = false; }, 400); // quick answers need no word
  else { el.busy.hidden = true; setTimeout(flushSettings); } // what was set meanwhile
  el.root.setAttribute('aria-busy', String(now));
}

// Settings change while one is dragging: only the last state is sent, when the line is free.
let waitingSettings = null;
function sendSettings(more) {
  waitingSettings = { ...waitingSettings, ...more };
  return flushSettings();
}
async function flushSettings() {
  while (waitingSettings && !busy) {
    const settings = waitingSettings;
    waitingSettings = null;
    await perform('settings', settings);
  }
}
