// What is embedded: samples, relevance, scores; and the colours of relevance.
const data = JSON.parse(document.getElementById('data').textContent);
const dark = window.matchMedia('(prefers-color-scheme: dark)');
const TYPES = {
  uint8: Uint8Array, int8: Int8Array, int16: Int16Array, float32: Float32Array,
};
const unpacked = new WeakMap();

/** Return a packed array as a typed one. */
function values(packed) {
  if (!unpacked.has(packed)) {
    const bytes = Uint8Array.from(atob(packed.data), (c) => c.charCodeAt(0));
    unpacked.set(packed, new TYPES[packed.type](bytes.buffer));
  }
  return unpacked.get(packed);
}

/** Return the part of a packed array that is of one sample. */
function part(packed, sample) {
  const all = values(packed), size = all.length / data.samples.length;
  return all.subarray(sample * size, (sample + 1) * size);
}

/** Return one map: its relevance at a place, the largest of it, and what its colours end at. */
function mapOf(network, method, sample, scale) {
  const packed = data.networks[network].relevance[method];
  const parts = part(packed, sample), unit = packed.scale[sample];
  const steps = packed.type === 'int8' ? 127 : 32767;
  const largest = unit * steps;
  const shared = Math.max(...packed.scale) * steps;
  const limit = (scale === 'shared' ? shared : largest) || 1;
  return { at: (i) => parts[i] * unit, size: parts.length, largest, limit };
}

/** Return the colour of a value in [-1, 1] as red, green and blue. */
function color(value) {
  const stops = data.colors[dark.matches ? 'dark' : 'light'];
  const place = (Math.max(-1, Math.min(1, value)) + 1) / 2 * (stops.length - 1);
  const low = Math.min(Math.floor(place), stops.length - 2), more = place - low;
  return stops[low].map((c, i) => Math.round(c + more * (stops[low + 1][i] - c)));
}

/** Return black or white, whichever can be read better on a colour. */
function contrasting(rgb) {
  const linear = rgb.map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  return (light + 0.05) / 0.05 > 1.05 / (light + 0.05) ? '#000' : '#fff';
}

/** Return a colour of the page's style. */
function styled(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Return a number as text, with a true minus. */
function said(value, digits = 3) {
  if (value === null || value === undefined) return '–';
  if (value === 0) return '0';
  return Number(value.toPrecision(digits)).toString().replace('-', '−');
}

function percent(value) {
  return `${(100 * value).toFixed(1)}%`.replace('-', '−');
}

/** Make an element. */
function make(tag, options = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (name === 'text') element.textContent = value;
    else if (name === 'class') element.className = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Return the relevance of every step, or of every word. */
function overTime(map, sample) {
  const { steps, width, height, channels } = data.side;
  if (data.kind === 'tokens') return data.used[sample].map((step) => map.at(step));
  const used = data.kind === 'series' ? data.used[sample] : steps;
  const sums = new Array(used).fill(0);
  if (data.kind === 'series') {
    for (let i = 0; i < used * channels; i++) sums[Math.floor(i / channels)] += map.at(i);
  } else {
    const columns = width / steps;
    for (let i = 0; i < height * width; i++) sums[Math.floor((i % width) / columns)] += map.at(i);
  }
  return sums;
}
