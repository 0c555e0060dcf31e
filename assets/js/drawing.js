// Drawings: their shapes, and any of them as a file.
const SVG = 'http://www.w3.org/2000/svg';
// Into a sheet that is drawn again, a shape takes the next one's place, and only what differs changes.
function shape(parent, tag, attributes, text) {
  const next = parent.nteNext ?? null, again = next?.localName === tag;
  const node = again ? next : document.createElementNS(SVG, tag), had = node.nteAttributes ?? {};
  if (again) { parent.nteNext = next.nextElementSibling; node.nteNext = node.firstElementChild; } else parent.insertBefore(node, next);
  for (const [name, value] of Object.entries(attributes)) if (had[name] !== value) node.setAttribute(name, value);
  for (const name of Object.keys(had)) if (!Object.hasOwn(attributes, name)) node.removeAttribute(name);
  node.nteAttributes = attributes;
  if (text !== undefined) setText(node, text);
  return node;
}
function shortened(text, most) {
  const characters = [...text]; // not UTF-16 units, of which a half is no character
  return characters.length > most ? characters.slice(0, most - 1).join('') + '…' : text;
}
function sheet(width, height, says, drawn = null) {
  const svg = drawn ?? document.createElementNS(SVG, 'svg');
  svg.nteNext = svg.firstElementChild;
  svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-label', says);
  return svg;
}
// What was there before and has no place in the new drawing.
function dropRest(svg) {
  for (const parent of [svg, ...svg.querySelectorAll('g')]) {
    while (parent.nteNext) {
      const left = parent.nteNext;
      parent.nteNext = left.nextElementSibling;
      left.remove();
    }
  }
}

// The looks that the page's style sheet gives a drawing go with it; a file has no style sheet.
const LOOKS = ['fill', 'stroke', 'stroke-width', 'stroke-dasharray', 'stroke-linejoin', 'opacity', 'font-family', 'font-size', 'font-weight', 'paint-order'];
function asFile(shown) {
  const copy = shown.cloneNode(true), from = [...shown.querySelectorAll('*')];
  [...copy.querySelectorAll('*')].forEach((node, i) => {
    const looks = getComputedStyle(from[i]);
    for (const name of LOOKS) node.style.setProperty(name, looks.getPropertyValue(name));
  });
  const { width, height } = shown.getBoundingClientRect(), box = shown.viewBox.baseVal;
  copy.setAttribute('xmlns', SVG);
  copy.setAttribute('width', width);
  copy.setAttribute('height', height);
  copy.setAttribute('lang', language); // Han characters have other shapes in other languages
  // A shape, not a CSS background: not every program that reads SVG draws one.
  const paper = document.createElementNS(SVG, 'rect');
  for (const [name, value] of Object.entries({ x: box.x, y: box.y, width: box.width, height: box.height })) paper.setAttribute(name, value);
  const colour = getComputedStyle(shown.closest('.card')).backgroundColor;
  paper.style.fill = colour;
  copy.prepend(paper);
  return { width, height, colour, text: new XMLSerializer().serializeToString(copy) };
}
const SHARPNESS = 2; // pixels of a PNG for each of the page's
async function saveDrawing(name, kind, shown) {
  const { width, height, colour, text } = asFile(shown);
  if (kind === 'svg') return download(name + '.svg', 'image/svg+xml', text);
  const image = new Image(), canvas = make('canvas');
  image.src = URL.createObjectURL(new Blob([text], { type: 'image/svg+xml' }));
  try {
    await image.decode();
    canvas.width = Math.round(width * SHARPNESS);
    canvas.height = Math.round(height * SHARPNESS);
    const brush = canvas.getContext('2d');
    brush.fillStyle = colour; // at the edges, too, where the drawing's own paper ends within a pixel
    brush.fillRect(0, 0, canvas.width, canvas.height);
    brush.drawImage(image, 0, 0, canvas.width, canvas.height);
    const png = await new Promise(done => canvas.toBlob(done, 'image/png'));
    if (!png) throw new Error('no picture');
    download(name + '.png', 'image/png', png);
  } catch {
    showNote(t('error_png'));
  } finally {
    URL.revokeObjectURL(image.src);
  }
}
// A group of buttons names the place whose drawing it saves, and the file.
for (const button of element.querySelectorAll('[data-save]')) button.addEventListener('click', () => {
  const { drawing, file } = button.closest('[data-drawing]').dataset;
  const shown = el[drawing].querySelector('svg');
  if (shown) saveDrawing(file, button.dataset.save, shown);
});
