// The exponential linear unit that has a chosen fixed point: its constants, its curve, and whether signals return.

import { figure, html, number, svg } from "./common.js";
import { ACTIVATIONS, eigenvalues, expectation, momentJacobian, momentMap, normalDensity, selu, seluConstants } from "./numerics.js";

const LEFT = { f: (z) => Math.expm1(Math.min(z, 0)), kinks: [0] }; // what is left of SELU for lambda -> 0
const [COLUMNS, ROWS, WIDE, HIGH] = [20, 12, 0.1, 0.25];
const CELLS = Array.from({ length: COLUMNS * ROWS }, (_, k) =>
  [-0.95 + WIDE * (k % COLUMNS), 0.125 + HIGH * Math.floor(k / COLUMNS)]);
const Z = Array.from({ length: 161 }, (_, k) => k / 20 - 4);

// SELU with the fixed point (mu, nu): { alpha, lam, f, values: eigenvalues of the map there }; null where there is none.
function design(mu, nu, omega, tau) {
  const constants = seluConstants(mu, nu, omega, tau);
  if (!constants) return null;
  const f = selu(constants.alpha, constants.lam);
  return { ...constants, f, values: eigenvalues(momentJacobian(f, mu, nu, omega, tau)) };
}

const radiusOf = (made) => (made ? Math.hypot(...made.values[0]) : -1);

export function compute({ mu, nu, omega, tau }) {
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
    radii: CELLS.map(([m, v]) => radiusOf(design(m, v, omega, tau))), // -1 where there is no SELU
  };
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
  return fig.start((state) => {
    const numbers = compute(state);
    plane.draw({
      x: { domain: [-1, 1], label: "target mean *μ*" }, y: { domain: [0, 3], label: "target variance *ν*" },
    }, (p) => cells(p, numbers.radii));
    graph.draw({ x: { domain: [-4, 4], label: "*z*" }, y: { domain: [-4, 4], label: "*f*(*z*)" } },
      (p) => curves(p, state, numbers));
    fig.say(sentence(state, numbers));
  });
}

// The spectral radius, as colour: blue below one, vermillion above, the stronger the further from it.
function cells(p, radii) {
  const [wide, high] = [p.x(WIDE) - p.x(0), p.y(0) - p.y(HIGH)];
  const shapes = {}; // by shade
  radii.forEach((radius, k) => {
    if (radius < 0) return;
    const shade = Math.max(-8, Math.min(8, Math.round(16 * (radius - 1)) || (radius < 1 ? -1 : 1)));
    const [x, y] = [p.x(CELLS[k][0] - WIDE / 2), p.y(CELLS[k][1] + HIGH / 2)];
    shapes[shade] = `${shapes[shade] ?? ""}M${x} ${y}h${wide}v${high}h${-wide}z`;
  });
  return Object.entries(shapes).map(([shade, d]) => svg("path", {
    class: `snn-fill snn-${shade < 0 ? "blue" : "vermillion"}`, "fill-opacity": 0.1 + 0.08 * Math.abs(shade), d,
  }));
}

function curves(p, { mu, nu, omega, tau }, { constants, curve }) {
  const [m, s] = [mu * omega, Math.sqrt(nu * tau)];
  const density = Z.map((z) => [z, -4 + 3 * normalDensity((z - m) / s) / s]);
  const [alpha, lam] = constants;
  return [p.clip(
    svg("path", { class: "snn-fill snn-muted", "fill-opacity": 0.2, d: `M${[[-4, -4], ...density, [4, -4]].map(([a, b]) => `${p.x(a)} ${p.y(b)}`).join("L")}z` }),
    p.line(Z.map((z) => [z, ACTIVATIONS.selu.f(z)]), { color: "muted", dash: "2 4", width: 1.5 }),
    ...(curve.length ? [p.line(curve.map((y, k) => [Z[k], y]), { color: "vermillion", width: 2.5 })] : []),
  ), ...(curve.length ? [
    p.text([-3.9, -lam * alpha - 0.35], `−*λα* = ${number(-lam * alpha)}`, { color: "vermillion" }),
    p.text([2.2, Math.min(3.6, 2.2 * lam + 0.9)], `slope *λ* = ${number(lam)}`, { color: "vermillion", anchor: "end" }),
  ] : [])];
}

function sentence({ mu, nu }, { constants, eigenvalues: values, chi, reach }) {
  const target = `(${number(mu)}, ${number(nu)})`;
  if (!constants.length) {
    const [low, high] = reach.map((share) => number(share));
    return `No SELU has the fixed point ${target}. Its mean is ${number(mu / Math.sqrt(nu))} standard deviations; possible is from ${low} (*λ* = 0) to ${high} (*α* = 0, ReLU).`;
  }
  const [alpha, lam] = constants;
  const radius = Math.hypot(...values[0]);
  const words = values.map(([re, im]) => number(Math.abs(re) < 1e-9 ? 0 : re) + (im ? `${im > 0 ? " + " : " − "}${number(Math.abs(im))}i` : ""));
  const effect = radius < 1 ? `attracts: a small deviation is halved in ${number(-Math.LN2 / Math.log(radius))} layers` : "repels: signals do not return to it";
  return `*α* = ${number(alpha, 5)} and *λ* = ${number(lam, 5)} make ${target} a fixed point. It ${effect} (eigenvalues ${words.join(" and ")}). Price: *χ* = ${number(chi, 4)}.`;
}
