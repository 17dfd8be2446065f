"""How fast the figures that one can move are in Chromium; part of `make bench`, which builds the book before.

First paint of every page with figures, from the disk, its scripts run and its figures drawn; and a step of every
slider: from the event to the end of the layout, without the wait for the next frame.
"""

import statistics
import sys
from pathlib import Path

from browsers import chromium_path
from pagecheck import CHROMIUM_ARGUMENTS, DESKTOP, Site
from playwright.sync_api import sync_playwright

from snnlib.explorables import FIGURES, _pages

HTML = Path(__file__).resolve().parents[2] / "_build" / "html"
PAINT_GOAL, STEP_GOAL, BYTES_GOAL = 1000, 16, 150 * 1024  # ms, ms, bytes
# Notes when the last figure has been mounted.
WATCH = """new MutationObserver(() => {
  const places = document.querySelectorAll(".snn-explorable").length;
  if (places && document.querySelectorAll(".snn-mounted").length === places) window.alive ??= performance.now();
}).observe(document, { subtree: true, attributes: true, attributeFilter: ["class"] })"""
PAINT = """() => Math.max(performance.getEntriesByName("first-contentful-paint")[0].startTime, window.alive)"""
# Frames are drawn at once, so that the time is that of the work.
STEPS = """() => {
  window.requestAnimationFrame = (draw) => { draw(performance.now()); return 0; };
  const step = (slider, k) => {
    const start = performance.now();
    slider.value = Number(slider.min) + (slider.max - slider.min) * (k % 101) / 100;
    slider.dispatchEvent(new Event("input"));
    slider.closest(".snn-figure").getBoundingClientRect();
    return performance.now() - start;
  };
  return Object.fromEntries([...document.querySelectorAll(".snn-figure input[type=range]")].map(slider =>
    [slider.closest(".snn-explorable").dataset.module + "." + slider.name,
     Array.from({ length: 202 }, (_, k) => step(slider, 37 * k))]));
}"""


def measure(browser, book, path):
    """Return (first paint in ms, {slider: steps in ms}) of one page."""
    context = browser.new_context(viewport=DESKTOP)
    page = context.new_page()
    page.add_init_script(WATCH)
    page.goto(book.base("file") + path, wait_until="load")
    page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length > 0")
    result = page.evaluate(PAINT), page.evaluate(STEPS)
    context.close()
    return result


def main():
    """Print the tables; exit with 1 when a goal is missed."""
    pages = [path for path in sorted((HTML / "book").rglob("*.html")) if _pages.modules(path.read_text("utf-8"))]
    size = sum(len(text.encode()) for name, text in _pages.files(FIGURES).items() if name.endswith(".js"))
    met = size <= BYTES_GOAL
    print("Figures that one can move, in Chromium, on the built book")
    with sync_playwright() as playwright, Site(HTML) as book:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=CHROMIUM_ARGUMENTS)
        measure(browser, book, pages[0].relative_to(HTML).as_posix())  # warms the browser up
        for path in pages:
            paint, sliders = measure(browser, book, path.relative_to(HTML).as_posix())
            met = met and paint < PAINT_GOAL
            print(f"  {path.relative_to(HTML)}: first paint with figures after {paint:.0f} ms")
            for name, steps in sliders.items():
                median = statistics.median(steps)
                met = met and median < STEP_GOAL
                print(f"    {name:20} a step takes {median:5.2f} ms, the slowest {max(steps):.2f} ms")
        browser.close()
    print(f"  all scripts: {size / 1024:.1f} KiB")
    goals = f"first paint {PAINT_GOAL} ms, a step {STEP_GOAL} ms, all scripts {BYTES_GOAL // 1024} KiB"
    print(f"  goals, at most: {goals}: {'met' if met else 'MISSED'}\n")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
