// Texts and numbers in the reader's language.
const setup = JSON.parse(props.value);
const limits = setup.limits; // how much this server lets anybody ask for
const remembered = name => { try { return localStorage.getItem('nte-' + name); } catch { return null; } };
const remember = (name, value) => { try { localStorage.setItem('nte-' + name, value); } catch { /* private mode: not remembered */ } };
let language = remembered('language') || (navigator.languages?.[0] ?? navigator.language ?? 'en').slice(0, 2).toLowerCase();
if (!setup.texts[language]) language = 'en';
let asFraction = remembered('fraction') === '1';

const has = key => key in setup.texts[language];
const t = (key, facts = {}) => (setup.texts[language][key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => name in facts ? facts[name] : whole);
// A formatter takes far longer to make than to use, and a table uses hundreds of numbers.
const formatters = new Map();
function formatter(name, options) {
  const key = language + name;
  if (!formatters.has(key)) formatters.set(key, new Intl.NumberFormat(language, options));
  return formatters.get(key);
}
const grouped = n => formatter('grouped').format(n);
const decimals = (x, digits) => formatter('decimals' + digits, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(x);
const significant = x => formatter('significant', { minimumSignificantDigits: 2, maximumSignificantDigits: 2 }).format(x);
const megabytes = n => decimals(n / 1e6, 0) + ' MB';
const unknown = '–';

// Never rounded to a false 0 or 100: small numbers go to two significant digits, then to powers of ten.
function probability(p) {
  if (p === null || p === undefined) return unknown;
  if (asFraction) return p === 0 ? '0' : p >= 0.0001 ? decimals(p, 4) : p.toExponential(1);
  if (p === 0) return decimals(0, 0) + ' %';
  const percent = 100 * p;
  if (p < 1 && percent >= 99.995) return '>' + decimals(99.99, 2) + ' %';
  if (percent >= 0.01) return decimals(percent, 2) + ' %';
  if (percent >= 1e-5) return significant(percent) + ' %';
  return percent.toExponential(1) + ' %';
}
// What is known only between bounds: “≤” or “≥” where one of them says nothing.
function between(low, high, form = probability) {
  if (low <= 0 && high >= 1) return unknown;
  if (low <= 0) return '≤ ' + form(high);
  if (high >= 1) return '≥ ' + form(low);
  const least = form(low), most = form(high);
  return least === most ? '≈ ' + most : least.replace(/ %$/, '') + '–' + most;
}
const finalOf = row => row.probability_low === undefined ? probability(row.probability) : between(row.probability_low, row.probability_high);
function share(p) {
  if (p < 1 && p > 0.9995) return '>' + decimals(99.9, 1) + ' %';
  return (100 * p >= 0.1 || p === 0) ? decimals(100 * p, 1) + ' %' : probability(p);
}
function bits(x) {
  if (x === null || x === undefined) return unknown;
  return x !== 0 && x < 0.005 ? x.toExponential(1) : decimals(x, 2);
}
function bitsBetween([low, high]) {
  if (high === null) return '≥ ' + decimals(low, 2);
  const least = decimals(low, 2), most = decimals(high, 2);
  return least === most ? most : least + '–' + most;
}
// More than the server allows, found before anything is sent; nothing if it is not.
function overLimit(name, text) {
  const value = [...text].length;
  return value > limits[name] ? sayError({ code: 'limit_' + name, facts: { value, limit: limits[name] } }) : null;
}
const sayError = error => {
  const key = 'error_' + error.code;
  if (!has(key)) return error.message ?? error.code;
  // What is allowed, where it is a range or a choice; otherwise the server says it in English.
  const kind = error.code === 'parameter' && error.facts.kind;
  const facts = Object.fromEntries(Object.entries(error.facts ?? {}).map(([name, value]) => [name, typeof value === 'number' ? grouped(value) : value]));
  if (kind) facts.allowed = t('allowed_' + kind, facts);
  return t(key, facts);
};
