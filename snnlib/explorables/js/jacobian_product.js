// The unit circle, carried through random layers of two units, and what the layers do to a vector v.

import { ACTIVATION_WORDS, figure, number, svg } from "./common.js";
import { ACTIVATIONS, chain, eigenvalues, random, svd } from "./numerics.js";

const EULER = 0.57721566490153286;
const GAUSSIAN = [-EULER / 2, -EULER / 2 - Math.LN2]; // Lyapunov exponents of 2x2 matrices of variance 1/2
const LOST = 1e-100; // singular values whose ratio is below count as one, and a zero
const WEIGHTS = {
  gaussian: "Gaussian, each its own",
  repeated: "Gaussian, one for all",
  orthogonal: "rotations, each its own",
};
const REACH = [1, 2, 3, 4, 6, 8, 10, 15, 20, 30, 40, 60, 80, 100, 150, 200, 300]; // decades that the axis may show, up and down
const CIRCLE = Array.from({ length: 97 }, (_, k) => direction(k * 3.75));

function direction(degrees) {
  const angle = (degrees * Math.PI) / 180;
  return [Math.cos(angle), Math.sin(angle)];
}

function times([a, b, c, d], [x, y]) {
  return [a * x + b * y, c * x + d * y];
}

// The Jacobians of the layers, [a, b, c, d] row by row.
function jacobians({ activation, sigma_w, N, weights, seed }) {
  const { f, derivative } = ACTIVATIONS[activation];
  const { normal } = random(seed);
  let y = [normal(), normal()];
  let W;
  return Array.from({ length: N }, (_, i) => {
    const drawn = Array.from({ length: 4 }, normal);
    if (weights === "orthogonal") {
      const [c, s] = [drawn[0], drawn[1]].map((entry) => (sigma_w * entry) / Math.hypot(drawn[0], drawn[1]));
      W = [c, -s, s, c];
    } else if (i === 0 || weights === "gaussian") W = drawn.map((entry) => sigma_w * Math.SQRT1_2 * entry);
    const z = times(W, y);
    const [first, second] = z.map(derivative);
    y = z.map(f);
    return [first * W[0], first * W[1], second * W[2], second * W[3]];
  });
}

// For the products of the first 1, 2, ..., N layers, in decades (-Infinity for zero): their singular values, the
// absolute values of their eigenvalues, and how long v becomes; `complex` tells which have complex eigenvalues, `image`
// is the product divided by its largest singular value. radii: the products of the factors' spectral radii.
// theory: by how many decades a layer moves the two singular values of a long product, where that is known.
export function compute(state) {
  const J = jacobians(state);
  const found = { singular: [], eigen: [], complex: [], length: [], image: [], radii: [] };
  const v = direction(state.angle);
  let sum = 0;
  J.forEach((factor, i) => {
    const { matrix, det, exponent } = chain(J.slice(0, i + 1));
    const alone = chain([factor]);
    const { s } = svd(matrix, det);
    const lost = !(s[1] > LOST * s[0]);
    const values = eigenvalues(matrix, lost ? 0 : det);
    const decades = (value, power = exponent) => Math.log10(value) + power * Math.log10(2);
    sum += decades(Math.hypot(...eigenvalues(alone.matrix, alone.det)[0]), alone.exponent);
    found.singular.push([decades(s[0]), decades(lost ? 0 : s[1])]);
    found.eigen.push(values.map((value) => decades(Math.hypot(...value))));
    found.complex.push(values[0][1] !== 0);
    found.image.push(s[0] > 0 ? matrix.map((entry) => entry / s[0]) : matrix);
    found.length.push(decades(Math.hypot(...times(matrix, v))));
    found.radii.push(sum);
  });
  return { ...found, theory: theory(state, found) };
}

function theory({ activation, sigma_w, weights }, { eigen }) {
  if (activation !== "identity") return [];
  if (weights === "repeated") return eigen[0];
  return [0, 1].map((k) => ((weights === "gaussian" ? GAUSSIAN[k] : 0) + Math.log(sigma_w)) / Math.LN10);
}

export function render({ model, el }) {
  const fig = figure({ model, el, label: "The unit circle carried through random layers" });
  fig.select("weights", { label: "weights", words: WEIGHTS });
  fig.select("activation", { label: "activation", words: ACTIVATION_WORDS });
  fig.button("new draw", ({ seed }) => ({ seed: (seed + 1) % 10000 }));
  fig.slider("sigma_w", { label: "size *σ*_{w}", step: 0.005, format: (value) => value.toFixed(2) });
  fig.slider("N", { label: "layers *N*", step: 1, format: String });
  const plane = fig.plot({
    label: "The unit circle and its image, drawn with a longest half-axis of one",
    margin: { left: 10, right: 10, top: 8, bottom: 26 },
  });
  plane.handle({
    label: "direction of the vector v, in degrees",
    at: ({ angle }) => direction(angle),
    x: {
      name: "angle",
      step: 2,
      to: (angle) => direction(angle)[0],
      from: (_, state, { x, y }) => ((Math.atan2(y, x) * 180) / Math.PI + 360) % 360,
    },
    format: (angle) => `${angle.toFixed(0)}°`,
    color: "green",
  });
  const growth = fig.plot({
    label: "Singular values and eigenvalues of the product of the first layers, on a logarithmic axis",
    margin: { top: 56, right: 34 },
  });
  fig.legend([
    ["blue", "line", "singular values of the product"],
    ["green", "line", "what becomes of *v*"],
    ["vermillion", "dot", "eigenvalues of the product, absolute"],
    ["vermillion", "ring", "a complex pair"],
    ["vermillion", "dash", "largest eigenvalues of the layers, multiplied"],
    ["muted", "dash", "theory for many layers"],
  ]);
  return fig.start((state) => {
    const found = compute(state);
    drawPlane(plane, state, found);
    drawGrowth(growth, state, found);
    fig.say(sentence(state, found));
  });
}

// The image of a circle of radius r pixels under a matrix.
function ellipse(matrix, r, [x, y], attributes) {
  const points = CIRCLE.map((point) => times(matrix, point)).map(([a, b]) => `${(x + r * a).toFixed(1)} ${(y - r * b).toFixed(1)}`);
  return svg("path", { class: "snn-line snn-blue", ...attributes, d: `M${points.join("L")}z` });
}

function drawPlane(plane, { N, angle }, { image, singular }) {
  const v = direction(angle);
  const carried = times(image[N - 1], v);
  const size = singular[N - 1][0];
  const words = size === -Infinity ? "the image is a point"
    : `image drawn ${number(10 ** Math.abs(size))} times ${size < 0 ? "larger" : "smaller"}`;
  plane.draw({ plane: true, x: { domain: [-1.2, 1.2] }, y: { domain: [-1.2, 1.2] } }, (p) => {
    const [centre, r] = [[p.x(0), p.y(0)], p.x(1) - p.x(0)];
    return [
      ellipse([1, 0, 0, 1], r, centre, { class: "snn-line snn-muted", "stroke-dasharray": "2 4" }),
      ellipse(image[N - 1], r, centre, { "stroke-width": 2, style: "fill: currentColor; fill-opacity: 0.18" }),
      p.line([[0, 0], v], { color: "green", width: 1.2, dash: "2 4" }),
      p.line([[0, 0], carried], { color: "green" }),
      p.points([carried], { color: "green", size: 3.5 }),
      svg("text", { class: "snn-ink", x: centre[0] + 1.14 * r * v[0], y: centre[1] - 1.14 * r * v[1] + 4, "text-anchor": "middle" }, "*v*"),
      svg("text", { x: centre[0], y: p.y.from + 18, "text-anchor": "middle" }, words),
    ];
  });
}

function drawGrowth(growth, { N }, { singular, eigen, complex, length, image, radii, theory }) {
  const path = (decades) => decades.map((value, i) => [i + 1, 10 ** value]).filter(([, value]) => value > 0);
  const pick = (pairs, k) => path(pairs.map((pair) => pair[k]));
  const all = [...singular.flat(), ...radii, ...theory.map((rate) => N * rate)].filter(Number.isFinite);
  const reach = (decades) => REACH.find((step) => step >= decades) ?? REACH.at(-1);
  const axes = {
    x: { domain: [0.4, N + 0.6], label: "layers 1 to *i*" },
    y: { domain: [10 ** -reach(-Math.min(0, ...all)), 10 ** reach(Math.max(0, ...all))], log: true, label: "growth" },
  };
  growth.draw(axes, (p) => {
    const every = Math.ceil((N * 20) / (p.x.to - p.x.from)); // layers from one small ellipse to the next
    const shown = image.map((matrix, i) => [matrix, i]).filter(([, i]) => (N - 1 - i) % every === 0);
    const dots = [0, 1].flatMap((k) => pick(eigen, k));
    const ends = singular[N - 1].filter(Number.isFinite).map((value) => p.y.inside(10 ** value) + 4);
    ends[1] = Math.max(ends[1], ends[0] + 16); // the names do not cover each other
    const name = (words, k) => ends[k] && svg("text", { class: "snn-ink", x: p.x.to + 4, y: ends[k] }, words);
    return [
      p.rule(1),
      ...shown.map(([matrix, i]) => ellipse(matrix, 9, [p.x(i + 1), 16], { "stroke-width": 1.2 })),
      ...theory.map((rate) => p.line([[0.4, 10 ** (0.4 * rate)], [N, 10 ** (N * rate)]], { color: "muted", width: 1.2, dash: "6 4" })),
      p.line(path(radii), { color: "vermillion", width: 1.5, dash: "5 4" }),
      p.line(path(length), { color: "green", width: 1.5 }),
      ...[0, 1].map((k) => p.line(pick(singular, k))),
      p.points(dots, { color: "vermillion", size: 3.2 }),
      p.points(dots.filter(([i]) => complex[i - 1]), { color: "ground", size: 1.8 }),
      ...["*σ*_{1}", "*σ*_{2}"].map(name),
    ].filter(Boolean);
  });
}

function sentence({ N, weights }, { singular, eigen, complex, length, radii, theory }) {
  const [large, small] = singular[N - 1];
  const power = (decades) => number(10 ** decades);
  if (large === -Infinity) {
    const dead = singular.findIndex(([value]) => value === -Infinity) + 1;
    return `Both slopes of layer ${dead} are zero: from there on the product is exactly zero, and no derivative comes back.`;
  }
  const ratio = large - small;
  const shape = small === -Infinity ? "a line: one direction is lost for good" : ratio < 0.01 ? "still a circle"
    : `${ratio > 2 ? "a needle" : "an ellipse"}, ${power(ratio)} times as long as wide`;
  const rate = (decades) => number(10 ** (decades / N));
  const pair = complex[N - 1] ? `a complex pair of absolute value ${power(eigen[N - 1][0])}: no direction is kept`
    : `${power(eigen[N - 1][0])} and ${power(eigen[N - 1][1])} in absolute value`;
  const expected = theory.length ? `; in the long run theory says ${number(10 ** theory[0])}` : "";
  const rule = weights === "repeated" ? "" : `, the eigenvalues of the layers say ${rate(radii[N - 1])}`;
  return `*σ*_{1} = ${power(large)}, *σ*_{2} = ${power(small)}: ${shape}. Eigenvalues of the product: ${pair}. `
    + `Per layer, *v* was multiplied by ${rate(length[N - 1])}${expected}${rule}.`;
}
