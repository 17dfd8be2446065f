"""The built book in a real browser: every page, over HTTP and from the disk, asks for nothing and lacks nothing."""

import shutil
from pathlib import Path

import pytest
from pagecheck import PHONE, Site, visit

from snnlib.explorables import FIGURES, _pages

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
PAGES = Site(HTML).pages() if HTML.is_dir() else []
SCHEMES = ("http", "file")


@pytest.fixture(scope="module")
def book():
    """The built book, served."""
    with Site(HTML) as site:
        yield site


@pytest.fixture
def page(browser):
    """An empty browser tab."""
    context = browser.new_context()
    yield context.new_page()
    context.close()


def test_the_book_has_been_built():
    assert "index.html" in PAGES, "run `make book` first"


@pytest.mark.parametrize("path", PAGES)
def test_a_page_names_its_icon_so_that_no_browser_asks_for_another(path):
    assert 'rel="icon"' in (HTML / path).read_text(encoding="utf-8")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_complete_and_needs_no_other_host(browser, book, path, scheme):
    assert visit(browser, book, path, scheme) == []


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_first_page_leads_into_the_book(page, book, scheme):
    page.goto(book.base(scheme) + "index.html")
    page.wait_for_url("**/book/**")
    assert page.locator("article h1").count() == 1


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_search_finds_a_page(page, book, scheme):
    page.goto(book.base(scheme) + "search.html?q=softmax")
    page.locator("#search-results li a").first.wait_for(timeout=10_000)
    assert page.locator("#search-results li a").first.get_attribute("href")


def first_page_with(page, book, selector):
    """Open the first page that has an element of this kind; return whether there is one."""
    for path in PAGES:
        page.goto(book.base("file") + path, wait_until="load")
        if page.locator(selector).count():
            return True
    return False


def test_a_folded_solution_opens_with_a_click(page, book):
    assert first_page_with(page, book, "div.solution.dropdown"), "no chapter has a folded solution"
    solution = page.locator("div.solution.dropdown").first
    text = solution.locator(".solution-content, section, p:not(.admonition-title)").first
    assert not text.is_visible()
    solution.locator(".toggle-button").click()
    text.wait_for(state="visible")


def test_figures_keep_their_transparent_ground_in_the_dark_theme(page, book):
    page.emulate_media(color_scheme="dark")
    assert first_page_with(page, book, "div.cell_output figure img, div.cell_output img"), "no chapter has a figure"
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    style = page.locator("div.cell_output img").first.evaluate(
        "image => [getComputedStyle(image).backgroundColor, getComputedStyle(image).filter]"
    )
    assert style == ["rgba(0, 0, 0, 0)", "none"]


def test_there_is_one_header_with_one_search_button(page, book):
    page.set_viewport_size(PHONE)
    page.goto(book.base("file") + PAGES[0])
    page.wait_for_url("**/book/**")
    assert page.locator("header.bd-header").evaluate_all("all => all.map(one => one.offsetHeight)") in ([], [0])


def pages_with_explorables():
    """{page: the modules of its figures that one can move}."""
    found = {path: _pages.modules((HTML / path).read_text(encoding="utf-8")) for path in PAGES}
    return {path: modules for path, modules in found.items() if modules}


def test_every_figure_that_one_can_move_stands_in_the_book():
    assert {name for modules in pages_with_explorables().values() for name in modules} == {f.module for f in FIGURES}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_figures_that_one_can_move_are_alive(page, book, scheme):
    for path, modules in pages_with_explorables().items():
        page.goto(book.base(scheme) + path)
        assert page.locator("figure:has(figcaption .caption-number) .snn-mounted").count() == len(modules), path


def test_only_pages_with_such_figures_load_scripts_for_them():
    loading = {path for path in PAGES if "_static/explorables/" in (HTML / path).read_text(encoding="utf-8")}
    assert loading == set(pages_with_explorables())


# --- the checks themselves: each kind of fault, planted in a page of its own, is found ------------------------------

HEAD = (
    '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>A page</title><link rel="icon" href="data:,">'
    "{head}</head><body>{body}</body></html>"
)
MATHJAX = '<script async src="mathjax/tex-svg.js"></script>'
PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
SOUND = (
    r'<h1 id="top">Sound</h1><span class="math">\(x^2\)</span><div class="math">\[\frac{a}{b}\]</div>'
    f'<img src="{PIXEL}" alt="a dot"><a href="#top">up</a> <a href="sound.html#top">here</a>'
    "<p>It costs 5 $, or 6 $.</p>"
)
FAULTS = {
    "undefined-macro": ("mathematics: undefined macro", r'<span class="math">\(\nosuchmacro{x}\)</span>'),
    "broken-formula": ("mathematics: MathJax reports", r'<span class="math">\(\frac{1}\)</span>'),
    "raw-dollars": ("mathematics: raw source", "<p>Here $x_1 = 2$ stands raw.</p>"),
    "raw-command": ("mathematics: raw source", r"<p>The vector \mathbf x.</p>"),
    "no-script": ("mathematics: not rendered", r'<span class="math">x</span>'),
    "role": ("mathematics: a role", "<p>See {numref}`fig-one`.</p>"),
    "foreign-image": ("foreign request", '<img src="https://elsewhere.invalid/x.png" alt="far away">'),
    "foreign-script": ("foreign request", '<script src="https://elsewhere.invalid/x.js"></script>'),
    "late-request": ("foreign request", "<script>setTimeout(() => fetch('https://elsewhere.invalid/x'), 20)</script>"),
    "failed-request": ("failed request", '<script src="no-such-file.js"></script>'),
    "dead-link": ("link: leads nowhere", '<a href="nowhere.html">there</a>'),
    "dead-anchor": ("link: has an anchor", '<a href="sound.html#nowhere">there</a>'),
    "dead-own-anchor": ("link: has an anchor", '<a href="#nowhere">there</a>'),
    "disk-link": ("link: names a place", '<a href="file:///tmp/page.html">there</a>'),
    "console-error": ("console error", "<script>console.error('no')</script>"),
    "page-error": ("page error", "<script>throw new Error('no')</script>"),
    "missing-picture": ("picture: does not load", '<img src="no-such-picture.png" alt="not there">'),
    "silent-picture": ("picture: has no alternative text", f'<img src="{PIXEL}">'),
    "too-wide": ("overflow", '<p style="width: 500px">wide</p>'),
}


@pytest.fixture(scope="module")
def faulty_site(tmp_path_factory):
    """A folder with one sound page and one page for each kind of fault, with the book's MathJax."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(HTML / "_static" / "mathjax", folder / "mathjax")
    (folder / "sound.html").write_text(HEAD.format(head=MATHJAX, body=SOUND), encoding="utf-8")
    for name, (_, body) in FAULTS.items():
        head = "" if name == "no-script" else MATHJAX
        (folder / f"{name}.html").write_text(HEAD.format(head=head, body=body), encoding="utf-8")
    with Site(folder) as site:
        yield site


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_checks_pass_a_sound_page(browser, faulty_site, scheme):
    assert visit(browser, faulty_site, "sound.html", scheme) == []


@pytest.mark.parametrize("name", FAULTS)
def test_the_checks_find_a_planted_fault(browser, faulty_site, name):
    expected = FAULTS[name][0]
    found = visit(browser, faulty_site, f"{name}.html", "http")
    assert any(fault.startswith(expected) for fault in found), found
