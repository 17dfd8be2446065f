// What the pages need beside the theme's own scripts.
(() => {
  // A box that scrolls sideways (a wide formula, a wide table) can be reached with the Tab key, as long as it scrolls.
  const BOXES = "mjx-container[display='true'], span.math, .pst-scrollable-table-container, div.highlight pre, " +
    ".cell_output .output, .picture-box";
  const SLACK = 2; // px: a formula may stand out by a fraction of one

  const update = (box) => {
    if (box.scrollWidth > box.clientWidth + SLACK) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  };

  // A figure has a button, shown on a phone, that makes its small letters legible; the picture then scrolls sideways.
  const enlargeable = (picture) => {
    const box = document.createElement("div");
    const button = document.createElement("button");
    box.className = "picture-box";
    button.className = "picture-button";
    button.type = "button";
    button.textContent = "enlarge";
    button.addEventListener("click", () => {
      button.textContent = box.classList.toggle("picture-large") ? "reduce" : "enlarge";
      update(box);
    });
    picture.replaceWith(box, button);
    box.append(picture);
  };
  document.querySelectorAll(".bd-article figure > :is(img:not([src$='.svg']), a.image-reference)").forEach(enlargeable);

  // The sign that unfolds the pages below a page says so to those who do not see it.
  document.querySelectorAll(".bd-links li > details > summary").forEach((sign) => {
    sign.setAttribute("aria-label", `pages below ${sign.closest("li").querySelector("a").textContent}`);
  });

  const start = async () => {
    if (window.MathJax?.startup) await window.MathJax.startup.promise;
    const watcher = new ResizeObserver((entries) => entries.forEach(({ target }) => update(target)));
    document.querySelectorAll(BOXES).forEach((box) => watcher.observe(box)); // which also measures each box once
  };

  window.addEventListener("load", start);
})();
