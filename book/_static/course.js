// A box that scrolls sideways (a wide formula, a wide table) can be reached with the Tab key, as long as it scrolls.
(() => {
  const BOXES = "mjx-container[display='true'], span.math, .pst-scrollable-table-container, div.highlight pre, " +
    ".cell_output .output";
  const SLACK = 2; // px: a formula may stand out by a fraction of one

  const update = (box) => {
    if (box.scrollWidth > box.clientWidth + SLACK) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  };

  const start = async () => {
    if (window.MathJax?.startup) await window.MathJax.startup.promise;
    const watcher = new ResizeObserver((entries) => entries.forEach(({ target }) => update(target)));
    document.querySelectorAll(BOXES).forEach((box) => watcher.observe(box)); // which also measures each box once
  };

  window.addEventListener("load", start);
})();
