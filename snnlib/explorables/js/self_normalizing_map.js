// The map g of a layer on the plane of mean and variance: arrows, paths, the fixed point, a domain and its image.

import { ACTIVATION_WORDS, figure, number, svg } from "./common.js";
import { ACTIVATIONS, fixedPoint, momentMap } from "./numerics.js";

const LAYERS = 100; // how long a path is followed
const NEAR = 0.02; // how near to the fixed point a path has arrived, relative to its variance
const LOST = 0.01; // a variance below has died out,
const LARGE = 100; // a mean or variance beyond grows
const [ARRIVES, DIES, GROWS, OPEN] = [0, 1, 2, 3];

// Theorem 1 of Klambauer et al. (2017): the domain, and points around its border.
const OMEGA = { mu: [-0.1, 0.1], nu: [0.8, 1.5] };
const SIDE = 12;
const BORDER = [[0, 0, 1, 0], [1, 0, 0, 1], [1, 1, -1, 0], [0, 1, 0, -1]].flatMap(([a, b, da, db]) =>
  Array.from({ length: SIDE }, (_, k) => [
    OMEGA.mu[0] + (OMEGA.mu[1] - OMEGA.mu[0]) * (a + (da * k) / SIDE),
    OMEGA.nu[0] + (OMEGA.nu[1] - OMEGA.nu[0]) * (b + (db * k) / SIDE),
  ]));
const GRID = Array.from({ length: 15 * 9 }, (_, k) => [-1.4 + 0.2 * (k % 15), 0.2 + 0.35 * Math.floor(k / 15)]);

export function compute(state) {
  const layer = mapOf(state);
  return { ...layer, ...follow(state, layer) };
}

const step = ({ activation, omega, tau }) => ([mu, nu]) => momentMap(ACTIVATIONS[activation], mu, nu, omega, tau);

// What depends on the layer alone.
function mapOf(state) {
  const found = fixedPoint(ACTIVATIONS[state.activation], state.omega, state.tau);
  const image = BORDER.map(step(state));
  const within = ([mu, nu]) => mu >= OMEGA.mu[0] && mu <= OMEGA.mu[1] && nu >= OMEGA.nu[0] && nu <= OMEGA.nu[1];
  return {
    level: found ? [found.mu, found.nu] : [],
    radius: found ? found.spectralRadius : 0,
    attracting: Boolean(found?.attracting),
    field: GRID.map(step(state)),
    image,
    within: image.every(within),
  };
}

// The paths of the starts, until they have arrived, died out or grown beyond bounds.
function follow(state, { level, attracting }) {
  const g = step(state);
  const [center, variance] = level;
  const lost = Math.min(LOST, level.length ? variance / 2 : LOST);
  const large = Math.max(LARGE, level.length ? 2 * variance : LARGE);
  const fate = ([mu, nu]) => {
    if (attracting && Math.abs(mu - center) + Math.abs(nu - variance) < NEAR * variance) return ARRIVES;
    if (nu < lost) return DIES;
    return Math.max(nu, Math.abs(mu)) > large ? GROWS : OPEN;
  };
  const paths = state.mu.map((mu, k) => {
    const path = [[mu, state.nu[k]]];
    while (path.length <= LAYERS && fate(path.at(-1)) === OPEN) path.push(g(path.at(-1)));
    return path;
  });
  return {
    points: paths.flat(), // one path after the other
    layers: paths.map((path) => path.length - 1),
    fates: paths.map((path) => fate(path.at(-1))),
  };
}

export function render({ model, el }) {
  const fig = figure({ model, el, label: "The map of a layer on the plane of mean and variance" });
  fig.slider("omega", { label: "sum of the weights *ω*", step: 0.01 });
  fig.slider("tau", { label: "sum of their squares *τ*", step: 0.01 });
  fig.select("activation", { label: "activation", words: ACTIVATION_WORDS });
  const plot = fig.plot({ label: "Arrows from mean and variance to where a layer sends them, and the paths of four starts", height: 380 });
  const [inMu, inNu] = [fig.limits.mu.of, fig.limits.nu.of];
  const axes = {
    x: { domain: [inMu.min, inMu.max], label: "mean *μ*" },
    y: { domain: [0, inNu.max], label: "variance *ν*" },
  };
  const coordinate = (name, k, { min, max }) => ({
    step: 0.05, min, max,
    get: (state) => state[name][k],
    set: (value, state) => ({ [name]: state[name].with(k, value) }),
  });
  for (const k of [0, 1, 2, 3])
    plot.handle({ label: `start ${k + 1}, mean and variance`, x: coordinate("mu", k, inMu), y: coordinate("nu", k, inNu) });

  let scales; // of the last drawing
  fig.body.addEventListener("click", (event) => { // the nearest start comes where one taps
    if (event.target.closest(".snn-handle")) return;
    const box = fig.body.querySelector("svg").getBoundingClientRect();
    const { mu, nu } = fig.state();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const away = mu.map((m, k) => Math.hypot(scales.x(m) - x, scales.y(nu[k]) - y));
    const k = away.indexOf(Math.min(...away));
    fig.change({ mu: mu.with(k, scales.x.invert(x)), nu: nu.with(k, Math.max(inNu.min, scales.y.invert(y))) });
  });

  let drawn = {}; // the layer, and the numbers that depend on it alone
  return fig.start((state) => {
    if (["activation", "omega", "tau"].some((name) => drawn[name] !== state[name])) drawn = { ...state, ...mapOf(state) };
    const numbers = { ...drawn, ...follow(state, drawn) };
    let from = 0;
    const paths = numbers.layers.map((layers) => numbers.points.slice(from, (from += layers + 1)));
    plot.draw(axes, (p) => {
      scales = p;
      return [inside(p,
        arrows(p, numbers.field),
        region(p, BORDER),
        region(p, numbers.image, "3 3"),
        ...paths.map((path, k) => trace(p, path, numbers.fates[k])),
        ...(numbers.level.length ? [ring(p, numbers)] : []),
      ), p.text([-0.12, 1.5], "Ω", { anchor: "end" })];
    });
    fig.say(sentence(numbers));
  });
}

// Marks that are cut off at the edges of the plot.
function inside({ x, y }, ...marks) {
  const [width, height] = [x.to - x.from, y.from - y.to];
  return svg("svg", { x: x.from, y: y.to, width, height, viewBox: `${x.from} ${y.to} ${width} ${height}` }, ...marks);
}

// From every point of the grid towards where it goes; long steps are drawn shorter than they are.
function arrows(p, field) {
  const cell = p.x(0.2) - p.x(0);
  const strokes = GRID.map((point, k) => {
    const [x, y] = [p.x(point[0]), p.y(point[1])];
    const [dx, dy] = [p.x(field[k][0]) - x, p.y(field[k][1]) - y];
    const [length, angle] = [Math.hypot(dx, dy), Math.atan2(dy, dx)];
    const drawn = (1.2 * cell * length) / (length + cell);
    const to = (along, turn) => `${(along * Math.cos(angle + turn)).toFixed(1)} ${(along * Math.sin(angle + turn)).toFixed(1)}`;
    const barb = Math.min(5, drawn / 2.5);
    return `M${x.toFixed(1)} ${y.toFixed(1)}l${to(drawn, 0)}l${to(-barb, 0.45)}m${to(barb, 0.45)}l${to(-barb, -0.45)}`;
  });
  return svg("path", { class: "snn-line snn-muted", "stroke-width": 1, opacity: 0.55, d: strokes.join("") });
}

const outline = (p, points) => points.map(([mu, nu]) => `${p.x(mu).toFixed(1)} ${p.y(nu).toFixed(1)}`);

function region(p, points, dash) {
  const d = `M${outline(p, points).join("L")}z`;
  return svg("g", { class: "snn-green" },
    svg("path", { class: "snn-fill", "fill-opacity": 0.12, d }),
    svg("path", { class: "snn-line", "stroke-width": 1.5, "stroke-dasharray": dash, d }));
}

function trace(p, path, fate) {
  const points = outline(p, path);
  return svg("g", { class: fate === ARRIVES ? "snn-blue" : "snn-purple" },
    svg("path", {
      class: "snn-line", "stroke-width": 1.2, "stroke-opacity": 0.7, "stroke-dasharray": fate === ARRIVES ? undefined : "5 3",
      d: `M${points.join("L")}`,
    }),
    svg("path", { class: "snn-dots", "stroke-width": 5, d: points.map((point) => `M${point}h0`).join("") }));
}

const ring = (p, { level: [mu, nu], attracting }) => svg("circle", {
  class: `snn-green ${attracting ? "snn-fill" : "snn-line"}`, cx: p.x(mu), cy: p.y(nu), r: 6, "stroke-width": 2.5,
});

function sentence({ level, radius, attracting, within, layers, fates }) {
  const times = layers.filter((_, k) => fates[k] === ARRIVES);
  const range = [...new Set([Math.min(...times), Math.max(...times)])].join(" to ");
  const words = { // what became of a start
    [ARRIVES]: `came within ${100 * NEAR} % of it in ${range} layers`,
    [DIES]: `died out (*ν*\u00a0<\u00a0${LOST})`,
    [GROWS]: `grew beyond ${LARGE}`,
    [OPEN]: `had not settled after ${LAYERS} layers`,
  };
  const counts = Object.keys(words).map((fate) => [fates.filter((one) => String(one) === fate).length, words[fate]]);
  const starts = counts.filter(([count]) => count).map(([count, became]) => `${count === 4 ? "all" : count} ${became}`);
  return `${about(level, radius, attracting)} Of the four starts ${starts.join(", ")}. *g*(Ω) ${within ? "lies" : "does not lie"} within Ω.`;
}

function about([mu, nu], radius, attracting) {
  if (nu === undefined) return "There is no level to be found.";
  const place = `Level (${number(Math.abs(mu) < 1e-9 ? 0 : mu)}, ${number(nu)})`;
  if (attracting) return `${place} attracts: a layer keeps ${number(100 * radius)} % of a small deviation.`;
  return `${place} repels: a small deviation grows by ${number(100 * (radius - 1))} % per layer.`;
}
