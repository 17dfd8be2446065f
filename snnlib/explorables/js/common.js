// The parts that figures are made of: controls, plots, handles, and the line that says the result.
//
//   export function render({ model, el }) {
//     const fig = figure({ model, el, label: "what the figure is" });
//     fig.slider("c", { label: "factor *c*", step: 0.01 });
//     const plot = fig.plot({ label: "what the plot shows" });
//     plot.handle({ label: "the point", x: { name: "mu", step: 0.1 }, y: { name: "nu", step: 0.1 } });
//     return fig.start((state) => {
//       plot.draw({ x: { domain: [0, 1] }, y: { domain: [1e-9, 1], log: true } }, (p) => [p.line(points), ...]);
//       fig.say(`the result in words`);
//     });
//   }
//
// Labels understand *italic*, ^{above} and _{below}.

const SVG = "http://www.w3.org/2000/svg";
const MARKUP = /\*([^*]+)\*|\^\{([^}]*)\}|_\{([^}]*)\}/g;

// --- text ----------------------------------------------------------------------------------------------------------

// An HTML element with attributes and children (elements or strings of markup).
export function html(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children, richHtml);
}

// The same for SVG.
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children, richSvg);
}

function fill(node, attributes, children, rich) {
  for (const [name, value] of Object.entries(attributes)) if (value !== undefined) node.setAttribute(name, value);
  for (const child of children) {
    if (typeof child === "string") rich(node, child);
    else node.append(child);
  }
  return node;
}

// The pieces of a text with markup: [[words, "" | "i" | "sup" | "sub"], ...].
function pieces(text) {
  const found = [];
  let end = 0;
  for (const match of text.matchAll(MARKUP)) {
    found.push([text.slice(end, match.index), ""]);
    found.push([match[1], "i"], [match[2], "sup"], [match[3], "sub"]);
    end = match.index + match[0].length;
  }
  found.push([text.slice(end), ""]);
  return found.filter(([words]) => words);
}

function richHtml(node, text) {
  for (const [words, kind] of pieces(text)) {
    if (kind) node.append(html(kind, {}, words));
    else node.append(words);
  }
}

function richSvg(node, text) {
  let level = 0; // of the words before, in em
  for (const [words, kind] of pieces(text)) {
    const next = { sup: -0.4, sub: 0.25 }[kind] ?? 0;
    const size = next ? 0.75 : 1;
    const span = document.createElementNS(SVG, "tspan");
    span.setAttribute("style", `font-size: ${size}em; ${kind === "i" ? "font-style: italic" : ""}`);
    if (next !== level) span.setAttribute("dy", `${(next - level) / size}em`);
    span.append(plain(words));
    node.append(span);
    level = next;
  }
}

// Markup as plain text, for names that are read aloud.
export function plain(text) {
  return pieces(text).map(([words, kind]) => ({ sup: "^", sub: "_" }[kind] ?? "") + words).join("").replaceAll("*", "");
}

// A number with some digits, in markup, with a true minus sign; powers of ten where they are shorter.
export function number(value, digits = 3) {
  if (value === 0) return "0";
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "undefined" : value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  if (size >= 1e-3 && size < 1e5)
    return signed(size >= 10 ** digits ? value.toFixed(0) : String(Number(value.toPrecision(digits))));
  const [mantissa, power] = value.toExponential(digits - 1).split("e");
  return `${signed(mantissa)}·10^{${signed(String(Number(power)))}}`;
}

const signed = (text) => text.replace("-", "−");
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

// What figures call the activations.
export const ACTIVATION_WORDS = {
  identity: "none (linear)", relu: "ReLU", leaky_relu: "leaky ReLU", elu: "ELU", selu: "SELU", gelu: "GELU", silu: "SiLU",
};

// Run a generator after `wait` ms, in slices that leave the page its frames; `found` gets all that it yields but null.
// Returns the function that stops it.
export function inSlices(steps, found, wait = 0) {
  let timer = setTimeout(function slice() {
    for (const end = performance.now() + 8; performance.now() < end;) {
      const { value, done } = steps.next();
      if (done) return;
      if (value !== null) found(value);
    }
    timer = setTimeout(slice);
  }, wait);
  return () => clearTimeout(timer);
}

const KEYS = {
  line: { d: "M2 6h14", "stroke-width": 2.5 },
  dash: { d: "M1 6h16", "stroke-width": 1.5, "stroke-dasharray": "4 3.5", "stroke-linecap": "butt" },
  dot: { d: "M9 6h0", "stroke-width": 7 },
  ring: { d: "M9 6h0", "stroke-width": 7 },
  strong: { d: "M6 5h8", "stroke-width": 8, "stroke-opacity": 0.56 },
  weak: { d: "M6 5h8", "stroke-width": 8, "stroke-opacity": 0.2 },
};

// --- the figure ------------------------------------------------------------------------------------------------------

// The frame of a figure: controls above, plots below them, and a line of text for the result.
export function figure({ model, el, label }) {
  const limits = model.get("_limits");
  const names = Object.keys(limits);
  const controls = html("div", { class: "snn-controls" });
  const body = html("div", { class: "snn-body" });
  const status = html("p", { class: "snn-status", role: "status", "aria-live": "polite" });
  const root = html("div", { class: "snn-figure", role: "group", "aria-label": plain(label) }, controls, body, status);
  const followers = []; // what shows the state, called before each drawing
  let drawing = () => {};
  let frame = 0;
  let said = null;
  el.append(root);

  const state = () => Object.fromEntries(names.map((name) => [name, model.get(name)]));
  const draw = () => {
    frame = 0;
    const now = state();
    for (const follow of followers) follow(now);
    drawing(now);
  };
  // Draw at the next frame, once, however many changes come before it.
  const schedule = () => { frame ||= requestAnimationFrame(draw); };
  const change = (patch) => {
    for (const [name, value] of Object.entries(patch)) model.set(name, value);
    model.save_changes();
  };
  // The nearest value that the state allows.
  const allowed = (name, value) => {
    const { kind, min, max } = limits[name];
    return clamp(kind === "whole" ? Math.round(value) : value, min, max);
  };
  const labelled = (text, control, ...more) =>
    controls.append(html("label", { class: "snn-control" }, html("span", {}, text), control, ...more));

  const fig = {
    state, change, schedule, limits, allowed, body, controls,
    follow: (follower) => followers.push(follower),

    // A slider for a number of the state.
    slider(name, { label, step, format = (value) => number(value) }) {
      const { min, max } = limits[name];
      const input = html("input", { type: "range", min, max, step, name });
      const value = html("output", {});
      labelled(label, input, value);
      input.addEventListener("input", () => change({ [name]: allowed(name, input.valueAsNumber) }));
      followers.push((now) => {
        const words = format(now[name]);
        input.value = now[name];
        input.setAttribute("aria-valuetext", plain(words));
        value.replaceChildren(...html("span", {}, words).childNodes);
      });
    },

    // A choice from the words that the state allows; `words` gives them other names: {relu: "ReLU"}.
    select(name, { label, words = {} }) {
      const options = limits[name].choices.map((choice, i) => html("option", { value: i }, String(words[choice] ?? choice)));
      const input = html("select", { name }, ...options);
      labelled(label, input);
      input.addEventListener("change", () => change({ [name]: limits[name].choices[input.value] }));
      followers.push((now) => { input.value = limits[name].choices.indexOf(now[name]); });
    },

    // A box to tick, for a flag.
    check(name, { label }) {
      const input = html("input", { type: "checkbox", name });
      labelled(label, input);
      input.addEventListener("change", () => change({ [name]: input.checked }));
      followers.push((now) => { input.checked = now[name]; });
    },

    // A button; `act` gets the state and returns what changes in it, if anything.
    button(label, act) {
      const input = html("button", { type: "button" }, label);
      input.addEventListener("click", () => change(act(state()) ?? {}));
      controls.append(input);
      return input;
    },

    // What the marks of the plots mean, below them: [[color, "line" | "dash" | "dot" | "ring", words], ...].
    legend(entries) {
      const key = ([color, mark, words]) => html("span", {}, svg("svg", { width: 22, height: 10, "aria-hidden": "true" },
        svg("path", { class: `snn-dots snn-${color}`, ...KEYS[mark] }),
        svg("path", { class: "snn-dots snn-ground", ...(mark === "ring" ? { ...KEYS.dot, "stroke-width": 3.6 } : {}) })), words);
      status.before(html("p", { class: "snn-legend" }, ...entries.map(key)));
    },

    // Say the current result, in words.
    say(text) {
      if (text === said) return;
      said = text;
      status.replaceChildren(...html("span", {}, text).childNodes);
    },

    plot: (options) => plot(fig, options),

    // Draw now and after every change, from here or from Python; returns the function that ends it.
    start(drawn) {
      drawing = drawn;
      draw();
      // JupyterLab would take the arrow keys for itself.
      for (const control of root.querySelectorAll("input, select, button, [tabindex]"))
        control.setAttribute("data-lm-suppress-shortcuts", true);
      for (const name of names) model.on(`change:${name}`, schedule);
      const observer = new ResizeObserver(schedule);
      observer.observe(root);
      return () => {
        for (const name of names) model.off(`change:${name}`, schedule);
        observer.disconnect();
        cancelAnimationFrame(frame);
      };
    },
  };
  return fig;
}

// --- plots -------------------------------------------------------------------------------------------------------------

const MARGIN = { left: 58, right: 20, top: 26, bottom: 40 };

function plot(fig, { label, height = 280, margin = {} }) {
  const edge = { ...MARGIN, ...margin };
  const marks = svg("g", { "aria-hidden": "true" });
  const handles = svg("g");
  const root = svg("svg", { class: "snn-plot", role: "group", "aria-label": plain(label), height }, marks, handles);
  const place = html("div", { class: "snn-place" }, root);
  const placed = [];
  let dragging = null; // the handle that is being dragged; the axes wait until it is let go
  let x, y;
  fig.body.append(place);

  const area = {
    // Show axes and marks: `draw({ x: axis, y: axis }, (p) => [marks])`, where an axis is { domain: [low, high],
    // log: false, label: "", ticks: true } and p makes marks in the units of the axes. With `plane: true` beside x and
    // y no axes are shown, and one unit is as long across as up.
    draw(axes, make) {
      const width = Math.max(200, place.clientWidth || 640);
      root.setAttribute("width", width);
      root.setAttribute("viewBox", `0 0 ${width} ${height}`);
      if (!dragging) {
        const room = axes.plane ? Math.max(0, width - edge.left - edge.right - (height - edge.top - edge.bottom)) / 2 : 0;
        x = scale(axes.x, edge.left + room, width - edge.right - room);
        y = scale(axes.y, height - edge.bottom, edge.top);
      }
      const shown = axes.plane ? [] : [axisX(x, y, axes.x), axisY(x, y, axes.y)];
      marks.replaceChildren(...shown, ...make(makers(x, y)));
      const now = fig.state();
      for (const follow of placed) follow(now);
    },

    // A point that mouse, touch and arrow keys move. Each of `x` and `y` is absent (then `at(state)` gives the
    // coordinate) or { name, step, to, from }: to(value, state) is where the value of the state stands on the axis,
    // from(coordinate, state, there) the way back; both are the identity when absent. A value that is no plain name of
    // the state has get(state), set(value, state) -> { name: value }, min and max in place of `name`. `there` is where
    // the pointer is, { x, y, grip: { x, y, now } }, with where the handle was gripped and the state of then, for a
    // handle that is moved by how far one drags. Returns the handle's element.
    handle({ label, at = () => [0, 0], x: alongX, y: alongY, format = (value) => number(value), color = "vermillion" }) {
      const axes = { x: alongX && binding(fig, alongX), y: alongY && binding(fig, alongY) };
      const main = axes.x ?? axes.y;
      const knob = svg("g", {
        class: `snn-handle snn-${color}`, role: "slider", tabindex: 0, "aria-label": plain(label),
        "aria-valuemin": main.min, "aria-valuemax": main.max, "aria-orientation": axes.x ? "horizontal" : "vertical",
      }, svg("circle", { class: "snn-reach", r: 22 }), svg("circle", { class: "snn-knob", r: 8 }));
      handles.append(knob);
      placed.push((now) => {
        const fixed = at(now);
        const across = axes.x ? axes.x.to(axes.x.get(now), now) : fixed[0];
        const up = axes.y ? axes.y.to(axes.y.get(now), now) : fixed[1];
        knob.setAttribute("transform", `translate(${x.inside(across)} ${y.inside(up)})`);
        knob.setAttribute("aria-valuenow", main.get(now));
        const words = [axes.x, axes.y].filter(Boolean).map((axis) => plain(format(axis.get(now))));
        knob.setAttribute("aria-valuetext", words.join(", "));
      });
      let grip;
      const point = (event) => {
        const box = root.getBoundingClientRect();
        return { x: x.invert(event.clientX - box.left), y: y.invert(event.clientY - box.top), now: fig.state() };
      };
      const move = (event) => {
        if (dragging !== knob) return;
        const there = point(event);
        const patch = {};
        for (const key of ["x", "y"])
          if (axes[key]) Object.assign(patch, axes[key].set(axes[key].from(there[key], there.now, { ...there, grip }), there.now));
        fig.change(patch);
      };
      knob.addEventListener("pointerdown", (event) => {
        dragging = knob;
        grip = point(event);
        knob.setPointerCapture(event.pointerId);
        knob.focus();
        event.preventDefault();
      });
      knob.addEventListener("pointermove", move);
      knob.addEventListener("lostpointercapture", () => { dragging = null; fig.schedule(); });
      knob.addEventListener("keydown", (event) => {
        const upright = ["ArrowUp", "ArrowDown", "PageUp", "PageDown"].includes(event.key);
        const axis = (upright ? axes.y : axes.x) ?? main;
        const now = fig.state();
        const steps = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 10, PageDown: -10 };
        const value = { Home: axis.min, End: axis.max }[event.key] ?? axis.get(now) + axis.step * steps[event.key];
        if (Number.isNaN(value)) return; // another key
        event.preventDefault();
        fig.change(axis.set(value, now));
      });
      return knob;
    },
  };
  return area;
}

function binding(fig, axis) {
  const { name, to = (value) => value, from = (value) => value } = axis;
  const { min, max } = name ? fig.limits[name] : axis;
  const get = axis.get ?? ((state) => state[name]);
  const set = axis.set ?? ((value) => ({ [name]: fig.allowed(name, value) }));
  return { step: axis.step, to, from, min, max, get, set: (value, state) => set(clamp(value, min, max), state) };
}

// From the numbers of an axis to pixels. Beyond the domain `inside` stops at its ends.
function scale({ domain, log = false }, from, to) {
  const f = log ? Math.log10 : (value) => value;
  const [low, high] = domain.map(f);
  const map = (value) => from + ((f(value) - low) / (high - low)) * (to - from);
  map.from = from;
  map.to = to;
  map.inside = (value) => {
    const at = map(value);
    return Number.isFinite(at) ? clamp(at, Math.min(from, to), Math.max(from, to)) : value > 0 && at > 0 ? to : from;
  };
  map.invert = (pixel) => {
    const value = low + ((clamp(pixel, Math.min(from, to), Math.max(from, to)) - from) / (to - from)) * (high - low);
    return log ? 10 ** value : value;
  };
  map.domain = domain;
  map.log = log;
  return map;
}

function ticks({ domain: [low, high], log, from, to }, apart) {
  const count = Math.max(2, Math.floor(Math.abs(to - from) / apart));
  const [a, b] = log ? [Math.log10(low), Math.log10(high)] : [low, high];
  let step = (b - a) / count;
  const power = 10 ** Math.floor(Math.log10(step));
  step = power * ([1, 2, 5, 10].find((m) => m * power >= step * 0.999) ?? 10);
  if (log) step = Math.max(1, Math.round(step));
  const found = [];
  for (let k = Math.ceil(a / step - 1e-9); k * step <= b + 1e-9 * step; k++) {
    const value = Number((k * step).toPrecision(12));
    if (log) found.push([10 ** value, value === 0 ? "1" : value === 1 ? "10" : `10^{${signed(String(value))}}`]);
    else found.push([value, signed(String(value))]);
  }
  return found;
}

function axisX(x, y, { label, ticks: wanted = true }) {
  const base = y.from;
  const group = svg("g", { class: "snn-axis" });
  if (wanted || label) group.append(svg("path", { d: `M${x.from} ${base}H${x.to}` }));
  for (const [value, text] of wanted ? ticks(x, 70) : []) {
    const at = x(value);
    group.append(svg("path", { d: `M${at} ${base}v5` }));
    group.append(svg("text", { x: at, y: base + 19, "text-anchor": "middle" }, text));
  }
  if (label) group.append(svg("text", { class: "snn-name", x: x.to, y: base + 36, "text-anchor": "end" }, label));
  return group;
}

function axisY(x, y, { label, ticks: wanted = true }) {
  const group = svg("g", { class: "snn-axis" });
  for (const [value, text] of wanted ? ticks(y, 45) : []) {
    const at = y(value);
    group.append(svg("path", { class: "snn-grid", d: `M${x.from} ${at}H${x.to}` }));
    group.append(svg("text", { x: x.from - 8, y: at + 4, "text-anchor": "end" }, text));
  }
  if (label) group.append(svg("text", { class: "snn-name", x: x.from, y: y.to - 10, "text-anchor": "middle" }, label));
  return group;
}

// What a plot can hold, in the units of its axes. Colours: blue, vermillion, green, purple, muted, ink.
function makers(x, y) {
  const at = ([a, b]) => `${x(a).toFixed(1)} ${y.inside(b).toFixed(1)}`;
  return {
    x, y,
    line: (points, { color = "blue", dash, width = 2 } = {}) => svg("path", {
      class: `snn-line snn-${color}`, "stroke-dasharray": dash, "stroke-width": width,
      d: points.length ? `M${points.map(at).join("L")}` : undefined,
    }),
    // Bars [[x, y], ...] from the level `base`; `share` of the distance between neighbours is filled.
    bars: (points, { color = "blue", base = 0, share = 0.8 } = {}) => {
      const apart = points.length > 1 ? Math.abs(x(points[1][0]) - x(points[0][0])) : x.to - x.from;
      const wide = apart < 4 ? apart * 1.05 : apart * share;
      const foot = y.inside(base);
      const bar = ([a, b]) => `M${(x(a) - wide / 2).toFixed(2)} ${foot.toFixed(1)}V${y.inside(b).toFixed(1)}h${wide.toFixed(2)}V${foot.toFixed(1)}z`;
      return svg("path", { class: `snn-fill snn-${color}`, d: points.map(bar).join("") });
    },
    // Points [[x, y], ...] as dots.
    points: (points, { color = "blue", size = 4 } = {}) => svg("path", {
      class: `snn-dots snn-${color}`, "stroke-width": 2 * size, d: points.map((point) => `M${at(point)}h0`).join(""),
    }),
    // A line across the plot at a level, with a word on it.
    rule: (level, { color = "muted", dash, text = "", below = false } = {}) => svg("g", { class: `snn-${color}` },
      svg("path", { class: "snn-line", "stroke-width": 1.2, "stroke-dasharray": dash, d: `M${x.from} ${y(level)}H${x.to}` }),
      svg("text", { x: x.to, y: y(level) + (below ? 14 : -5), "text-anchor": "end" }, text)),
    // Words at a point.
    text: ([a, b], words, { color = "ink", anchor = "start" } = {}) =>
      svg("text", { class: `snn-${color}`, x: x(a), y: y.inside(b), "text-anchor": anchor }, words),
  };
}
