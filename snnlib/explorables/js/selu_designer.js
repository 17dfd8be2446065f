// The exponential linear unit that has a chosen fixed point: its constants, its curve, and whether signals return.

import { figure, number, svg } from "./common.js";
import { ACTIVATIONS, eigenvalues, expectation, momentJacobian, momentMap, selu, seluConstants } from "./numerics.js";

// The smallest and the largest mean are those of what is left of SELU for lambda = 0 and for alpha = 0.
const ENDS = [[-1, { f: (z) => Math.expm1(Math.min(z, 0)), kinks: [0] }], [1, ACTIVATIONS.relu]];
const [ROWS, COLUMNS] = [10, 10]; // of cells on the plane of targets
const NU = Array.from({ length: ROWS + 1 }, (_, i) => 3 * ((i + 1) / (ROWS + 1)) ** 2); // the edges of the rows
const Z = Array.from({ length: 151 }, (_, k) => k / 25 - 3);

// SELU with the fixed point (mu, nu): { alpha, lam, f, values: eigenvalues of the map there }; null where there is none.
function design(mu, nu, omega, tau) {
  const constants = seluConstants(mu, nu, omega, tau);
  if (!constants) return null;
  const f = selu(constants.alpha, constants.lam);
  return { ...constants, f, values: eigenvalues(momentJacobian(f, mu, nu, omega, tau)) };
}

// The mean of the activations in standard deviations, at the target.
function share(activation, { mu, nu, omega, tau }) {
  const [mean, variance] = momentMap(activation, mu, nu, omega, tau);
  return mean / Math.sqrt(variance);
}

export function compute(state) {
  return { ...chosen(state), ...plane(state) };
}

// The numbers of the chosen target.
function chosen(state) {
  const { mu, nu, omega, tau } = state;
  const made = design(mu, nu, omega, tau);
  return {
    constants: made ? [made.alpha, made.lam] : [],
    eigenvalues: made ? made.values : [],
    chi: made ? tau * expectation((z) => made.f.derivative(z) ** 2, mu * omega, nu * tau, [0]) : 0,
    curve: made ? Z.map(made.f.f) : [],
    reach: ENDS.map(([, activation]) => share(activation, state)), // means in between are possible
  };
}

// The spectral radius at targets between the borders, in columns, for every row; -1 where there is no SELU.
function plane({ omega, tau }) {
  const borders = NU.map((nu) => ENDS.map(([end, activation]) => border(end, activation, { nu, omega, tau })));
  const radii = Array.from({ length: ROWS * COLUMNS }, (_, k) => {
    const [i, j] = [Math.floor(k / COLUMNS), (k % COLUMNS) + 0.5];
    const made = design((column(borders[i], j) + column(borders[i + 1], j)) / 2, (NU[i] + NU[i + 1]) / 2, omega, tau);
    return made ? Math.hypot(...made.values[0]) : -1;
  });
  return { borders, radii };
}

// The mean nearest to `end` that is possible, by bisection.
function border(end, activation, layer) {
  const possible = (mu) => end * mu < end * Math.sqrt(layer.nu) * share(activation, { mu, ...layer });
  if (possible(end)) return end;
  let [inner, outer] = [0, end];
  for (let halvings = 0; halvings < 9; halvings++) {
    const middle = (inner + outer) / 2;
    if (possible(middle)) inner = middle;
    else outer = middle;
  }
  return inner;
}

const column = ([left, right], j) => left + ((right - left) * j) / COLUMNS;

export function render({ model, el }) {
  const fig = figure({ model, el, label: "A SELU for a chosen mean and variance" });
  fig.slider("omega", { label: "sum of the weights *ω*", step: 0.01 });
  fig.slider("tau", { label: "sum of their squares *τ*", step: 0.01 });
  const targets = fig.plot({ label: "The plane of targets: where signals return to the target, where not, and where there is no SELU", height: 300 });
  const graph = fig.plot({ label: "The curve of the activation for the chosen target", height: 300 });
  targets.handle({
    label: "target, mean and variance", color: "ink",
    x: { name: "mu", step: 0.02 }, y: { name: "nu", step: 0.05 },
  });
  fig.legend([["blue", "strong", "returns at once"], ["blue", "weak", "returns slowly"], ["vermillion", "weak", "leaves slowly"],
    ["vermillion", "strong", "leaves at once"]]);
  let drawn = {}; // the weights' sums, and the plane that belongs to them
  return fig.start((state) => {
    const numbers = chosen(state);
    if (drawn.omega !== state.omega || drawn.tau !== state.tau) drawn = { ...state, ...plane(state) };
    targets.draw({
      x: { domain: [-1, 1], label: "target mean *μ*" }, y: { domain: [0, 3], label: "target variance *ν*" },
    }, (p) => [...cells(p, drawn), ...missing(p, drawn)]);
    graph.draw({ x: { domain: [-3, 3], label: "*z*" }, y: { domain: [-4, 4], label: "*f*(*z*)" } },
      (p) => curves(p, state, numbers));
    fig.say(sentence(state, numbers));
  });
}

// The spectral radius, as colour: blue below one, vermillion above, the stronger the further from it.
function cells(p, { borders, radii }) {
  const shapes = {}; // by strength
  radii.forEach((radius, k) => {
    if (radius < 0) return;
    const [i, j] = [Math.floor(k / COLUMNS), k % COLUMNS];
    const corners = [[i, j], [i, j + 1], [i + 1, j + 1], [i + 1, j]]
      .map(([row, edge]) => `${p.x(column(borders[row], edge)).toFixed(1)} ${p.y(NU[row]).toFixed(1)}`);
    const strength = clamp(Math.round(16 * (radius - 1)) || Math.sign(radius - 1), 8);
    shapes[strength] = `${shapes[strength] ?? ""}M${corners.join("L")}z`;
  });
  return Object.entries(shapes).map(([strength, d]) => svg("path", {
    class: `snn-fill snn-${strength < 0 ? "blue" : "vermillion"}`, "fill-opacity": 0.08 + 0.06 * Math.abs(strength), d,
  }));
}

const clamp = (value, most) => Math.max(-most, Math.min(most, value));

// Words in the lower corners where no SELU is.
const missing = (p, { borders: [, , row] }) => [["start", -0.97, row[0]], ["end", 0.97, row[1]]]
  .filter(([, , mu]) => Math.abs(mu) < 0.6).map(([anchor, mu]) => p.text([mu, 0.1], "no SELU", { anchor }));

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
  return `*α* = ${number(alpha, 5)} and *λ* = ${number(lam, 5)} fix ${target}. It ${effect} (eigenvalues ${values.map(complex).join(", ")}). Squared gradients × *χ*\u00a0=\u00a0${number(chi, 4)} per layer.`;
}

function complex([re, im]) {
  const real = number(Math.abs(re) < 1e-9 ? 0 : re);
  return im === 0 ? real : `${real} ${im > 0 ? "+" : "−"} ${number(Math.abs(im))}i`;
}
