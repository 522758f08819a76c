'use strict';
// Names and causes may hold anything: text enters the page by `textContent` and attributes only.
const base = location.pathname.replace(/\/*$/, '') + '/';
// Two a second.
const POINTS = 120;
const SHAPES = { ok: '●', note: '◆', warn: '▲', bad: '■' };
const WORDS = { ok: 'fine', note: 'look', warn: 'degraded', bad: 'failing' };
const STATUS = { ready: 'ok', degraded: 'warn', draining: 'bad' };
const byId = (id) => document.getElementById(id);
const plain = (label) => label.replaceAll('_', ' ');

function make(name, props = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(props)) {
    if (key === 'text') node.textContent = value;
    else if (key in node) node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}
function draw(name, attributes) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
function rank(node, trouble) {
  for (const each of Object.keys(SHAPES)) node.classList.toggle('is-' + each, each === trouble);
}

// Numbers as text.
const known = (value) => value !== null && value !== undefined;
function count(value) {
  if (!known(value)) return '–';
  if (value !== 0 && Math.abs(value) < 10 && !Number.isInteger(value)) return value.toFixed(1);
  return Math.round(value).toLocaleString('en');
}
const rate = (value) => (known(value) ? count(value) + '/s' : '–');
const percent = (value) => (known(value) ? (100 * value).toFixed(value > 0 && value < 0.1 ? 1 : 0) + ' %' : '–');
function time(seconds) {
  if (!known(seconds)) return '–';
  if (seconds < 0.0095) return (1000 * seconds).toFixed(1) + ' ms';
  if (seconds < 0.9995) return Math.round(1000 * seconds) + ' ms';
  if (seconds < 10) return seconds.toFixed(1) + ' s';
  if (seconds < 60) return Math.floor(seconds) + ' s';
  if (seconds < 3600) return Math.floor(seconds / 60) + ' min ' + Math.floor(seconds % 60) + ' s';
  return Math.floor(seconds / 3600) + ' h ' + Math.floor((seconds % 3600) / 60) + ' min';
}
// Since when: whole seconds.
const age = (seconds) => (seconds < 60 ? Math.floor(seconds) + ' s' : time(seconds));
const sum = (kinds) => Object.values(kinds).reduce((total, value) => total + value, 0);
const kindsOf = (kinds) => Object.entries(kinds).filter(([, value]) => value > 0)
  .sort((a, b) => b[1] - a[1]).map(([kind, value]) => plain(kind) + ' ' + rate(value)).join(', ');

// A minute as a small chart: the newest is at the right, an unknown one is a gap.
const WIDTH = 120;
const HEIGHT = 40;
function runs(values) {
  const found = [];
  let run = null;
  const shift = POINTS - values.length;
  values.forEach((value, index) => {
    if (!known(value)) run = null;
    else {
      if (!run) found.push((run = []));
      run.push([((index + shift + 0.5) / POINTS) * WIDTH, value]);
    }
  });
  // A point alone is as wide as its time.
  for (const each of found) if (each.length === 1) each.push([each[0][0] + WIDTH / POINTS / 2, each[0][1]]);
  return found;
}
class Chart {
  constructor(title, spec) {
    Object.assign(this, { title, spec });
    this.svg = draw('svg', { class: 'chart' + (spec.strip ? ' strip' : ''), viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img' });
    this.marks = spec.marks.map(({ as }) => {
      const area = as === 'area' && this.svg.appendChild(draw('path', { class: 'area' }));
      const path = this.svg.appendChild(draw('path', { class: { area: 'rim', hatch: 'rejects', line: 'rim', dash: 'second' }[as] }));
      return { area, path };
    });
    this.bound = this.svg.appendChild(draw('line', { class: 'bound', x1: 0, x2: WIDTH }));
    this.name = make('span', { text: title });
    this.scale = make('span');
    this.figure = make('figure', {}, make('figcaption', {}, this.name, this.scale), this.svg);
  }
  update(history, bound) {
    const layers = this.spec.marks.map(({ key }) => history[key] || []);
    const shown = known(bound) && this.spec.bound;
    // A second layer that is hatched stands on the first.
    const floor = this.spec.marks.map(({ as }) => (as === 'hatch' ? layers[0] : null));
    const tops = layers.map((values, n) => (floor[n] ? values.map((value, at) => (known(value) ? value + (floor[n][at] || 0) : null)) : values));
    const most = Math.max(0, ...tops.flat().filter(known));
    const top = this.spec.top || Math.max(most, shown ? bound : 0) * 1.08 || 1;
    const y = (value) => (HEIGHT * (1 - Math.min(value / top, 1))).toFixed(1);
    const line = (points) => 'M' + points.map(([x, value]) => x.toFixed(1) + ' ' + y(value)).join('L');
    tops.forEach((values, n) => {
      const { area, path } = this.marks[n];
      const found = runs(values);
      const closed = (points, below) => line(points) + 'L' + below.reverse().map(([x, value]) => x.toFixed(1) + ' ' + y(value)).join('L') + 'Z';
      if (area) area.setAttribute('d', found.map((points) => closed(points, points.map(([x]) => [x, 0]))).join(''));
      if (floor[n]) {
        const some = values.map((value, at) => (layers[n][at] > 0 || layers[n][at - 1] > 0 || layers[n][at + 1] > 0 ? value : null));
        const below = runs(some.map((value, at) => (known(value) ? floor[n][at] || 0 : null)));
        path.setAttribute('d', runs(some).map((points, at) => closed(points, below[at])).join(''));
      } else path.setAttribute('d', found.map(line).join(''));
    });
    this.bound.setAttribute('visibility', shown ? 'visible' : 'hidden');
    if (shown) for (const end of ['y1', 'y2']) this.bound.setAttribute(end, y(bound));
    const text = this.spec.words({ most, layers: layers.map((values) => values.at(-1)), bound: shown ? bound : null });
    say(this.scale, text);
    this.svg.setAttribute('aria-label', `${this.title}, the last minute: ${text}`);
  }
}
const STATES = ['closed', 'half-open', 'open'];
const CHARTS = [
  { title: 'state', needs: 'state', strip: true, top: 2.1, marks: [{ key: 'state', as: 'area' }], words: ({ layers }) => 'low: closed, half: half-open, full: open; now ' + (STATES[layers[0]] || '–') },
  { title: 'calls per second', needs: 'admitted', marks: [{ key: 'admitted', as: 'area' }, { key: 'rejected', as: 'hatch' }], words: ({ most }) => `hatched: rejected; most ${rate(most)}` },
  { title: 'failure rate', needs: 'failure_rate', top: 1, bound: 'threshold', marks: [{ key: 'failure_rate', as: 'line' }], words: ({ layers, bound }) => percent(layers[0]) + (known(bound) ? `; dashed: threshold ${percent(bound)}` : '') },
  { title: 'in flight', needs: 'in_flight', bound: 'limit', marks: [{ key: 'in_flight', as: 'area' }, { key: 'queue', as: 'hatch' }], words: ({ layers, bound }) => count(layers[0]) + (known(bound) ? `; dashed: limit ${count(bound)}` : '') + (known(layers[1]) ? '; hatched: queue' : '') },
  { title: 'latency', needs: 'p99', bound: 'time_limit', marks: [{ key: 'p50', as: 'line' }, { key: 'p99', as: 'dash' }], words: ({ layers }) => `p50 ${time(layers[0])}, dotted p99 ${time(layers[1])}` },
  { title: 'balance', needs: 'balance', bound: 'full', marks: [{ key: 'balance', as: 'area' }], words: ({ layers, bound }) => count(layers[0]) + (known(bound) ? `; dashed: ${count(bound)}` : '') },
];

// Levers. What stops calls is pressed twice.
const LEVERS = { force_open: 'Force open', force_closed: 'Force closed', release: 'Release', reset: 'Reset' };
const TWICE = ['force_open', 'force_closed', 'reset', 'off'];
class Levers {
  constructor(tile) {
    this.tile = tile;
    this.modes = [];
    this.inputs = [];
    this.out = make('output', { role: 'status' });
    this.node = make('details', { className: 'levers' }, make('summary', { text: 'Levers' }));
    const row = make('div', { className: 'row' });
    for (const lever of tile.last.levers) {
      if (lever.lever === 'mode') {
        const group = make('div', { className: 'row', role: 'group', 'aria-label': 'mode' }, make('span', { text: 'mode' }));
        for (const mode of lever.allowed) {
          const button = this.button(plain(mode), mode, { lever: 'mode', value: mode });
          this.modes.push([mode, button]);
          group.append(button);
        }
        this.node.append(group);
      } else if ('now' in lever) this.node.append(this.field(lever));
      else if (lever.key && !this.key) {
        this.key = make('input', { autocomplete: 'off', 'data-lever': 'key' });
        row.append(make('label', {}, make('span', { text: 'key' }), this.key));
      }
      if (!lever.allowed && !('now' in lever)) row.append(this.button(LEVERS[lever.lever] || plain(lever.lever), lever.lever, { lever: lever.lever }, lever.key));
    }
    if (row.childElementCount) this.node.append(row);
    this.node.append(this.out);
    this.update(tile.last.levers);
  }
  button(text, id, pull, ofKey = false) {
    const button = make('button', { type: 'button', text, 'data-lever': id });
    let sure = 0;
    const calm = () => { clearTimeout(sure); sure = 0; button.textContent = text; button.classList.remove('sure'); };
    button.addEventListener('click', () => {
      if (TWICE.includes(id) && !sure) {
        button.textContent = text + ': press again';
        button.classList.add('sure');
        sure = setTimeout(calm, 4000);
      } else { calm(); this.pull(ofKey ? { ...pull, value: this.key.value } : pull); }
    });
    return button;
  }
  field(lever) {
    const input = make('input', { value: lever.now, autocomplete: 'off', 'data-lever': lever.lever });
    const form = make('form', {}, make('label', {}, make('span', { text: lever.lever }), input), make('button', { text: 'Set ' + lever.lever }));
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.pull({ lever: lever.lever, value: input.value });
    });
    this.inputs.push([lever.lever, input]);
    return form;
  }
  update(levers) {
    const now = Object.fromEntries(levers.map((lever) => [lever.lever, lever.now]));
    for (const [mode, button] of this.modes) button.setAttribute('aria-pressed', mode === now.mode);
    for (const [lever, input] of this.inputs) if (!this.node.contains(document.activeElement) && known(now[lever])) input.value = now[lever];
  }
  async pull(pull) {
    const { id, name } = this.tile.last;
    let text = '';
    let failed = true;
    try {
      const answer = await fetch(base + 'lever', {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-seawall-console': '1' },
        body: JSON.stringify({ id, name, ...pull }),
      });
      const body = await answer.text();
      try { const said = JSON.parse(body); text = said.did || said.error; } catch { text = `the answer was ${answer.status}: ${body.slice(0, 200)}`; }
      failed = !answer.ok;
    } catch (error) { text = `no answer: ${error.message}`; }
    this.out.classList.toggle('failed', failed);
    this.out.textContent = text;
  }
}

class Tile {
  constructor(policy) {
    this.id = policy.id;
    this.last = policy;
    this.history = {};
    this.charts = new Map();
    this.numbers = new Map();
    this.shape = make('span', { className: 'shape', 'aria-hidden': 'true' });
    this.word = make('span', { className: 'word' });
    this.kind = make('span');
    this.mode = make('span', { className: 'mode' });
    this.says = make('p', { className: 'says' });
    this.list = make('dl', { className: 'numbers' });
    this.factList = make('dl', { className: 'numbers facts' });
    this.figures = make('div');
    this.node = make('article', { className: 'tile', id: 'p-' + policy.id, tabIndex: -1, 'aria-labelledby': 'n-' + policy.id },
      make('header', {}, this.shape, make('h3', { id: 'n-' + policy.id, text: policy.name }), this.word),
      make('p', { className: 'kind' }, this.kind, ' ', this.mode), this.says, this.list, this.factList, this.figures);
    this.levers = policy.levers.length > 0 ? new Levers(this) : null;
    if (this.levers) this.node.append(this.levers.node);
  }
  number(name, text, kinds = '', wide = false) {
    let entry = this.numbers.get(name);
    if (!entry) {
      entry = { value: make('span'), kinds: make('span', { className: 'kinds' }) };
      entry.node = make('div', { className: wide ? 'wide' : '' }, make('dt', { text: name }), make('dd', {}, entry.value, entry.kinds));
      this.list.append(entry.node);
      this.numbers.set(name, entry);
    }
    entry.node.hidden = !known(text);
    say(entry.value, text ?? '');
    say(entry.kinds, kinds);
  }
  update(policy) {
    this.last = policy;
    for (const [key, value] of Object.entries(policy.point)) {
      this.history[key] = policy.history ? policy.history[key] : [...(this.history[key] || []), value].slice(-POINTS);
    }
    rank(this.node, policy.trouble);
    say(this.shape, SHAPES[policy.trouble]);
    say(this.word, WORDS[policy.trouble]);
    say(this.kind, plain(policy.kind) + (policy.keys ? ' per key' : '') + (known(policy.state) ? ` · ${plain(policy.state)} for ${age(policy.in_state)}` : ''));
    say(this.mode, policy.mode === 'enforce' ? '' : plain(policy.mode));
    this.mode.hidden = policy.mode === 'enforce';
    say(this.says, policy.says);
    const some = (value, text) => (known(value) ? text(value) : null);
    const of = (limit) => (known(limit) ? ' of ' + count(limit) : '');
    this.number('admitted', some(policy.admitted, rate));
    this.number('rejected', some(policy.rejected, (kinds) => rate(sum(kinds))), policy.rejected ? kindsOf(policy.rejected) : '');
    const would = policy.would_reject && sum(policy.would_reject) > 0 ? policy.would_reject : null;
    this.number('would reject', some(would, (kinds) => rate(sum(kinds))), would ? kindsOf(would) : '');
    this.number('failed', some(policy.failed, (kinds) => rate(sum(kinds))), policy.failed ? kindsOf(policy.failed) : '');
    const not = policy.suppressed && sum(policy.suppressed) > 0 ? policy.suppressed : null;
    this.number('attempts not made', some(not, (kinds) => rate(sum(kinds))), not ? kindsOf(not) : '');
    if (policy.keys) this.keys(policy.keys);
    this.number('failure rate', some(policy.point.failure_rate, percent), known(policy.threshold) ? 'threshold ' + percent(policy.threshold) : '');
    this.number('in flight', some(policy.point.in_flight, (now) => count(now) + of(policy.limit)));
    this.number('queue', some(policy.point.queue, (now) => count(now) + of(policy.queue_limit)));
    this.number('attempts per call', some(policy.attempts_per_call, (value) => value.toFixed(2)));
    const latency = policy.latency;
    this.number('latency', some(latency, () => `p50 ${time(latency.p50)} · p90 ${time(latency.p90)} · p99 ${time(latency.p99)}`), latency ? `of the last ${age(latency.over + 0.5)}` : '', true);
    this.facts(policy.facts);
    for (const spec of CHARTS) {
      const values = this.history[spec.needs];
      let chart = this.charts.get(spec.title);
      if (!chart && values && values.some(known)) {
        chart = new Chart(spec.title, spec);
        this.charts.set(spec.title, chart);
        const after = CHARTS.slice(CHARTS.indexOf(spec) + 1).map((next) => this.charts.get(next.title)).find(Boolean);
        this.figures.insertBefore(chart.figure, after ? after.figure : null);
      }
      if (!chart) continue;
      chart.update(this.history, policy[spec.bound]);
      // A minute without calls has nothing to show.
      chart.figure.hidden = spec.needs === 'admitted' && !values.some((value, at) => value > 0 || this.history.rejected[at] > 0);
    }
    if (this.levers) this.levers.update(policy.levers);
  }
  facts(facts) {
    while (this.factList.childElementCount > facts.length) this.factList.lastChild.remove();
    facts.forEach(([name, value], at) => {
      const node = this.factList.children[at] || this.factList.appendChild(make('div', {}, make('dt'), make('dd')));
      say(node.children[0], name);
      say(node.children[1], value);
      node.className = value.length > 14 ? 'wide' : '';
    });
  }
  keys(keys) {
    const states = keys.states ? Object.entries(keys.states).filter(([, n]) => n > 0).map(([state, n]) => `${n} ${plain(state)}`).join(', ') : '';
    this.number('keys', count(keys.count) + ' of ' + count(keys.capacity), states, true);
    this.number('keys not closed', keys.not_closed.length ? keys.not_closed.map(([key, state]) => `${key} ${plain(state)}`).join(', ') : null, '', true);
    this.number('no entry', keys.overflowed ? count(keys.overflowed) : null);
  }
  matches(text) {
    return `${this.last.name} ${plain(this.last.kind)} ${WORDS[this.last.trouble]} ${this.last.state || ''}`.toLowerCase().includes(text);
  }
}

const tiles = new Map();
const list = byId('policies');
// A tile that moves is pressed by mistake: the order is kept while the pointer or the focus is on one.
let pointed = 0;
list.addEventListener('pointermove', () => (pointed = Date.now()));
list.addEventListener('pointerdown', () => (pointed = Date.now()));
list.addEventListener('pointerleave', () => (pointed = 0));
const busy = () => Date.now() - pointed < 8000 || (list !== document.activeElement && list.contains(document.activeElement));

function headlines(doc) {
  const wrong = doc.policies.filter(({ trouble }) => trouble === 'bad' || trouble === 'warn');
  const nodes = wrong.slice(0, 5).map(({ id, name, trouble, says }) => {
    const node = make('li', {}, make('span', { className: 'shape', 'aria-hidden': 'true', text: SHAPES[trouble] }), ' ',
      make('span', { className: 'word', text: WORDS[trouble] }), make('a', { href: '#p-' + id, text: `${name}: ${says}` }));
    rank(node, trouble);
    return node;
  });
  if (wrong.length > 5) nodes.push(make('li', { className: 'note', text: `and ${wrong.length - 5} more` }));
  if (!wrong.length) {
    const node = make('li', {}, make('span', { className: 'shape', 'aria-hidden': 'true', text: SHAPES.ok }), ' ' + doc.headline);
    rank(node, 'ok');
    nodes.push(node);
  }
  const headings = byId('headlines');
  // A link that has the focus stays what it is.
  if (!headings.contains(document.activeElement)) headings.replaceChildren(...nodes);
  // Only a change of what is wrong is read aloud, not the numbers of each second.
  say(byId('announce'), wrong.length ? wrong.map(({ name, trouble }) => `${name}: ${WORDS[trouble]}`).join(', ') : 'all policies are fine');
  const worst = wrong.length ? wrong[0].trouble : 'ok';
  document.title = `${SHAPES[worst]} ${wrong.length ? wrong.length + ' ' + WORDS[worst] : 'fine'} · Seawall`;
}

function timeline(doc) {
  byId('no-transitions').hidden = doc.transitions.length > 0;
  const wall = Date.now();
  byId('transitions').replaceChildren(...doc.transitions.slice(0, 100).map(({ at, policy, from, to, cause }) => {
    const ago = Math.max(0, doc.now - at);
    const clock = new Date(wall - 1000 * ago).toLocaleTimeString('en-GB');
    const trouble = to === 'closed' ? 'ok' : to.includes('half') || to === 'recovering' ? 'warn' : 'bad';
    const what = make('span', { className: 'what' }, make('span', { className: 'shape', 'aria-hidden': 'true', text: SHAPES[trouble] }), ` ${policy}: ${plain(from)} → ${plain(to)}`);
    const node = make('li', {}, make('span', { text: clock }), make('span', { className: 'when', text: ago < 1 ? 'now' : age(ago) + ' ago' }), what, make('span', { className: 'cause', text: cause }));
    rank(node, trouble);
    return node;
  }));
}

function filter() {
  const text = byId('filter').value.trim().toLowerCase();
  for (const tile of tiles.values()) tile.node.hidden = text !== '' && !tile.matches(text);
}
function show(doc) {
  const status = byId('status');
  rank(status, STATUS[doc.status] || 'warn');
  say(status.children[0], SHAPES[STATUS[doc.status] || 'warn']);
  say(status.children[1], doc.status);
  const ids = new Set(doc.policies.map(({ id }) => id));
  for (const [id, tile] of tiles) if (!ids.has(id)) { tile.node.remove(); tiles.delete(id); }
  for (const policy of doc.policies) {
    let tile = tiles.get(policy.id);
    if (!tile) {
      tile = new Tile(policy);
      tiles.set(policy.id, tile);
      list.append(tile.node);
    }
    tile.update(policy);
  }
  filter();
  const held = busy();
  const order = doc.policies.map(({ id }) => tiles.get(id).node);
  const moved = order.some((node, at) => list.children[at] !== node);
  if (moved && !held) order.forEach((node, at) => { if (list.children[at] !== node) list.insertBefore(node, list.children[at] || null); });
  byId('held').hidden = !(moved && held);
  byId('not-shown').hidden = !doc.not_shown;
  say(byId('not-shown'), `${count(doc.not_shown)} more policies are not shown.`);
  headlines(doc);
  timeline(doc);
}

let framed = Date.now();
let latest = null;
function fresh() {
  const silent = (Date.now() - framed) / 1000;
  const on = latest !== null && silent < 3;
  byId('live').classList.toggle('on', on);
  say(byId('live').children[1], on ? 'live' : latest ? 'not live' : 'connecting');
  byId('stale').hidden = on || silent < 3;
  say(byId('stale'), latest ? `No data for ${age(silent)}: what follows is old. Reconnecting.` : 'No data yet. Reconnecting.');
}
function connect() {
  const events = new EventSource(base + 'events');
  events.onmessage = ({ data }) => {
    framed = Date.now();
    latest = JSON.parse(data);
    show(latest);
    fresh();
  };
  // The browser connects again by itself, but not after an answer that is no stream.
  events.onerror = () => { fresh(); if (events.readyState === EventSource.CLOSED) setTimeout(connect, 3000); };
}
setInterval(fresh, 1000);
byId('filter').addEventListener('input', filter);
document.addEventListener('keydown', (event) => {
  if (event.key === '/' && !/^(INPUT|TEXTAREA)$/.test(event.target.tagName) && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    byId('filter').focus();
  }
});
connect();
