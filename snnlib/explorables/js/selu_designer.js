// The exponential linear unit that has a chosen fixed point: its constants, its curve, and whether signals return.

import { figure, number, svg } from "./common.js";
import { ACTIVATIONS, eigenvalues, expectation, momentJacobian, momentMap, selu, seluConstants } from "./numerics.js";

const LEFT = { f: (z) => Math.expm1(Math.min(z, 0)), kinks: [0] }; // what is left of SELU for lambda -> 0
const [COLUMNS, ROWS, WIDE, HIGH] = [16, 12, 0.125, 0.25];
const CELLS = Array.from({ length: COLUMNS * ROWS }, (_, k) =>
  [WIDE * (0.5 + (k % COLUMNS)) - 1, HIGH * (0.5 + Math.floor(k / COLUMNS))]);
const Z = Array.from({ length: 151 }, (_, k) => k / 25 - 3);

// SELU with the fixed point (mu, nu): { alpha, lam, f, values: eigenvalues of the map there }; null where there is none.
function design(mu, nu, omega, tau) {
  const constants = seluConstants(mu, nu, omega, tau);
  if (!constants) return null;
  const f = selu(constants.alpha, constants.lam);
  return { ...constants, f, values: eigenvalues(momentJacobian(f, mu, nu, omega, tau)) };
}

export function compute(state) {
  return { ...chosen(state), radii: radii(state) };
}

// The numbers of the chosen target.
function chosen({ mu, nu, omega, tau }) {
  const made = design(mu, nu, omega, tau);
  const share = (activation) => {
    const [mean, variance] = momentMap(activation, mu, nu, omega, tau);
    return mean / Math.sqrt(variance);
  };
  return {
    constants: made ? [made.alpha, made.lam] : [],
    eigenvalues: made ? made.values : [],
    chi: made ? tau * expectation((z) => made.f.derivative(z) ** 2, mu * omega, nu * tau, [0]) : 0,
    curve: made ? Z.map(made.f.f) : [],
    reach: [LEFT, ACTIVATIONS.relu].map(share), // means in between are possible, in standard deviations
  };
}

// The spectral radius at the targets all over the plane; -1 where there is no SELU.
function radii({ omega, tau }) {
  return CELLS.map(([mu, nu]) => {
    const made = design(mu, nu, omega, tau);
    return made ? Math.hypot(...made.values[0]) : -1;
  });
}

export function render({ model, el }) {
  const fig = figure({ model, el, label: "A SELU for a chosen mean and variance" });
  fig.slider("omega", { label: "sum of the weights *ω*", step: 0.01 });
  fig.slider("tau", { label: "sum of their squares *τ*", step: 0.01 });
  const plane = fig.plot({ label: "The plane of targets: where signals return to the target, where not, and where there is no SELU", height: 300 });
  const graph = fig.plot({ label: "The curve of the activation for the chosen target", height: 300 });
  plane.handle({
    label: "target, mean and variance", color: "ink",
    x: { name: "mu", step: 0.02 }, y: { name: "nu", step: 0.05 },
  });
  let drawn = {}; // the weights' sums and the shades that belong to them
  return fig.start((state) => {
    const numbers = chosen(state);
    if (drawn.omega !== state.omega || drawn.tau !== state.tau) drawn = { ...state, shades: radii(state) };
    plane.draw({
      x: { domain: [-1, 1], label: "target mean *μ*" }, y: { domain: [0, 3], label: "target variance *ν*" },
    }, (p) => [...cells(p, drawn.shades), ...missing(p, drawn.shades)]);
    graph.draw({ x: { domain: [-3, 3], label: "*z*" }, y: { domain: [-4, 4], label: "*f*(*z*)" } },
      (p) => curves(p, state, numbers));
    fig.say(sentence(state, numbers));
  });
}

// The spectral radius, as colour: blue below one, vermillion above, the stronger the further from it.
function cells(p, shades) {
  const [wide, high] = [p.x(WIDE) - p.x(0), p.y(0) - p.y(HIGH)];
  const shapes = {}; // by strength
  shades.forEach((radius, k) => {
    if (radius < 0) return;
    const strength = Math.max(-8, Math.min(8, Math.round(16 * (radius - 1)) || (radius < 1 ? -1 : 1)));
    const [x, y] = [p.x(CELLS[k][0] - WIDE / 2), p.y(CELLS[k][1] + HIGH / 2)];
    shapes[strength] = `${shapes[strength] ?? ""}M${x} ${y}h${wide}v${high}h${-wide}z`;
  });
  return Object.entries(shapes).map(([strength, d]) => svg("path", {
    class: `snn-fill snn-${strength < 0 ? "blue" : "vermillion"}`, "fill-opacity": 0.08 + 0.06 * Math.abs(strength), d,
  }));
}

// Words in the lower corners where no SELU is.
const missing = (p, shades) => [["start", 0, -0.97], ["end", COLUMNS - 1, 0.97]].filter(([, k]) => shades[k] < 0)
  .map(([anchor, , mu]) => p.text([mu, 0.1], "no SELU", { anchor }));

// The density of the pre-activations below, SELU for (0, 1) dotted, and the curve for the target.
function curves(p, { mu, nu, omega, tau }, { constants, curve }) {
  const [m, s] = [mu * omega, Math.sqrt(nu * tau)];
  const density = [[Z[0], 0], ...Z.map((z) => [z, Math.exp((((z - m) / s) ** 2) / -2)]), [Z.at(-1), 0]];
  const hill = density.map(([z, height]) => `${p.x(z).toFixed(1)} ${p.y(-4 + 1.2 * height).toFixed(1)}`);
  const line = (f, style) => p.line(Z.map((z, k) => [z, f(z, k)]).filter(([, y]) => Math.abs(y) <= 4), style);
  const marks = [
    svg("path", { class: "snn-fill snn-muted", "fill-opacity": 0.2, d: `M${hill.join("L")}z` }),
    line(ACTIVATIONS.selu.f, { color: "muted", dash: "2 4", width: 1.5 }),
  ];
  if (!constants.length) return marks;
  const [alpha, lam] = constants;
  return [...marks, line((_, k) => curve[k], { color: "vermillion", width: 2.5 }),
    p.text([-2.9, Math.max(-3.9, -0.5 - lam * alpha)], `−*λα* = ${number(-lam * alpha)}`),
    p.text([2.9, -0.5], `slope *λ* = ${number(lam)}`, { anchor: "end" })];
}

function sentence({ mu, nu }, { constants, eigenvalues: values, chi, reach }) {
  const target = `(${number(mu)}, ${number(nu)})`;
  if (!constants.length) {
    const [low, high] = reach.map((share) => number(share));
    return `No SELU has the fixed point ${target}: its mean is ${number(mu / Math.sqrt(nu))} standard deviations, and possible are ${low} (there *λ* = 0) to ${high} (there *α* = 0).`;
  }
  const [alpha, lam] = constants;
  const radius = Math.hypot(...values[0]);
  const effect = radius < 1
    ? `attracts: a small deviation is halved in ${number(-Math.LN2 / Math.log(radius))} layers`
    : `repels: a small deviation grows by ${number(100 * (radius - 1))} % per layer`;
  return `*α* = ${number(alpha, 5)} and *λ* = ${number(lam, 5)} fix ${target}. It ${effect} (eigenvalues ${values.map(complex).join(", ")}). Squared gradients × *χ* = ${number(chi, 4)} per layer.`;
}

function complex([re, im]) {
  const real = number(Math.abs(re) < 1e-9 ? 0 : re);
  return im === 0 ? real : `${real} ${im > 0 ? "+" : "−"} ${number(Math.abs(im))}i`;
}
