// Canvases: pictures, curves, bars. Each is drawn as wide as it is on the page.

/** Return a canvas's context, its size set to what the page gives it, in CSS pixels. */
function sized(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  canvas.style.height = `${height}px`;
  const context = canvas.getContext('2d');
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

/** Draw pixels, as colours by their number, to fill a canvas. */
function drawPixels(context, width, height, columns, rows, colorAt) {
  const small = document.createElement('canvas');
  small.width = columns;
  small.height = rows;
  const pixels = new ImageData(columns, rows);
  for (let i = 0; i < columns * rows; i++) pixels.data.set([...colorAt(i), 255], 4 * i);
  small.getContext('2d').putImageData(pixels, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, width, height);
}

/** Return the red, green and blue of one pixel of the input. */
function pixelOf(x, i) {
  if (data.side.colors === 1) return [x[i], x[i], x[i]];
  return [x[3 * i], x[3 * i + 1], x[3 * i + 2]];
}

/** Draw a picture: "input", relevance "alone", or "over" the input. */
function drawPicture(canvas, width, sample, map, view, at = null) {
  const { width: columns, height: rows } = data.side;
  const height = Math.max(24, width * rows / columns);
  const context = sized(canvas, width, height);
  const x = part(data.x, sample), cache = new Map();
  const colorOf = (value) => {
    const key = Math.round(value * 128);
    if (!cache.has(key)) cache.set(key, color(key / 128));
    return cache.get(key);
  };
  drawPixels(context, width, height, columns, rows, (i) => {
    if (view === 'input') return pixelOf(x, i);
    const value = map.at(i) / map.limit, hue = colorOf(value);
    if (view === 'alone') return hue;
    const strength = Math.min(1, Math.abs(value)) ** 0.7, full = colorOf(value < 0 ? -0.85 : 0.85);
    return pixelOf(x, i).map((c, k) => Math.round(0.75 * c * (1 - strength) + full[k] * strength));
  });
  const wide = width / columns;
  context.lineWidth = 1;
  context.strokeStyle = styled('--muted');
  for (let item = 1; item < data.items; item++) {
    const place = Math.round(item * width / data.items) + 0.5;
    context.beginPath();
    context.moveTo(place, 0);
    context.lineTo(place, height);
    context.stroke();
  }
  context.fillStyle = styled('--mark');
  (data.majority ? data.majority[sample] : []).forEach((is, item, all) => {
    if (is) context.fillRect(item * width / all.length + 3, height - 4, width / all.length - 6, 4);
  });
  if (data.truth) outlineTruth(context, part(data.truth, sample), columns, wide, height / rows);
  if (at) {
    context.strokeStyle = styled('--accent');
    context.lineWidth = 2;
    context.strokeRect(at[0] * wide - 1, at[1] * height / rows - 1, wide + 2, height / rows + 2);
  }
}

/** Draw the edges of the cells that matter. */
function outlineTruth(context, truth, columns, wide, high) {
  context.strokeStyle = styled('--mark');
  context.lineWidth = 1.5;
  context.beginPath();
  truth.forEach((is, i) => {
    const c = i % columns, r = Math.floor(i / columns);
    if (is !== (c + 1 < columns ? truth[i + 1] : 0)) {
      context.moveTo((c + 1) * wide, r * high);
      context.lineTo((c + 1) * wide, (r + 1) * high);
    }
    if (is !== (truth[i + columns] ?? 0)) {
      context.moveTo(c * wide, (r + 1) * high);
      context.lineTo((c + 1) * wide, (r + 1) * high);
    }
  });
  context.stroke();
}

/** Draw curves over their relevance, a strip a channel. */
function drawSeries(canvas, width, sample, map, { small = false, at = null } = {}) {
  const { channels } = data.side, used = data.used[sample];
  const strip = small ? Math.max(5, 66 / channels) : Math.max(22, Math.min(90, 420 / channels));
  const left = small ? 0 : marginOf(width);
  const context = sized(canvas, width, strip * channels);
  const x = part(data.x, sample), truth = data.truth ? part(data.truth, sample) : null;
  const wide = (width - left) / used;
  for (let c = 0; c < channels; c++) {
    const top = c * strip, place = (step) => step * channels + c;
    let low = Infinity, high = -Infinity;
    for (let s = 0; s < used; s++) {
      low = Math.min(low, x[place(s)]);
      high = Math.max(high, x[place(s)]);
      context.fillStyle = `rgb(${color(map.at(place(s)) / map.limit)})`;
      context.fillRect(left + s * wide, top + 1, wide + 0.6, strip - 2);
      if (truth && truth[place(s)]) {
        context.fillStyle = styled('--mark');
        context.fillRect(left + s * wide, top + strip - 4, wide + 0.6, 3);
      }
    }
    context.strokeStyle = styled('--text');
    context.lineWidth = small ? Math.min(0.8, 6 / channels) : used > 800 ? 0.6 : 1.3;
    context.beginPath();
    for (let s = 0; s < used; s++) {
      const y = top + strip - 6 - (x[place(s)] - low) / (high - low || 1) * (strip - 10);
      context.lineTo(left + (s + 0.5) * wide, y);
    }
    context.stroke();
    if (!small) writeName(context, data.channels[c], left, top + strip / 2);
  }
  if (at) {
    context.strokeStyle = styled('--accent');
    context.lineWidth = 2;
    context.strokeRect(left + at[0] * wide - 1, at[1] * strip + 1, wide + 2, strip - 2);
  }
}

/** Return the room for names at the left. */
function marginOf(width) {
  return Math.min(110, Math.round(width * 0.2));
}

function writeName(context, name, width, y) {
  context.fillStyle = styled('--text');
  context.font = '12px system-ui, sans-serif';
  context.textBaseline = 'middle';
  let short = name;
  while (short && context.measureText(short).width > width - 8) short = short.slice(0, -1);
  context.fillText(short === name ? name : `${short.slice(0, -1)}…`, 0, y);
}

/** Draw bars of relevance over time, under what stands above. */
function drawTime(canvas, width, sample, map) {
  const sums = overTime(map, sample), height = 110;
  const left = data.kind === 'series' ? marginOf(width) : 0;
  const context = sized(canvas, width, height);
  const high = Math.max(0, ...sums), low = Math.min(0, ...sums);
  const zero = 4 + high / (high - low || 1) * (height - 24), wide = (width - left) / sums.length;
  sums.forEach((sum, step) => {
    const length = sum / (high - low || 1) * (height - 24), gap = wide > 3 ? 1 : 0;
    context.fillStyle = styled(sum < 0 ? '--against' : '--for');
    const top = Math.min(zero, zero - length);
    context.fillRect(left + step * wide, top, Math.max(0.5, wide - gap), Math.abs(length));
  });
  context.fillStyle = styled('--muted');
  context.fillRect(left, zero, width - left, 1);
  context.font = '12px system-ui, sans-serif';
  context.textBaseline = 'bottom';
  const unit = data.kind === 'tokens' ? 'word' : 'step';
  context.fillText(`${unit} 0`, left, height);
  const last = `${unit} ${(sums.length - 1) * data.block}`;
  context.fillText(last, width - context.measureText(last).width, height);
  if (left) writeName(context, 'sum', left, zero);
  return sums;
}
