// The derivative that arrives at every layer of a chain of single neurons: u^(i) = c^(N - i).

import { figure, number } from "./common.js";

// [name, smallest positive number, largest number]
const FORMATS = [
  ["float16", 2 ** -24, 65504],
  ["bfloat16", 2 ** -133, (2 - 2 ** -7) * 2 ** 127],
  ["float32", 2 ** -149, (2 - 2 ** -23) * 2 ** 127],
];
const REACH = [5, 10, 20, 50, 100, 200, 310]; // decades that the axis may show

export function compute({ c, N }) {
  const u = Array.from({ length: N }, (_, k) => c ** (N - 1 - k));
  const outside = (low, high) => u.filter((value) => value < low || value > high).length;
  return { u, xi: -1 / Math.log(c), outside: FORMATS.map(([, low, high]) => outside(low, high)) };
}

export function render({ model, el }) {
  const fig = figure({ model, el, label: "Derivatives in a chain of single neurons" });
  fig.slider("c", { label: "factor per layer *c*", step: 0.001, format: (c) => c.toFixed(3) });
  fig.slider("N", { label: "layers *N*", step: 1, format: String });
  const plot = fig.plot({ label: "The derivative that arrives at each layer, on a logarithmic axis" });
  plot.handle({
    label: "derivative at the first layer, which sets the factor c",
    at: () => [1, 1],
    y: { name: "c", step: 0.001, to: (c, { N }) => c ** (N - 1), from: (u, { N }) => u ** (1 / (N - 1)) },
    format: (c) => `c = ${c.toFixed(3)}`,
  });
  return fig.start((state) => {
    const { u, xi, outside } = compute(state);
    const exponent = Math.log10(u[0]);
    const reach = REACH.find((decades) => decades >= 1.05 * Math.abs(exponent)) ?? REACH.at(-1);
    const domain = exponent > 0 ? [-reach / 20, reach] : [-reach, reach / 20];
    const axes = {
      x: { domain: [0.4, state.N + 0.6], label: "layer *i*" },
      y: { domain: domain.map((decades) => 10 ** decades), log: true, label: "*u*^{(i)}" },
    };
    plot.draw(axes, (p) => [
      p.bars(u.map((value, k) => [k + 1, value]), { base: 1 }),
      p.rule(1),
      ...limits(exponent > 0 ? 2 : 1, axes.y.domain).map(([name, level, below]) =>
        p.rule(level, { color: "vermillion", dash: "5 4", text: name, below })),
    ]);
    fig.say(sentence(state, u[0], xi, outside));
  });
}

// The ends of the formats' ranges that lie on the axis: [words, level, whether the words go below].
function limits(end, [low, high]) {
  const on = FORMATS.filter((format) => format[end] > low && format[end] < high);
  if (end === 1) return on.map(([name, smallest]) => [`smallest ${name}`, smallest, name !== "bfloat16"]);
  // The largest numbers of bfloat16 and float32 lie too near to each other for two lines.
  return on.filter(([name]) => name !== "bfloat16")
    .map(([name, , largest]) => [`largest ${name === "float32" ? "bfloat16, float32" : name}`, largest, false]);
}

function sentence({ c, N }, first, xi, outside) {
  const scale = c === 1 ? "nothing is lost" : `depth scale *ξ* = ${number(xi)}`;
  const lost = FORMATS.map(([name], k) => [name, outside[k]]).filter(([, layers]) => layers);
  const words = lost.map(([name, layers]) => `${layers} for ${name}`).join(", ");
  const range = lost.length ? `Layers whose derivative is out of range: ${words}.` : "All three formats hold every layer's derivative.";
  return `*u*^{(1)} = *c*^{N−1} = ${number(first)}; ${scale}. ${range}`;
}
