// A small deep network that is trained in the page, a few milliseconds per frame, on points of the plane.

import { figure, html, number } from "./common.js";
import { ACTIVATIONS, DenseNetwork, INITIALIZATIONS, random } from "./numerics.js";

const WIDTH = 16; // units of a hidden layer
const POINTS = 192;
const BATCH = 64;
const BUDGET = 10; // ms of a frame that training and the map of the plane may take together
const CELLS = 48; // of the map, across and down
const REACH = 2.2; // the map shows the plane from -REACH to REACH
const SETTINGS = ["activation", "data", "depth", "initialization", "rate", "seed"];

// Where point k of a class, 0 or 1, lies; its share t of the way runs from 0 to 1.
const SHAPES = {
  corners: (side, t, { uniform }) => {
    const right = uniform() < 0.5 ? 1 : -1;
    return [right * (0.25 + 1.4 * uniform()), (side ? -right : right) * (0.25 + 1.4 * uniform())];
  },
  rings: (side, t, { normal }) => polar((side ? 1.5 : 0.6) + 0.12 * normal(), 2 * Math.PI * t),
  spirals: (side, t, { normal }) => polar(0.2 + 1.7 * t + 0.04 * normal(), 3.5 * t * Math.PI + side * Math.PI),
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
  const widths = [2, ...Array(depth).fill(WIDTH), 2];
  const options = { initialization: INITIALIZATIONS[initialization], seed: seed + 1, batch: BATCH };
  const network = new DenseNetwork(widths, ACTIVATIONS[activation], options);
  const losses = [];
  const look = () => {
    const start = (losses.length * BATCH) % POINTS;
    network.forward(x.subarray(2 * start, 2 * (start + BATCH)));
    losses.push(network.backward(labels.subarray(start, start + BATCH)));
  };
  look();
  return {
    x, labels, network, losses,
    first: [...network.gradientNorms], // layer by layer, before the first step
    get diverged() { return !Number.isFinite(losses.at(-1)); },
    advance() {
      network.step(rate);
      look();
    },
  };
}

// What the figure shows of the state itself: the gradients' norms before the first step. The rest comes from training.
export function compute(state) {
  const { first, losses } = training(state);
  return { first, loss: losses[0] };
}

// --- the map of the plane --------------------------------------------------------------------------------------------

// A canvas that shows which class the network gives to each place of the plane, line by line as time allows.
function planeMap(fig) {
  const canvas = html("canvas", { class: "snn-map", width: 480, height: 480, role: "img", "aria-label":
    "The points of both classes in the plane, on the classes that the network gives to each place" });
  fig.body.append(html("div", { class: "snn-place" }, canvas));
  const context = canvas.getContext("2d");
  const cells = new OffscreenCanvas(CELLS, CELLS).getContext("2d");
  const image = cells.createImageData(CELLS, CELLS);
  const row = new Float64Array(2 * CELLS);
  const pixel = (value) => ((value + REACH) / (2 * REACH)) * canvas.width;
  const colors = () => ["--snn-blue", "--snn-vermillion", "--snn-ground"]
    .map((name) => getComputedStyle(canvas).getPropertyValue(name));
  const shades = [[31, 130, 191], [213, 94, 0]];
  let line = 0; // the next one
  let due = 0; // lines that are older than the network
  return {
    // The network has changed.
    age() { due = CELLS; },
    get done() { return due === 0; },
    // Bring one line up to date.
    refresh(network) {
      const y = REACH - ((line + 0.5) / CELLS) * 2 * REACH;
      for (let k = 0; k < CELLS; k++) row.set([((k + 0.5) / CELLS) * 2 * REACH - REACH, y], 2 * k);
      const logits = network.forward(row);
      for (let k = 0; k < CELLS; k++) {
        const lead = Math.tanh((logits[2 * k + 1] - logits[2 * k]) / 2); // p(1) - p(0)
        image.data.set([...shades[lead > 0 ? 1 : 0], 170 * Math.abs(lead)], 4 * (line * CELLS + k));
      }
      line = (line + 1) % CELLS;
      due--;
    },
    draw({ x, labels }) {
      const [blue, vermillion, ground] = colors();
      cells.putImageData(image, 0, 0);
      context.clearRect(0, 0, canvas.width, canvas.height);
      context.drawImage(cells.canvas, 0, 0, canvas.width, canvas.height);
      context.strokeStyle = ground;
      context.lineWidth = 2;
      labels.forEach((label, k) => { // discs and squares
        const [across, down] = [pixel(x[2 * k]), pixel(-x[2 * k + 1])];
        context.fillStyle = label ? vermillion : blue;
        context.beginPath();
        if (label) context.rect(across - 6, down - 6, 12, 12);
        else context.arc(across, down, 7, 0, 2 * Math.PI);
        context.fill();
        context.stroke();
      });
    },
  };
}

// --- the figure ------------------------------------------------------------------------------------------------------

const GUESSING = Math.LN2; // the loss of a network that finds both classes equally likely
const DECADES = [2, 4, 8, 16, 32, 64]; // that the axis of the norms may reach below or above 1

export function render({ model, el }) {
  const fig = figure({ model, el, label: "A deep network, trained in the page" });
  fig.select("activation", { label: "activation", words: { relu: "ReLU", selu: "SELU", elu: "ELU", gelu: "GELU" } });
  fig.select("initialization", { label: "first weights", words: { lecun: "LeCun", he: "He", xavier: "Xavier" } });
  fig.slider("depth", { label: "hidden layers", step: 1, format: String });
  fig.select("rate", { label: "learning rate" });
  fig.select("data", { label: "data" });
  const last = fig.limits.steps.max;
  const toggle = fig.button("start", ({ running, steps }) => ({ running: !running, steps: steps === last ? 0 : steps }));
  fig.button("one step", ({ steps }) => ({ running: false, steps: (steps + 1) % (last + 1) }));
  fig.button("reset", () => ({ running: false, steps: 0 }));
  fig.button("other draw", ({ seed }) => ({ seed: (seed + 1) % (fig.limits.seed.max + 1) }));
  const map = planeMap(fig);
  const curve = fig.plot({ label: "The loss of each step", height: 260 });
  const norms = fig.plot({ label: "The norm of the gradient in each layer, on a logarithmic axis", height: 230 });

  let settings = null; // those of the network
  let run = null;
  let frame = 0;
  let seen = true; // whether the figure is on the screen
  const steps = () => run.losses.length - 1;

  // Bring the network to the step that the state names, for a few milliseconds; the rest comes in the next frames.
  function work() {
    frame = 0;
    const end = performance.now() + BUDGET;
    const { running, steps: wanted } = fig.state();
    const goal = running ? last : wanted;
    let moved = false;
    while (steps() < goal && !run.diverged && (!moved || performance.now() < end - BUDGET / 3)) {
      run.advance();
      moved = true;
    }
    if (moved) map.age();
    while (!map.done && performance.now() < end) map.refresh(run.network);
    if (running) fig.change({ steps: steps(), running: steps() < last && !run.diverged });
    fig.schedule();
  }

  const observer = new IntersectionObserver(([entry]) => {
    seen = entry.isIntersecting;
    fig.schedule();
  });
  observer.observe(el);

  const end = fig.start((state) => {
    const now = JSON.stringify(SETTINGS.map((name) => state[name]));
    const begun = settings !== null && now !== settings;
    if (now !== settings || state.steps < steps()) {
      run = training(state);
      settings = now;
      map.age();
    }
    if (begun && state.steps) fig.change({ steps: 0 });
    toggle.textContent = state.running ? "pause" : "start";
    map.draw(run);
    drawLoss(curve, run.losses);
    drawNorms(norms, run);
    fig.say(told(state, run));
    const busy = state.running || steps() < state.steps || !map.done;
    if (busy && seen) frame ||= requestAnimationFrame(work);
  });
  return () => {
    end();
    observer.disconnect();
    cancelAnimationFrame(frame);
  };
}

function drawLoss(plot, losses) {
  const length = Math.max(100, losses.length - 1);
  const every = Math.ceil(losses.length / 400);
  const shown = losses.map((loss, k) => [k, loss]).filter(([k]) => k % every === 0);
  plot.draw({ x: { domain: [0, length], label: "step" }, y: { domain: [0, 1.2], label: "loss *L*" } }, (p) => [
    p.rule(GUESSING, { dash: "5 4", text: "guessing" }),
    p.line(shown.filter(([, loss]) => Number.isFinite(loss))),
    p.points(shown.slice(0, 1), { size: 3 }),
  ]);
}

function drawNorms(plot, { network, first }) {
  const now = [...network.gradientNorms];
  const exponents = [...first, ...now].filter((norm) => norm > 0 && norm < Infinity).map(Math.log10);
  const reach = (size) => DECADES.find((decades) => decades >= size) ?? DECADES.at(-1);
  const domain = [10 ** -reach(-Math.min(...exponents)), 10 ** reach(Math.max(...exponents))];
  const layers = (values) => values.map((norm, k) => [k + 1, norm]).filter(([, norm]) => norm < Infinity);
  const axes = { x: { domain: [0.5, now.length + 0.5], label: "layer *i*" }, y: { domain, log: true, label: "‖∂*L*/∂*W*^{(i)}‖" } };
  plot.draw(axes, (p) => [
    p.line(layers(first), { color: "muted", dash: "5 4" }),
    p.points(layers(now)),
  ]);
}

function told({ depth, running, steps }, { diverged, first, losses }) {
  const done = losses.length - 1;
  if (diverged) return `Diverged at step ${done}: the loss is no finite number any more. Take a smaller learning rate, or weights with which the gradient does not grow.`;
  if (!done) {
    const [low, high] = [Math.min(...first), Math.max(...first)];
    return `Before the first step the gradient's norm is ${number(first[0], 2)} in layer 1 and ${number(first[depth], 2)} ` +
      `in layer ${depth + 1}; the smallest of all layers is ${number(low, 2)}, the largest ${number(high, 2)}.`;
  }
  const recent = losses.slice(-6);
  const loss = recent.reduce((sum, value) => sum + value) / recent.length;
  const verdict = loss < 0.1 ? "it has learnt the classes" : loss < 0.9 * GUESSING ? "it learns" :
    loss < 1.5 * GUESSING ? "no better than guessing" : "worse than guessing";
  return `${running || done < steps ? "Step" : "Paused at step"} ${done}: the loss is ${number(loss, 2)}, and guessing has ${number(GUESSING, 2)}: ${verdict}.`;
}
