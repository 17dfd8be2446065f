// A signal on its way forwards and a gradient on its way back: theory, and random networks drawn in the page.

import { ACTIVATION_WORDS, figure, inSlices, number } from "./common.js";
import { ACTIVATIONS, chi, gradientPath, random, variancePath } from "./numerics.js";

const NETWORKS = 4;
const REST = 80; // ms without a change before networks are drawn

// q: the variance of the pre-activations; gradient: |delta^(l)|^2 relative to the last layer's; chi: at the last layer.
export function compute({ activation, sigma_w, sigma_b, N, q }) {
  const f = ACTIVATIONS[activation];
  const path = variancePath(f, N, sigma_w, sigma_b, q);
  return { q: path, gradient: gradientPath(f, path, sigma_w), chi: chi(f, sigma_w, path[N - 1]) };
}

// Draw networks of width n and run them: a generator that comes up for air after every layer, and yields
// { q, gradient } after every network, in the order of SignalThroughDepth.measured in Python.
export function* networks({ activation, sigma_w, sigma_b, N, n, q, seed }) {
  const { f, derivative } = ACTIVATIONS[activation];
  const { normal } = random(seed);
  const draw = (length, scale) => Float64Array.from({ length }, () => scale * normal());
  const meanSquare = (z) => z.reduce((sum, value) => sum + value * value, 0) / n;
  const [W, z] = [[], []];
  for (let k = 0; k < NETWORKS; k++) {
    z[0] = draw(n, Math.sqrt(q));
    for (let l = 1; l < N; l++) {
      W[l] = draw(n * n, sigma_w / Math.sqrt(n));
      z[l] = draw(n, sigma_b);
      const y = z[l - 1].map(f);
      for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) z[l][i] += W[l][i * n + j] * y[j];
      yield null;
    }
    let delta = draw(n, 1).map((value, i) => value * derivative(z[N - 1][i]));
    const squared = [meanSquare(delta)];
    for (let l = N - 1; l > 0; l--) {
      const row = new Float64Array(n);
      for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) row[j] += delta[i] * W[l][i * n + j];
      delta = row.map((value, j) => value * derivative(z[l - 1][j]));
      squared.unshift(meanSquare(delta));
      yield null;
    }
    yield { q: z.map(meanSquare), gradient: squared.map((value) => value / squared[N - 1]) };
  }
}

export function render({ model, el }) {
  const fig = figure({ model, el, label: "A signal and a gradient through depth" });
  fig.select("activation", { label: "activation", words: ACTIVATION_WORDS });
  fig.button("LeCun", () => ({ sigma_w: 1 }));
  fig.button("He", () => ({ sigma_w: Math.SQRT2 }));
  fig.button("new draw", ({ seed }) => ({ seed: (seed + 1) % 10000 }));
  fig.slider("sigma_w", { label: "weights *σ*_{w}", step: 0.005, format: (value) => value.toFixed(3) });
  fig.slider("sigma_b", { label: "biases *σ*_{b}", step: 0.01, format: (value) => value.toFixed(2) });
  fig.slider("N", { label: "layers *N*", step: 1, format: String });
  fig.slider("n", { label: "width *n*", step: 10, format: String });
  const forwards = fig.plot({ label: "Variance of the pre-activations of every layer, on a logarithmic axis", height: 260, margin: { top: 34 } });
  forwards.handle({
    label: "variance of the first layer's pre-activations",
    at: () => [1, 1],
    y: { name: "q", step: 0.1 },
    format: (q) => `q = ${number(q)}`,
    color: "green",
  });
  const backwards = fig.plot({ label: "Squared norm of the gradient at every layer, on a logarithmic axis", height: 260, margin: { top: 34 } });
  fig.legend([
    ["blue", "line", "theory of infinitely wide layers"],
    ["vermillion", "dot", `${NETWORKS} random networks of width *n*, run in this page`],
    ["green", "dot", "*q*_{1}, to be dragged"],
  ]);

  let measured = []; // the networks that are done,
  let of = ""; // for this state
  let stop = () => {};
  function measure(state) {
    if (of === JSON.stringify(state)) return;
    of = JSON.stringify(state);
    measured = [];
    stop();
    stop = inSlices(networks(state), (network) => {
      measured.push(network);
      fig.schedule();
    }, REST);
  }
  const end = fig.start((state) => {
    measure(state);
    const found = compute(state);
    draw(forwards, state, found.q, measured.map(({ q }) => q), "*q*_{l}");
    draw(backwards, state, found.gradient, measured.map(({ gradient }) => gradient), "|*δ*^{(l)}|² ⁄ |*δ*^{(N)}|²");
    fig.say(sentence(state, found));
  });
  return () => {
    stop();
    end();
  };
}

// One panel: the theory's values and those of the measured networks against the layer.
function draw(plot, { N }, theory, measured, label) {
  const decades = [...theory, ...measured.flat()].map(Math.log10).filter(Number.isFinite);
  const [low, high] = [Math.floor(Math.min(-2, ...decades) - 0.5), Math.ceil(Math.max(2, ...decades) + 0.5)];
  const axes = {
    x: { domain: [1, N], label: "layer *l*" },
    y: { domain: [10 ** low, 10 ** high], log: true, label },
  };
  const points = (values) => values.map((value, l) => [l + 1, value]).filter(([, value]) => value > 0);
  plot.draw(axes, (p) => [
    p.rule(1),
    ...measured.map((values) => p.points(points(values), { color: "vermillion", size: 1.6 })),
    p.line(points(theory)),
    measured.length < NETWORKS && p.text([N, p.y.invert(p.y.from - 8)], "measuring …", { color: "muted", anchor: "end" }),
  ].filter(Boolean));
}

// What a factor amounts to, in words; those between 1 / limit and limit keep the size.
function fate(factor, limit, [less, same, more]) {
  return factor < 1 / limit ? less : factor > limit ? more : same;
}

function sentence({ N }, { q, gradient, chi }) {
  const late = q[N - 1] / q[Math.floor((N - 1) / 2)]; // the first layers may still seek their size
  const signal = fate(late, 1.6, ["the signal fades", "the signal is kept", "the signal grows"]);
  const back = fate(gradient[0], 10, ["the gradient vanishes", "the gradient keeps its order of magnitude", "the gradient explodes"]);
  return `Forwards, *q*_{1} = ${number(q[0])} becomes *q*_{N} = ${number(q[N - 1])}: ${signal}. `
    + `Backwards, |*δ*|² is multiplied by ${number(gradient[0])} on its way to layer 1: ${back}. `
    + `In the last layer *χ* = ${number(chi, 4)}.`;
}
