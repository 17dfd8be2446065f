// A deep network in training on points of the plane; nothing here is drawn.

import { ACTIVATIONS, DenseNetwork, INITIALIZATIONS, random } from "./numerics.js";

const WIDTH = 16; // units of a hidden layer
const POINTS = 192;
const BATCH = 64;

// Where a point of class `side`, 0 or 1, lies; t runs from 0 to 1 through all points.
const SHAPES = {
  xor: (side, t, { uniform }) => {
    const right = uniform() < 0.5 ? 1 : -1;
    return [right * (0.25 + 1.4 * uniform()), (side ? -right : right) * (0.25 + 1.4 * uniform())];
  },
  rings: (side, t, { normal }) => polar((side ? 1.5 : 0.6) + 0.12 * normal(), 2 * Math.PI * t),
};

const polar = (r, angle) => [r * Math.cos(angle), r * Math.sin(angle)];

// { x, labels }: the points of both classes, in a random order, standardized together.
export function points(shape, seed) {
  const source = random(seed);
  const all = Array.from({ length: POINTS }, (_, k) => {
    const side = k % 2;
    return { side, at: SHAPES[shape](side, k / POINTS, source), order: source.uniform() };
  });
  all.sort((a, b) => a.order - b.order);
  const x = Float64Array.from(all.flatMap(({ at }) => at));
  for (const axis of [0, 1]) {
    const values = x.filter((_, k) => k % 2 === axis);
    const mean = values.reduce((sum, value) => sum + value) / POINTS;
    const std = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / POINTS);
    for (let k = axis; k < x.length; k += 2) x[k] = (x[k] - mean) / std;
  }
  return { x, labels: Uint8Array.from(all, ({ side }) => side) };
}

// A network in training. `losses` has the loss before every step, on the batch of that step, and the gradient of the
// last of them is in the network; `advance` takes the step that this gradient says.
export function training({ activation, data, depth, initialization, rate, seed }) {
  const { x, labels } = points(data, seed);
  const options = { initialization: INITIALIZATIONS[initialization], seed: seed + 1, batch: BATCH };
  const made = () => new DenseNetwork([2, ...Array(depth).fill(WIDTH), 2], ACTIVATIONS[activation], options);
  const network = made();
  const losses = [];
  const look = () => {
    const start = (losses.length * BATCH) % POINTS;
    network.forward(x.subarray(2 * start, 2 * (start + BATCH)));
    losses.push(network.backward(labels.subarray(start, start + BATCH)));
  };
  look();
  return {
    x, labels, network, losses,
    copy: made(), // for the map, which takes its time
    first: [...network.gradientNorms], // layer by layer, before the first step
    get diverged() { return !Number.isFinite(losses.at(-1)); },
    advance() {
      network.step(rate);
      look();
    },
  };
}
