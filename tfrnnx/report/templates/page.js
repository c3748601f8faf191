// The controls, and what they change.
const id = (name) => document.getElementById(name);
const network = () => Number(id('network')?.value ?? 0);
const state = { sample: 0, method: data.ranked.method };

/** Fill a list; one that has these entries keeps them, and whoever is choosing their place. */
function options(select, entries, chosen) {
  const had = [...select.options].map((option) => option.value + option.text).join('\n');
  if (had !== entries.map(([value, text]) => value + text).join('\n')) {
    select.replaceChildren(...entries.map(([value, text]) => make('option', { value, text })));
  }
  select.value = chosen;
}

function methodsOf(number) {
  return Object.keys(data.networks[number].relevance);
}

/** Return the samples of the chosen group. */
function members() {
  const group = id('group').value;
  return data.samples.map((_, i) => i).filter((i) => !group || data.samples[i].groups.includes(group));
}

function captionOf(sample, number) {
  const one = data.networks[number], { label } = data.samples[sample];
  const wrong = one.right && !one.right[sample] ? ', wrong' : '';
  return `${label ? `label ${label}, ` : ''}predicted ${one.predicted[sample]}${wrong}`;
}

/** Return the scores of an explanation, in words. */
function scoresSaid(number, method, sample) {
  const scores = data.networks[number].scores[method];
  return Object.entries(scores).filter(([, all]) => all[sample] !== null)
    .map(([name, all]) => `${name} ${name === 'arrived' ? percent(all[sample]) : said(all[sample])}`)
    .join(', ');
}

function mapNow(method = state.method, number = network(), sample = state.sample) {
  return mapOf(number, method, sample, id('scale').value);
}

/** Draw bars of what items, or the cells that matter, have of the relevance. */
function drawBars(map) {
  const place = id('bars');
  if (!place) return;
  let parts, total;
  if (data.majority) {
    const { width, height } = data.side;
    parts = data.majority[state.sample].map((is, item) => ({
      name: `item ${item + 1}${is ? ' (of the mask)' : ''}`, is, sum: 0,
    }));
    for (let i = 0; i < width * height; i++) {
      parts[Math.floor((i % width) * parts.length / width)].sum += map.at(i);
    }
    total = parts.reduce((sum, each) => sum + Math.abs(each.sum), 0);
  } else {
    const truth = part(data.truth, state.sample);
    parts = [{ name: 'what matters', is: 1, sum: 0 }, { name: 'the rest', is: 0, sum: 0 }];
    truth.forEach((is, i) => { parts[is ? 0 : 1].sum += Math.abs(map.at(i)); });
    total = parts[0].sum + parts[1].sum;
    if (!truth.some(Boolean)) {
      place.replaceChildren(make('p', { class: 'hint', text: 'Nothing is known to matter in this sample.' }));
      return;
    }
  }
  const list = make('ul', { class: 'share' });
  for (const { name, is, sum } of parts) {
    const fill_ = make('span', { class: 'fill' }), share = total ? sum / total : 0;
    fill_.style.setProperty('--part', Math.abs(share));
    list.append(make('li', { class: `${is ? 'true' : ''}${sum < 0 ? ' minus' : ''}` },
      make('span', { text: name }), make('span', { class: `track${is ? ' true' : ''}${sum < 0 ? ' minus' : ''}` }, fill_),
      make('span', { class: 'number', text: percent(share) })));
  }
  place.replaceChildren(list);
}

function drawLegend(map) {
  const bar = id('bar'), context = sized(bar, bar.clientWidth, bar.clientHeight || 11);
  bar.style.height = '';
  for (let i = 0; i < bar.clientWidth; i++) {
    context.fillStyle = `rgb(${color(2 * i / (bar.clientWidth - 1) - 1)})`;
    context.fillRect(i, 0, 1, 40);
  }
  id('lowest').textContent = `${said(-map.limit)} against`;
  id('highest').textContent = `for ${said(map.limit)}`;
}

function drawOverTime(map) {
  const place = id('time');
  if (!place) return;
  if (!place.firstChild) place.append(make('canvas', { role: 'img' }));
  const canvas = place.firstChild, sums = drawTime(canvas, canvas.clientWidth, state.sample, map);
  const most = sums.indexOf(Math.max(...sums));
  const unit = data.kind === 'tokens' ? 'word' : 'step';
  canvas.setAttribute('aria-label', `Relevance of ${sums.length} ${unit}s by ${state.method}; the most, ${said(sums[most])}, at ${unit} ${most}`);
}

/** Show what is chosen. */
function show() {
  const number = network(), known = methodsOf(number);
  if (!known.includes(state.method)) state.method = known[0];
  options(id('method'), known.map((name) => [name, name]), state.method);
  const shown = members();
  if (!shown.includes(state.sample)) state.sample = shown[0];
  options(id('sample'), shown.map((i) => [i, `${data.samples[i].number}${data.samples[i].label ? `: ${data.samples[i].label}` : ''}`]), state.sample);
  const map = mapNow(), caption = captionOf(state.sample, number);
  id('caption').replaceChildren(
    make('strong', { text: `Sample ${data.samples[state.sample].number}: ${caption}` }), make('br'),
    make('span', { class: 'scores', text: `${state.method}: ${scoresSaid(number, state.method, state.sample) || 'no scores'}` }));
  large.show(state.sample, map, id('view')?.value ?? 'over', `Relevance of sample ${data.samples[state.sample].number} by ${state.method}`);
  drawLegend(map);
  drawOverTime(map);
  drawBars(map);
  fill('methods', known.map((name) => mini(name, scoresSaid(number, name, state.sample), state.sample, mapNow(name),
    name === state.method, () => { state.method = name; show(); })));
  if (id('all')) showAll();
}

/** Show the best and the worst explained samples. */
function showRanked() {
  const { method, metric } = data.ranked, one = data.networks[0];
  const of = (group) => {
    const all = data.best.filter((i) => data.samples[i].groups.includes(group));
    return group.startsWith('worst') ? all.reverse() : all;
  };
  const small = (i) => mini(`Sample ${data.samples[i].number}`,
    `${captionOf(i, 0)}; ${metric === 'arrived' ? percent(one.scores[method][metric][i]) : said(one.scores[method][metric][i])}`,
    i, mapOf(0, method, i, 'map'), null, () => {
      id('group').value = '';
      Object.assign(state, { sample: i, method });
      if (id('network')) id('network').value = 0;
      showNetwork();
      id('samples').scrollIntoView();
    });
  fill('best', of('best explained').map(small));
  fill('worst', of('worst explained').map(small));
}

/** Show the same sample by all networks. */
function showAll() {
  const method = state.method, sample = state.sample;
  id('same').textContent = `Sample ${data.samples[sample].number}, by ${method}; it is chosen above.`;
  const having = data.networks.map((_, n) => n).filter((n) => methodsOf(n).includes(method));
  fill('all', having.map((n) => mini(data.networks[n].name, captionOf(sample, n), sample, mapNow(method, n), n === network(), () => {
    id('network').value = n;
    showNetwork();
  })));
}

/** Show the parts of the page that are of the chosen network. */
function showNetwork() {
  document.querySelectorAll('[data-network]').forEach((each) => {
    each.hidden = Number(each.dataset.network) !== network();
  });
  show();
}

function svg(tag, attributes, text = '') {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

/** Draw how well networks are explained over how well they predict, and the table of it. */
function drawComparison() {
  const method = id('compared-method').value, metric = id('compared-metric').value;
  const points = data.networks.map((one) => ({ name: one.name, x: one.quality, y: one.means[method]?.[metric] ?? null }));
  const known = points.filter((p) => p.x !== null && p.y !== null);
  const place = id('scatter'), width = place.clientWidth - 26, height = 260, room = [64, 30, 16, 46];
  const range = (key) => {
    const all = known.map((p) => p[key]), low = Math.min(...all), high = Math.max(...all);
    const pad = (high - low || Math.abs(high) * 0.1 || 0.1) * 0.2;
    const most = key === 'x' && data.quality === 'accuracy' ? 1 : Infinity;
    return [low - pad, Math.min(high + pad, Math.max(high + pad / 20, most))];
  };
  const picture = svg('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': `${metric} of ${method} over ${data.quality}, a point a network; the table below has the numbers` });
  if (known.length) {
    const [[x0, x1], [y0, y1]] = [range('x'), range('y')];
    const right = width - room[1], bottom = height - room[3];
    const x = (v) => room[0] + (v - x0) / (x1 - x0) * (right - room[0]);
    const y = (v) => bottom - (v - y0) / (y1 - y0) * (bottom - room[2]);
    const ink = { fill: styled('--text'), 'font-size': 12 }, line = { stroke: styled('--muted') };
    picture.append(svg('path', { d: `M${room[0]} ${room[2]}V${bottom}H${right}`, fill: 'none', ...line }));
    for (const v of [x0, x1].map((v, i, [a, b]) => a + (b - a) * (i ? 0.83 : 0.17))) picture.append(svg('text', { x: x(v), y: bottom + 16, 'text-anchor': 'middle', ...ink }, said(v)));
    for (const v of [y0, y1].map((v, i, [a, b]) => a + (b - a) * (i ? 0.83 : 0.17))) picture.append(svg('text', { x: room[0] - 6, y: y(v) + 4, 'text-anchor': 'end', ...ink }, said(v)));
    picture.append(svg('text', { x: (room[0] + right) / 2, y: height - 8, 'text-anchor': 'middle', ...ink }, data.quality));
    picture.append(svg('text', { transform: `translate(14 ${(room[2] + bottom) / 2}) rotate(-90)`, 'text-anchor': 'middle', ...ink }, `${metric}, ${method}`));
    let taken = -Infinity;  // of the label above, so that none is written over another
    for (const p of known.sort((a, b) => b.y - a.y)) {
      const late = x(p.x) > width * 0.6;
      picture.append(svg('circle', { cx: x(p.x), cy: y(p.y), r: 5, fill: styled('--accent') }));
      taken = Math.max(y(p.y) + 4, taken + 14);
      picture.append(svg('text', { x: x(p.x) + (late ? -9 : 9), y: taken, 'text-anchor': late ? 'end' : 'start', ...ink }, p.name));
    }
  }
  place.hidden = !known.length;
  place.replaceChildren(picture);
  const table = id('comparison-table'), heads = ['network', data.quality, `${metric}, ${method}`];
  table.tHead.replaceChildren(make('tr', {}, ...heads.map((text, i) => make('th', { scope: 'col', class: i ? 'number' : '', text }))));
  table.tBodies[0].replaceChildren(...points.map((p) => make('tr', {}, make('th', { scope: 'row', text: p.name }),
    make('td', { class: 'number', text: said(p.x, 4) }), make('td', { class: 'number', text: said(p.y, 4) }))));
}

/** Draw everything anew, as when the width or the colours change. */
function drawAll() {
  show();
  showRanked();
  if (id('scatter')) drawComparison();
}

function go(by) {
  const shown = members(), at = shown.indexOf(state.sample);
  state.sample = shown[(at + by + shown.length) % shown.length];
  show();
}

const groups = [...new Set(data.samples.flatMap((sample) => sample.groups))];
id('group').append(...groups.map((name) => make('option', { value: name, text: name })));
id('group').addEventListener('change', show);
id('sample').addEventListener('change', (event) => { state.sample = Number(event.target.value); show(); });
id('method').addEventListener('change', (event) => { state.method = event.target.value; show(); });
id('view')?.addEventListener('change', show);
id('scale').addEventListener('change', show);
id('previous').addEventListener('click', () => go(-1));
id('next').addEventListener('click', () => go(1));
id('network')?.addEventListener('change', showNetwork);
id('account')?.addEventListener('change', (event) => {
  document.querySelectorAll('[data-ledger]').forEach((each) => { each.hidden = each.dataset.ledger !== event.target.value; });
});
if (id('scatter')) {
  options(id('compared-method'), methodsOf(0).map((name) => [name, name]), data.ranked.method);
  options(id('compared-metric'), data.metrics.map((name) => [name, name]), data.ranked.metric);
  for (const name of ['compared-method', 'compared-metric']) id(name).addEventListener('change', drawComparison);
}
let wide = window.innerWidth;
window.addEventListener('resize', () => {
  if (window.innerWidth === wide) return;
  wide = window.innerWidth;
  drawAll();
});
dark.addEventListener('change', drawAll);
drawAll();
