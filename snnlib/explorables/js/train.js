// A small deep network that is trained in the page, a few milliseconds at a time.

import { ACTIVATION_WORDS, figure, html, number } from "./common.js";
import { training } from "./training.js";

const BUDGET = 10; // ms of a frame that training and the map of the plane may take together
const CELLS = 40; // of the map, across and down
const REACH = 2.2; // the map shows the plane from -REACH to REACH

// --- the map of the plane --------------------------------------------------------------------------------------------

const SHADES = [[31, 130, 191], [213, 94, 0]];

// A canvas with the points, on the class that the network gives to each place of the plane; computed row by row, as time
// allows, from a copy of the network, and shown when it is complete.
function planeMap(fig) {
  const canvas = html("canvas", { class: "snn-map", width: 520, height: 520, role: "img", "aria-label":
    "The points of both classes, and the class that the network gives to each place of the plane" });
  const context = canvas.getContext("2d");
  const cells = html("canvas", { width: CELLS, height: CELLS }).getContext("2d");
  const image = cells.createImageData(CELLS, CELLS);
  const line = new Float64Array(2 * CELLS);
  const pixel = (value) => ((value + REACH) / (2 * REACH)) * canvas.width;
  const place = (k) => ((k + 0.5) / CELLS) * 2 * REACH - REACH;
  let of = null; // the run that is mapped,
  let steps = 0; // how many losses it had when it was copied,
  let row = CELLS; // and the next row
  fig.body.append(html("div", { class: "snn-place" }, canvas));
  return {
    done: (run) => of === run && steps === run.losses.length && row === CELLS,
    work(run) {
      if (row === CELLS) {
        [of, steps, row] = [run, run.losses.length, 0];
        run.copy.parameters.set(run.network.parameters);
      }
      for (let k = 0; k < CELLS; k++) line.set([place(k), -place(row)], 2 * k);
      const logits = of.copy.forward(line);
      for (let k = 0; k < CELLS; k++) {
        const lead = Math.tanh((logits[2 * k + 1] - logits[2 * k]) / 2); // of class 1, in probability
        image.data.set([...SHADES[lead > 0 ? 1 : 0], 130 * Math.abs(lead)], 4 * (row * CELLS + k));
      }
      row++;
      if (row === CELLS) cells.putImageData(image, 0, 0);
    },
    draw({ x, labels }) {
      context.clearRect(0, 0, canvas.width, canvas.height);
      context.drawImage(cells.canvas, 0, 0, canvas.width, canvas.height);
      context.strokeStyle = getComputedStyle(canvas).getPropertyValue("--snn-ground");
      context.lineWidth = 2;
      labels.forEach((label, k) => { // discs and squares
        const [across, down] = [pixel(x[2 * k]), pixel(-x[2 * k + 1])];
        context.fillStyle = `rgb(${SHADES[label]})`;
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
const DECADES = [2, 4, 8, 16, 24, 32, 64]; // that the axis of the norms may reach below or above 1
const WORDS = { he: "He", lecun: "LeCun", xavier: "Xavier", xor: "XOR" };

export function render({ model, el }) {
  const fig = figure({ model, el, label: "A deep network, trained in the page" });
  fig.select("activation", { label: "activation", words: ACTIVATION_WORDS });
  fig.select("initialization", { label: "first weights", words: WORDS });
  fig.slider("depth", { label: "hidden layers", step: 1, format: String });
  fig.select("rate", { label: "learning rate" });
  fig.select("data", { label: "data", words: WORDS });
  const last = fig.limits.steps.max;
  const toggle = fig.button("start", ({ running, steps }) => ({ running: !running, steps: steps === last ? 0 : steps }));
  fig.button("step", ({ steps }) => ({ running: false, steps: (steps + 1) % (last + 1) }));
  fig.button("reset", () => ({ running: false, steps: 0 }));
  fig.button("redraw", ({ seed }) => ({ seed: (seed + 1) % (fig.limits.seed.max + 1) }));
  const map = planeMap(fig);
  const curve = fig.plot({ label: "The loss of each step", height: 250 });
  const norms = fig.plot({ label: "The norm of the gradient in each layer, on a logarithmic axis", height: 250 });
  let settings = null; // those of the run
  let run = null;
  let timer = 0;
  let seen = true; // whether the figure is on the screen
  const steps = () => run.losses.length - 1;

  // Bring the run to the step that the state names, or on from there, for some milliseconds; then a frame is drawn, which
  // asks for the rest. A hidden page draws no frames.
  function work() {
    timer = 0;
    const began = performance.now();
    const spent = (share) => performance.now() - began > share * BUDGET;
    const { running, steps: wanted } = fig.state();
    const goal = running ? last : wanted;
    while (steps() < goal && !run.diverged && !spent(0.6)) run.advance();
    while (!map.done(run) && !spent(1)) map.work(run);
    if (running) fig.change({ steps: steps(), running: steps() < last && !run.diverged });
    fig.schedule();
  }

  const observer = new IntersectionObserver(([entry]) => {
    seen = entry.isIntersecting;
    fig.schedule();
  });
  observer.observe(el);

  const end = fig.start((state) => {
    const now = JSON.stringify({ ...state, steps: 0, running: false });
    if (settings !== null && now !== settings) fig.change({ steps: 0 });
    if (now !== settings || state.steps < steps()) {
      run = training(state);
      settings = now;
    }
    toggle.textContent = state.running ? "pause" : "start";
    map.draw(run);
    drawLoss(curve, run.losses);
    drawNorms(norms, run);
    fig.say(told(fig.state(), run));
    const busy = state.running || (steps() < state.steps && !run.diverged) || !map.done(run);
    if (busy && seen) timer ||= setTimeout(work);
  });
  return () => {
    end();
    observer.disconnect();
    clearTimeout(timer);
  };
}

function drawLoss(plot, losses) {
  const every = Math.ceil(losses.length / 400);
  const shown = losses.map((loss, k) => [k, loss]).filter(([k, loss]) => k % every === 0 && Number.isFinite(loss));
  const domain = [0, Math.max(100, losses.length - 1)];
  plot.draw({ x: { domain, label: "step" }, y: { domain: [0, 1.2], label: "loss *L*" } }, (p) => [
    p.rule(GUESSING, { dash: "5 4", text: "guessing" }),
    p.line(shown),
    p.points(shown.slice(-1), { size: 3 }),
  ]);
}

function drawNorms(plot, { network, first }) {
  const shown = (values) => [...values].map((norm, k) => [k + 1, norm]).filter(([, norm]) => norm > 0 && norm < Infinity);
  const [before, now] = [first, network.gradientNorms].map(shown);
  const exponents = [...before, ...now].map(([, norm]) => Math.log10(norm));
  const reach = (size) => DECADES.find((decades) => decades >= size) ?? DECADES.at(-1);
  const domain = [10 ** -reach(-Math.min(...exponents)), 10 ** (1.2 * reach(Math.max(...exponents)))];
  const axes = {
    x: { domain: [0.5, first.length + 0.5], label: "layer *i*" },
    y: { domain, log: true, label: "‖∂*L*/∂*W*^{(i)}‖" },
  };
  plot.draw(axes, (p) => [
    p.line(before, { color: "muted", dash: "5 4" }),
    p.text([first.length, domain[1] / 3], "dashed: before the first step", { anchor: "end" }),
    p.points(now),
  ]);
}

function told({ running }, { diverged, first, losses }) {
  const done = losses.length - 1;
  if (diverged) return `Diverged at step ${done}: the loss is no finite number any more. A smaller learning rate may help.`;
  if (!done) return foreseen(first);
  const recent = losses.slice(-6);
  const loss = recent.reduce((sum, value) => sum + value) / recent.length;
  const verdict = loss < 0.1 ? "it has learnt the classes" : loss < 0.9 * GUESSING ? "it learns" :
    loss < 1.1 * GUESSING ? "no better than guessing" : "worse than guessing";
  const reached = `${running ? "Step" : "Stands at step"} ${done}`;
  return `${reached}: loss ${number(loss, 2)}, and guessing has ${number(GUESSING, 2)}: ${verdict}.`;
}

// What the norms of the gradient say before the first step.
function foreseen(first) {
  const [low, high] = [Math.min(...first), Math.max(...first)];
  const [from, to] = [first[0], first.at(-1)].map((norm) => number(norm, 2));
  const verdict = high < 1e-3 ? "All are tiny: the network will hardly move." :
    high > 1e4 * low ? "Far apart: no learning rate suits all layers." :
    high > 10 ? "Large: only small learning rates will do." : "Neither far apart nor tiny nor large: every layer can learn.";
  return `Before the first step the gradient's norm is ${from} in layer 1 and ${to} in layer ${first.length}. ${verdict}`;
}
