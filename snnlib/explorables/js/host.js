// Brings the figures of a page of the book to life, without a kernel. Loaded before the figures' own scripts, which
// register themselves in snnModules; all of them are classic scripts, so that pages work from the disk.

var snnModules = {};

(() => {
  "use strict";

  // What a figure sees of a model in Jupyter (anywidget), on a state in the page.
  function pageModel(values) {
    const listeners = {};
    return {
      get: (name) => values[name],
      set(name, value) {
        if (values[name] === value) return;
        values[name] = value;
        for (const listener of [...(listeners[`change:${name}`] ?? [])]) listener();
      },
      save_changes() {},
      on: (event, listener) => (listeners[event] ??= new Set()).add(listener),
      off: (event, listener) => listeners[event]?.delete(listener),
    };
  }

  const CHECKS = {
    flag: (value) => typeof value === "boolean",
    real: (value, { min, max }) => Number.isFinite(value) && value >= min && value <= max,
    whole: (value, { min, max }) => Number.isInteger(value) && value >= min && value <= max,
    choice: (value, { choices }) => choices.includes(value),
    list: (value, { min, max, of }) =>
      Array.isArray(value) && value.length >= min && value.length <= max && value.every((one) => CHECKS[of.kind](one, of)),
  };

  function read(text, limits) {
    let state;
    try {
      state = JSON.parse(text);
    } catch {
      throw new Error("its stored state cannot be read");
    }
    for (const name of Object.keys(limits))
      if (!CHECKS[limits[name].kind](state?.[name], limits[name])) throw new Error(`its stored state has no valid ${name}`);
    return state;
  }

  function mount(place) {
    const { module: name, version, state } = place.dataset;
    const module = Object.hasOwn(snnModules, name) ? snnModules[name] : {};
    if (!module.about) throw new Error(`there is no figure ${name}`);
    if (version !== String(module.about.version))
      throw new Error(`its state is of version ${version}, the figure's script of version ${module.about.version}`);
    const { limits } = module.about;
    const live = document.createElement("div");
    live.className = "snn-live";
    place.append(live);
    try {
      place.snnModel = pageModel({ ...read(state, limits), _limits: limits });
      module.render({ model: place.snnModel, el: live });
      place.classList.add("snn-mounted");
    } catch (error) {
      live.remove();
      throw error;
    }
  }

  // Mount what stands in these places, or say there why not.
  function mountAll(places) {
    for (const place of places) {
      place.dataset.mounted = ""; // or tried
      try {
        mount(place);
      } catch (error) {
        const note = document.createElement("p");
        note.className = "snn-fault";
        note.setAttribute("role", "note");
        note.textContent = `This figure cannot be moved: ${error.message}.`;
        place.append(note);
      }
    }
  }

  // Each figure's script ends with this, so that its figures need not wait for the page's other scripts.
  snnModules.mount = (name) => mountAll(document.querySelectorAll(`.snn-explorable[data-module="${name}"]`));
  document.addEventListener("DOMContentLoaded", () =>
    mountAll(document.querySelectorAll(".snn-explorable:not([data-mounted])")));
})();
