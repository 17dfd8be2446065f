// One forward and one backward pass through a network of widths 2, 3, 2, 1, every number on its node or edge.

import { figure, html, number, svg } from "./common.js";
import { ACTIVATIONS } from "./numerics.js";

const WIDTHS = [2, 3, 2, 1];
const N = WIDTHS.length - 1;
const LAST = 2 * N + 1; // steps: N layers forwards, the loss, N layers backwards
const H = 1e-4; // the nudge
const { f, derivative } = ACTIVATIONS.tanh;

// The weights W^(1), W^(2), W^(3), row by row: number k leads from unit `from` of layer - 1 to unit `to` of the layer.
const EDGES = WIDTHS.slice(1).flatMap((m, i) => Array.from({ length: m * WIDTHS[i] }, (_, k) =>
  ({ layer: i + 1, to: Math.floor(k / WIDTHS[i]), from: k % WIDTHS[i] })));
EDGES.forEach((edge, k) => { edge.k = k; });

// Values and slopes of all layers; y[0] are the inputs, and the last layer is linear.
function forward(weights, x) {
  const y = [x];
  const slopes = [[]];
  for (let i = 1; i <= N; i++) {
    const z = Array(WIDTHS[i]).fill(0);
    for (const { k, from, to } of edgesOf(i)) z[to] += weights[k] * y[i - 1][from];
    y.push(i < N ? z.map(f) : z);
    slopes.push(z.map(i < N ? derivative : () => 1));
  }
  return { y, slopes };
}

const edgesOf = (layer) => EDGES.filter((edge) => edge.layer === layer);

// The sweep from the loss to the inputs, which meets every edge once.
function backward(weights, { y, slopes }, t) {
  const u = WIDTHS.map((width) => Array(width).fill(0));
  const gradients = [];
  u[N][0] = y[N][0] - t;
  for (let i = N; i >= 1; i--) {
    for (const { k, from, to } of edgesOf(i)) {
      const delta = u[i][to] * slopes[i][to];
      gradients[k] = y[i - 1][from] * delta;
      u[i - 1][from] += delta * weights[k];
    }
  }
  return { u, gradients };
}

function loss(weights, x, t) {
  return (forward(weights, x).y[N][0] - t) ** 2 / 2;
}

function pass({ chosen, t, weights, x }) {
  const values = forward(weights, x);
  const nudged = (h) => loss(weights.map((w, k) => (k === chosen ? w + h : w)), x, t);
  const difference = (nudged(H) - nudged(-H)) / (2 * H);
  return { ...values, ...backward(weights, values, t), loss: loss(weights, x, t), difference };
}

export function compute(state) {
  const { y, slopes, u, ...rest } = pass(state);
  return { y: y.flat(), slopes: slopes.flat(), u: u.flat(), ...rest };
}

// --- the drawing -----------------------------------------------------------------------------------------------------

// Units stand at [layer, height]; a weight's handle sits where those of its layer are apart, on a phone too.
const place = (layer, unit) => [layer, (WIDTHS[layer] - 1) / 2 - unit];
const between = ([a, b], [c, d], share) => [a + share * (c - a), b + share * (d - b)];
const ends = ({ layer, from, to }) => [place(layer - 1, from), place(layer, to)];
const seat = (edge) => between(...ends(edge), edge.layer === 1 ? 0.7 : 0.3);

// Whether a step has shown the values of a layer, what arrives there on the way back, and the derivatives of its weights.
const reached = (step, layer) => step >= layer;
const returned = (step, layer) => step >= LAST - layer;
const swept = (step, layer) => returned(step, layer - 1);

const decimals = (value, digits = 2) => value.toFixed(digits).replace("-", "−");
const weight = ({ layer, from, to }) => `*W*^{(${layer})}_{${to + 1}${from + 1}}`;
const start = ({ layer, from }) => (layer === 1 ? `*x*_{${from + 1}}` : `*y*^{(${layer - 1})}_{${from + 1}}`);

export function render({ model, el }) {
  const fig = figure({ model, el, label: "A forward and a backward pass" });
  const turn = (by) => ({ step }) => ({ step: (step + by + LAST + 1) % (LAST + 1) });
  fig.button("‹ step back", turn(-1));
  fig.button("next step ›", turn(1));
  fig.slider("step", { label: "step", step: 1, format: (step) => `${step} of ${LAST}` });
  const plot = fig.plot({
    label: "The network as a graph", height: 350, margin: { left: 20, right: 20, top: 14, bottom: 6 },
  });
  for (const edge of EDGES) {
    const { min, max } = fig.limits.weights.of;
    const knob = plot.handle({
      label: `weight ${weight(edge)}`, color: "purple", format: (value) => decimals(value),
      at: () => seat(edge),
      y: {
        step: 0.05, min, max, to: () => seat(edge)[1],
        from: (height, now, { grip }) => grip.now.weights[edge.k] + 1.5 * (height - grip.y),
        get: ({ weights }) => weights[edge.k],
        set: (value, { weights }) => ({ chosen: edge.k, weights: weights.map((w, k) => (k === edge.k ? value : w)) }),
      },
    });
    knob.addEventListener("focus", () => fig.change({ chosen: edge.k }));
  }
  fig.body.append(html("p", { class: "snn-key" },
    html("span", {}, "In a node: its ", html("b", { class: "snn-blue" }, "value"), ". Below it: the "),
    html("b", { class: "snn-green" }, "slope *f*′(*z*)"), ". Above it: ",
    html("b", { class: "snn-vermillion" }, "*u* = d*L*/d*y*"), ". On an edge: the weight; below that, ",
    html("b", { class: "snn-vermillion" }, "∂*L*/∂*W*"), "."));
  return fig.start((state) => {
    const result = pass(state);
    const axes = { x: { domain: [0, N], ticks: false }, y: { domain: [-1.4, 1.65], ticks: false } };
    plot.draw(axes, (p) => [
      ...EDGES.flatMap((edge) => drawEdge(p, edge, state, result)),
      ...WIDTHS.flatMap((width, layer) =>
        Array.from({ length: width }, (_, unit) => drawUnit(p, layer, unit, state, result)).flat()),
      ...WIDTHS.map((_, i) => p.text([i, 1.58], i ? `*y*^{(${i})}` : "*x*", { anchor: "middle" })),
      ...(state.step > N ? [svg("text", { class: "snn-ink", x: p.x(N) + 19, y: p.y(-1), "text-anchor": "end" },
        `*L* = ${number(result.loss)}`)] : []),
    ]);
    fig.say(`${told(state, result)} ${checked(state, result)}`);
  });
}

function drawEdge(p, edge, { chosen, step, weights }, { gradients }) {
  const { k, layer } = edge;
  const size = Math.abs(weights[k]);
  const color = swept(step, layer) ? "vermillion" : reached(step, layer) ? "blue" : "muted";
  const marks = [p.line(ends(edge), { color, width: 0.5 + 1.4 * size, dash: weights[k] < 0 ? "5 4" : undefined })];
  if (k === chosen) marks.unshift(svg("g", { class: "snn-halo" }, p.line(ends(edge), { color: "purple", width: 16 })));
  const [x, y] = seat(edge);
  const words = (text, down, color) => svg("text", {
    class: `snn-${color}`, x: p.x(x) + (layer === 1 ? -9 : 9), y: p.y(y) + down,
    "text-anchor": layer === 1 ? "end" : "start",
  }, text);
  marks.push(words(decimals(weights[k]), -2, "ink"));
  if (swept(step, layer)) marks.push(words(decimals(gradients[k]), 12, "vermillion"));
  return marks;
}

function drawUnit(p, layer, unit, { step }, { y, slopes, u }) {
  const [x, up] = place(layer, unit);
  const at = { x: p.x(x), y: p.y(up) };
  const words = (text, down, color) =>
    svg("text", { class: `snn-${color}`, x: at.x, y: at.y + down, "text-anchor": "middle" }, text);
  const color = returned(step, layer) ? "vermillion" : reached(step, layer) ? "blue" : "muted";
  const marks = [svg("circle", { class: `snn-unit snn-${color}`, cx: at.x, cy: at.y, r: 19 })];
  if (reached(step, layer)) marks.push(words(decimals(y[layer][unit]), 4, "blue"));
  if (reached(step, layer) && layer) marks.push(words(decimals(slopes[layer][unit]), 33, "green"));
  if (returned(step, layer)) marks.push(words(decimals(u[layer][unit]), -24, "vermillion"));
  return marks;
}

// What the step has done.
function told({ step, t }, { u, loss }) {
  if (step === 0) return "Only the inputs are known. Go on step by step; drag a weight up or down at any time.";
  if (step <= N) return `Forwards, layer ${step}: sum, squash, and keep the slope for the way back.`;
  if (step === N + 1)
    return `The loss: *L* = ½(*y* − *t*)^{2} = ${number(loss)} with *t* = ${number(t)}. ` +
      `The way back starts with *u*^{(${N})} = *y* − *t* = ${number(u[N][0])}.`;
  const layer = LAST + 1 - step;
  const visited = EDGES.filter((edge) => edge.layer >= layer).length;
  const visits = `${visited} of ${EDGES.length} edges visited, each once`;
  if (layer > 1) return `Backwards, layer ${layer}: ${visits}.`;
  return `One sweep, all derivatives: ${visits}. To nudge every weight would take ${2 * EDGES.length} runs of the network.`;
}

// The derivative of the chosen weight, by the sweep and by a nudge.
function checked({ chosen, step }, { y, slopes, u, gradients, difference }) {
  const edge = EDGES[chosen];
  const { layer, from, to } = edge;
  const nudge = `Nudging ${weight(edge)}`;
  if (!swept(step, layer)) return `${nudge} moves *L* by ${number(difference)} per unit: what will the sweep say?`;
  const factors = [y[layer - 1][from], slopes[layer][to], u[layer][to]].map((value) => number(value));
  const product = `${start(edge)} · *f*′ · *u* = ${factors.join(" · ")}`;
  return `∂*L*/∂${weight(edge)} = ${product} = ${number(gradients[chosen])}; ` +
    `nudging the weight gives ${number(difference)}.`;
}
