"""Every page of the built book can be read and worked by all: axe-core finds nothing serious, in either theme."""

import itertools
import re
from importlib import resources
from pathlib import Path

import pytest
from pagecheck import DESKTOP, PHONE, Site

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
SITE = Site(HTML)
PAGES = [path for path in SITE.pages() if not SITE.leads_on(path)] if HTML.is_dir() else []
GRAVE = ("serious", "critical")
CONTRAST = ["color-contrast"]
NARROW = ["scrollable-region-focusable", "target-size"]  # what a small screen may change

# Folded text is unfolded, so that it is judged too, at once: text that fades in has little contrast. What is the
# same a thousand times is judged a few times: the paths that MathJax draws, and the coloured words of code.
PREPARE = """async () => {
  if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
  const still = document.createElement("style");
  still.textContent = "*, *::before, *::after { animation: none !important; transition: none !important; }";
  document.head.append(still);
  document.querySelectorAll("details").forEach(node => { node.open = true; });
  document.querySelectorAll(".toggle-hidden .toggle-button").forEach(button => button.click());
  document.querySelectorAll("mjx-container > svg").forEach(node => node.replaceChildren());
  const seen = {};
  for (const word of document.querySelectorAll("pre span")) {
    seen[word.className] = (seen[word.className] || 0) + 1;
    if (seen[word.className] > 5) word.replaceWith(...word.childNodes);
  }
}"""
# After which the page's own scripts have taken note of a new size.
TWO_FRAMES = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
RUN = """async rules => {
  const options = rules.length ? { runOnly: rules } : {};
  const { violations } = await axe.run(document, { resultTypes: ["violations"], ...options });
  return violations.flatMap(({ id, impact, nodes }) =>
    nodes.map(({ target, html }) => ({ id, impact, where: target.join(" "), html: html.slice(0, 120) })));
}"""


@pytest.fixture(scope="module")
def axe():
    """The script of axe-core."""
    pytest.importorskip("axe_playwright_python", reason="no axe-core: run `make book`, which installs it")
    return (resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


def faults(page, axe, address):
    """Open a page; return what axe finds in the light theme, in the dark one, and on a phone, one line each."""
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    page.set_viewport_size(DESKTOP)
    page.goto(address, wait_until="load")
    page.wait_for_function("document.documentElement.dataset.theme === 'light'")
    page.evaluate(PREPARE)
    page.evaluate(axe)
    found = [("light", fault) for fault in page.evaluate(RUN, [])]
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    found += [("dark", fault) for fault in page.evaluate(RUN, CONTRAST)]
    page.set_viewport_size(PHONE)
    page.evaluate(TWO_FRAMES)
    found += [("phone", fault) for fault in page.evaluate(RUN, NARROW)]
    return [
        f"{fault['id']} ({where}, {fault['impact']}): {fault['where']} {fault['html']}"
        for where, fault in found
        if fault["impact"] in GRAVE
    ]


@pytest.fixture
def page(browser):
    """An empty browser tab."""
    context = browser.new_context()
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("path", PAGES)
def test_axe_finds_nothing_serious_on_a_page(page, axe, path):
    assert faults(page, axe, SITE.base("file") + path) == []


def test_a_page_says_its_language_and_has_one_title_and_no_gap_among_its_headings():
    wrong = {}
    for path in PAGES:
        text = (HTML / path).read_text(encoding="utf-8")
        _, _, body = text.rpartition("<article")  # a list of the headings, for printing, stands before it
        levels = [int(level) for level in re.findall(r"<h([1-6])[ >]", body)]
        jumps = [pair for pair in itertools.pairwise(levels) if pair[1] > pair[0] + 1]
        if '<html lang="en"' not in text or levels.count(1) != 1 or levels[0] != 1 or jumps:
            wrong[path] = levels
    assert wrong == {}


def test_the_first_stop_of_the_tab_key_leads_past_the_sidebar_and_can_be_seen(page):
    page.goto(SITE.base("file") + "book/notation.html")
    page.keyboard.press("Tab")
    focused = page.locator(":focus")
    assert "main" in focused.inner_text().lower()
    page.wait_for_function("document.activeElement.getBoundingClientRect().top >= 0", timeout=5_000)  # it slides in
    box = focused.bounding_box()
    assert box["width"] > 50 and box["height"] > 15 and box["x"] >= 0
    focused.press("Enter")
    assert page.evaluate("document.activeElement.closest('main, #main-content') !== null || location.hash.length > 1")


def test_every_stop_of_the_tab_key_is_marked(page):
    page.emulate_media(reduced_motion="reduce")
    page.goto(SITE.base("file") + "book/notation.html")
    unmarked = []
    for _ in range(60):
        page.keyboard.press("Tab")
        unmarked += page.evaluate(
            """() => { const node = document.activeElement, style = getComputedStyle(node);
            const marked = (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2) ||
                           style.boxShadow !== "none";
            return marked || node === document.body ? [] : [node.outerHTML.slice(0, 80)]; }"""
        )
    assert unmarked == []


def test_a_wide_formula_can_be_reached_with_the_tab_key_where_it_scrolls_and_only_there(page):
    page.goto(SITE.base("file") + "book/backpropagation/one-layer.html")
    page.evaluate("() => MathJax.startup.promise")
    stops = "() => document.querySelectorAll(\"mjx-container[display='true'][tabindex='0']\").length"
    page.set_viewport_size(PHONE)
    page.wait_for_function(f"({stops})() > 0")
    page.set_viewport_size(DESKTOP)
    page.wait_for_function(f"({stops})() === 0")


def test_a_figure_is_enlarged_on_a_phone_and_the_page_does_not_grow_wider(page):
    page.set_viewport_size(PHONE)
    page.goto(SITE.base("file") + "book/gradients/remedies.html")
    figure = page.locator("figure:has(.picture-button)").first
    picture, button = figure.locator("img"), figure.locator(".picture-button")
    small = picture.bounding_box()["width"]
    button.click()
    assert picture.bounding_box()["width"] > 1.8 * small
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.wait_for_function("() => document.querySelector('.picture-large').tabIndex === 0")
    button.click()
    assert picture.bounding_box()["width"] == pytest.approx(small, abs=1)
    page.set_viewport_size(DESKTOP)
    assert not button.is_visible()


# --- the check itself finds what is planted -------------------------------------------------------------------------

PLANTED = {
    "color-contrast": '<p style="color: #999; background: #fff">pale</p>',
    "image-alt": '<img src="data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7">',
    "button-name": "<button></button>",
    "scrollable-region-focusable": '<div style="width: 99px; overflow: auto"><p style="width: 999px">'
    + "wide " * 40
    + "</p></div>",
    "label": "<input>",
}


@pytest.mark.parametrize("rule", PLANTED)
def test_the_check_finds_what_is_planted(page, axe, tmp_path, rule):
    script = (
        "document.documentElement.dataset.theme = 'light'; matchMedia('(prefers-color-scheme: dark)')"
        ".addEventListener('change', e => { document.documentElement.dataset.theme = e.matches ? 'dark' : 'light'; })"
    )
    path = tmp_path / "page.html"
    path.write_text(
        f'<!DOCTYPE html><html lang="en"><head><title>A page</title><script>{script}</script></head>'
        f"<body><main><h1>A page</h1>{PLANTED[rule]}</main></body></html>",
        encoding="utf-8",
    )
    assert any(fault.startswith(rule) for fault in faults(page, axe, path.as_uri()))
