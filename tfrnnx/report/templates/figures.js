// What stands in the gallery: one sample in large, with a cursor, and many small ones.

/** Return the places of a sample: columns, rows, and the number of a place. */
function gridOf(sample) {
  if (data.kind === 'tokens') return { columns: data.words[sample].length, rows: 1 };
  if (data.kind === 'series') return { columns: data.used[sample], rows: data.side.channels };
  return { columns: data.side.width, rows: data.side.height };
}

/** Return what stands at a place, in words. */
function placeSaid(sample, map, [column, row]) {
  if (data.kind === 'tokens') {
    const step = data.used[sample][column];
    return `step ${step}, “${data.words[sample][column]}”: relevance ${said(map.at(step))}`;
  }
  if (data.kind === 'series') {
    const place = column * data.side.channels + row, of = data.block;
    const step = of > 1 ? `steps ${column * of} to ${(column + 1) * of - 1}` : `step ${column}`;
    const value = said(part(data.x, sample)[place]);
    return `${step}, ${data.channels[row]}: relevance ${said(map.at(place))}, value ${value}`;
  }
  const { width, steps, low, high, colors } = data.side, place = row * width + column;
  const item = data.items > 1 ? `item ${Math.floor(column * data.items / width) + 1}, ` : '';
  const step = steps ? `step ${Math.floor(column * steps / width)}, ` : '';
  const pixels = part(data.x, sample).subarray(place * colors, (place + 1) * colors);
  const value = [...pixels].map((pixel) => said(low + pixel / 255 * (high - low), 2)).join(', ');
  const where = data.block > 1 ? `${data.block} x ${data.block} pixels at ` : '';
  return `${item}${step}${where}row ${row * data.block}, column ${column * data.block}: relevance ${said(map.at(place))}, value ${value}`;
}

/** Return words that are coloured by their relevance. */
function wordsOf(sample, map, at = null) {
  const truth = data.truth ? part(data.truth, sample) : null;
  const line = make('p', { class: 'words', dir: 'auto' });
  data.words[sample].forEach((word, number) => {
    const step = data.used[sample][number], rgb = color(map.at(step) / map.limit);
    const span = make('span', { text: word });
    span.style.background = `rgb(${rgb})`;
    span.style.color = contrasting(rgb);
    if (truth && truth[step]) span.classList.add('true');
    if (at && at[0] === number) span.classList.add('at');
    line.append(span, ' ');
  });
  return line;
}

/** Return a picture's description for those who cannot see it. */
function described(sample, map, name) {
  const { columns, rows } = gridOf(sample);
  let best = [0, 0], most = -Infinity;
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const value = map.at(placeOf(sample, column, row));
      if (value > most) [best, most] = [[column, row], value];
    }
  }
  return `${name}. Most relevant: ${placeSaid(sample, map, best)}`;
}

function placeOf(sample, column, row) {
  if (data.kind === 'tokens') return data.used[sample][column];
  return data.kind === 'series' ? column * data.side.channels + row : row * data.side.width + column;
}

/** Draw a small picture of a sample into a button; canvases when they have a width. */
function mini(title, more, sample, map, pressed, choose) {
  const button = make('button', { type: 'button', class: 'mini' },
    make('span', { class: 'title', text: title }), make('span', { class: 'more', text: more }));
  if (pressed !== null) button.setAttribute('aria-pressed', String(pressed));
  button.addEventListener('click', choose);
  if (data.kind === 'tokens') {
    const words = wordsOf(sample, map);
    words.querySelectorAll('span').forEach((span) => span.removeAttribute('title'));
    const line = make('span', { class: 'words', dir: 'auto' });
    line.append(...words.childNodes);
    button.append(line);
  } else {
    const canvas = make('canvas', { role: 'img', 'aria-label': described(sample, map, 'Relevance') });
    button.append(canvas);
    canvas.drawn = () => {
      const width = canvas.clientWidth;
      if (data.kind === 'series') drawSeries(canvas, width, sample, map, { small: true });
      else drawPicture(canvas, width, sample, map, 'alone');
    };
  }
  return button;
}

/** Put small pictures into their place, and draw them. */
function fill(id, minis) {
  const place = document.getElementById(id);
  if (!place) return;
  const had = [...place.children].indexOf(document.activeElement);
  place.replaceChildren(...minis);
  place.querySelectorAll('canvas').forEach((canvas) => canvas.drawn());
  if (had >= 0 && place.children[had]) place.children[had].focus();
}

/** The sample in large, and the place in it that is read. */
const large = {
  at: null,
  sample: 0,
  map: null,
  show(sample, map, view, about) {
    if (sample !== this.sample) this.at = null;
    Object.assign(this, { sample, map, view, about });
    const place = document.getElementById('figure');
    if (!place.firstChild) this.build(place);
    this.target.setAttribute('aria-label', described(sample, map, about));
    this.draw();
    this.read();
  },
  build(place) {
    if (data.kind === 'tokens') {
      this.target = make('div', { tabindex: '0', role: 'group', 'aria-describedby': 'readout' });
      place.append(this.target);
    } else {
      if (data.kind === 'images' && data.side.width < 1.5 * data.side.height) place.classList.add('square');
      if (data.kind === 'images') place.append(this.input = make('canvas', { role: 'img', 'aria-label': 'The input' }));
      place.append(this.target = make('canvas', { tabindex: '0', role: 'img', 'aria-describedby': 'readout' }));
    }
    for (const each of [this.target, this.input].filter(Boolean)) {
      each.addEventListener('pointermove', (event) => this.point(event));
      each.addEventListener('pointerdown', (event) => this.point(event));
    }
    this.target.addEventListener('keydown', (event) => this.press(event));
  },
  draw() {
    if (data.kind === 'tokens') {
      this.target.replaceChildren(wordsOf(this.sample, this.map, this.at));
      return;
    }
    const width = this.target.clientWidth;
    if (data.kind === 'series') drawSeries(this.target, width, this.sample, this.map, { at: this.at });
    else {
      drawPicture(this.input, width, this.sample, this.map, 'input', this.at);
      drawPicture(this.target, width, this.sample, this.map, this.view, this.at);
    }
  },
  read() {
    const text = this.at ? placeSaid(this.sample, this.map, this.at) : '\u00a0';
    document.getElementById('readout').textContent = text;
  },
  move(column, row) {
    const { columns, rows } = gridOf(this.sample);
    const clip = (value, count) => Math.max(0, Math.min(count - 1, value));
    this.at = [clip(column, columns), clip(row, rows)];
    this.draw();
    this.read();
  },
  point(event) {
    if (data.kind === 'tokens') {
      const words = [...this.target.querySelectorAll('span')];
      const number = words.indexOf(event.target);
      if (number >= 0 && !(this.at && this.at[0] === number)) this.move(number, 0);
      return;
    }
    const box = event.currentTarget.getBoundingClientRect();
    const left = data.kind === 'series' ? marginOf(box.width) : 0;
    const { columns, rows } = gridOf(this.sample);
    const column = Math.floor((event.clientX - box.left - left) / (box.width - left) * columns);
    this.move(column, Math.floor((event.clientY - box.top) / box.height * rows));
  },
  press(event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const ends = { Home: 0, End: gridOf(this.sample).columns - 1 };
    const [column, row] = this.at || [0, 0];
    if (moves[event.key]) {
      const [across, down] = moves[event.key];
      this.move(...(this.at ? [column + across, row + down] : [0, 0]));
    } else if (event.key in ends) this.move(ends[event.key], row);
    else return;
    event.preventDefault();
  },
};
