// A Gaussian goes through an activation: the density of z above the curve y = f(z), that of y beside it.

import { ACTIVATION_WORDS, figure, number, svg } from "./common.js";
import { ACTIVATIONS, momentMap, normalDensity, pushForward } from "./numerics.js";

const Z = [-5, 5];
const Y = [-4, 5];
const steps = ([low, high], count) => Array.from({ length: count + 1 }, (_, k) => low + ((high - low) * k) / count);
const GRID = steps(Z, 200);
const EDGES = steps(Y, 180);
const DECILES = [-1.2816, -0.8416, -0.5244, -0.2533, 0, 0.2533, 0.5244, 0.8416, 1.2816]; // of the standard normal
const GAP = 10; // between the plot and the strips beside it, in pixels
const HIGHEST = 1.6; // densities of y are cut off here, for they can be infinite
const rounded = (value) => Math.round(100 * value) / 100 + 0; // never -0

export function compute({ activation, mu, nu, omega, tau }) {
  const [m, v] = [mu * omega, nu * tau];
  const s = Math.sqrt(v);
  const [mean, variance] = momentMap(ACTIVATIONS[activation], mu, nu, omega, tau);
  const { density, atoms } = pushForward(ACTIVATIONS[activation], m, v, EDGES);
  return {
    m, v, mean, variance,
    ratio: variance / nu,
    before: GRID.map((z) => normalDensity((z - m) / s) / s),
    after: [...density],
    atoms: atoms.map(({ value, probability }) => [value, probability]),
  };
}

export function render({ model, el }) {
  const fig = figure({ model, el, label: "A Gaussian goes through an activation function" });
  const digits = (value) => rounded(value).toFixed(2).replace("-", "−");
  fig.slider("mu", { label: "mean of inputs *μ*", step: 0.01, format: digits });
  fig.slider("nu", { label: "variance of inputs *ν*", step: 0.01, format: digits });
  fig.slider("omega", { label: "sum of weights *ω*", step: 0.01, format: digits });
  fig.slider("tau", { label: "sum of their squares *τ*", step: 0.01, format: digits });
  fig.select("activation", { label: "activation *f*", words: { ...ACTIVATION_WORDS, identity: "identity" } });
  const plot = fig.plot({
    label: "The activation function, the density of z above it and the density of y on its right",
    height: 400,
    margin: { top: 104, right: 104 },
  });
  plot.handle({
    label: "mean of z, which sets the mean of the inputs",
    at: () => [0, Y[1]],
    x: { name: "mu", step: 0.05, to: (mu, { omega }) => mu * omega, from: (z, { mu, omega }) => omega ? z / omega : mu },
    format: (mu) => `μ = ${digits(mu)}`,
    color: "blue",
  });
  plot.handle({
    label: "one standard deviation above the mean of z, which sets the variance of the inputs",
    at: () => [0, Y[1]],
    x: {
      name: "nu",
      step: 0.05,
      to: (nu, { mu, omega, tau }) => mu * omega + Math.sqrt(nu * tau),
      from: (z, { mu, omega, tau }) => Math.max(0, z - mu * omega) ** 2 / tau,
    },
    format: (nu) => `ν = ${digits(nu)}`,
    color: "blue",
  });
  return fig.start((state) => {
    const result = compute(state);
    const axes = { x: { domain: Z, label: "*z*" }, y: { domain: Y } };
    plot.draw(axes, (p) => [
      ...paths(state, result, p),
      p.line(GRID.map((z) => [z, ACTIVATIONS[state.activation].f(z)]).filter(([, y]) => y >= Y[0] && y <= Y[1]), { color: "ink" }),
      words(p.x.from + 8, p.y.to + 16, "*y* = *f*(*z*)"),
      ...above(result, p),
      ...beside(result, p),
    ]);
    fig.say(sentence(state, result));
  });
}

// Where nine points go that cut the distribution into tenths: down to the curve, then to the right.
function paths({ activation }, { m, v }, p) {
  const { f } = ACTIVATIONS[activation];
  const ends = DECILES.map((x) => m + x * Math.sqrt(v)).map((z) => [z, f(z)]);
  const inside = ends.filter(([z, y]) => Math.abs(z) <= Z[1] && y >= Y[0] && y <= Y[1]);
  return inside.map(([z, y]) => p.line([[z, Y[1]], [z, y], [Z[1], y]], { color: "muted", width: 0.7 }));
}

const route = (points) => `M${points.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L")}`;

function area(points, color) {
  return svg("path", { class: `snn-fill snn-${color}`, "fill-opacity": 0.45, stroke: "currentColor", d: route(points) });
}

function words(x, y, text, anchor = "start") {
  return svg("text", { class: "snn-ink", x, y, "text-anchor": anchor }, text);
}

// How long a density is drawn, in pixels, where the strip has so much room.
function length(densities, room, most = Infinity) {
  const highest = Math.min(most, Math.max(0.4, ...densities));
  return (density) => (room * Math.min(density, highest)) / highest;
}

function above({ before }, p) {
  const base = p.y.to - GAP;
  const high = length(before, 70);
  return [
    area([[p.x.from, base], ...before.map((density, k) => [p.x(GRID[k]), base - high(density)]), [p.x.to, base]], "blue"),
    words(p.x.to, base - 76, "density of *z*", "end"),
  ];
}

function beside({ after, atoms, mean, variance }, p) {
  const [base, room] = [p.x.to + GAP, 80];
  const s = Math.sqrt(variance);
  const normal = s > 0 ? EDGES.map((y) => normalDensity((y - mean) / s) / s) : [];
  const long = length([...after, ...normal], room, HIGHEST);
  const outline = after.flatMap((density, k) => [EDGES[k], EDGES[k + 1]].map((y) => [base + long(density), p.y(y)]));
  return [
    area([[base, p.y.from], ...outline, [base, p.y.to]], "vermillion"),
    svg("path", {
      class: "snn-line snn-muted", "stroke-width": 1.2, "stroke-dasharray": "4 3",
      d: normal.length ? route(normal.map((density, k) => [base + long(density), p.y(EDGES[k])])) : undefined,
    }),
    ...atoms.flatMap(([value, probability]) => [
      svg("path", { class: "snn-line snn-vermillion", "stroke-width": 4, d: `M${base} ${p.y(value)}h${room * probability}` }),
      words(base + 4, p.y(value) + 18, `share ${number(probability, 2)}`),
    ]),
    svg("path", { class: "snn-fill snn-vermillion", d: `M${base - 1} ${p.y.inside(mean)}l-8 -5v10z` }),
    words(base, p.y.to - GAP, "density of *y*"),
  ];
}

function sentence({ mu, nu, omega }, { m, v, mean, variance, ratio }) {
  const two = (value) => number(rounded(value));
  const numbers = `*z* has mean *μω* = ${two(m)} and variance *ντ* = ${two(v)}; *y* has mean *μ̃* = ${two(mean)} and variance *ν̃* = ${two(variance)}. `;
  if (Math.abs(mean - mu) < 0.005 && Math.abs(variance - nu) < 0.005)
    return `${numbers}Out comes what went in: (*μ*, *ν*) is a fixed point.`;
  const away = omega === 0 ? "With *ω* = 0 the mean of the inputs has no effect; the" : "The";
  return `${numbers}${away} variance ${Math.abs(ratio - 1) < 0.005 ? "stays" : `is multiplied by *ν̃*/*ν* = ${two(ratio)}`}.`;
}
