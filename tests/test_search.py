"""The search of the built book, over HTTP and from the disk: what a reader looks for comes first."""

from pathlib import Path
from urllib.parse import quote

import pytest
from pagecheck import Site

HTML = Path(__file__).resolve().parents[1] / "_build" / "html"
SCHEMES = ("http", "file")

NOTATION, GLOSSARY, HOME = "book/notation.html", "book/reference/glossary.html", "book/intro.html"
# What a reader types: pages, one of which must be the first that is found.
WANTED = {
    "alpha dropout": (GLOSSARY, "book/self-normalizing/alpha-dropout.html"),
    "vanishing gradient": (GLOSSARY, HOME),
    "vanishing gradients": (HOME,),
    "He initialization": (GLOSSARY, "book/gradients/signal-propagation.html"),
    "depth scale": (GLOSSARY, NOTATION),
    "upstream": (GLOSSARY, NOTATION),
    "Chi": (NOTATION,),
    "χ": (NOTATION,),
    "omega": (NOTATION,),
    "Ω": (NOTATION,),
    "tau": (NOTATION,),
    "τ": (NOTATION,),
    "lambda": (NOTATION,),
    "λ": (NOTATION,),
    "µ": (NOTATION,),  # the micro sign, which some keyboards have
    "μ": (NOTATION,),
}


@pytest.fixture(scope="module")
def book():
    """The built book, served."""
    with Site(HTML) as site:
        yield site


@pytest.fixture(scope="module")
def page(browser):
    """One browser tab, which keeps the index of the search."""
    context = browser.new_context()
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("query", WANTED)
def test_what_a_reader_looks_for_comes_first(page, book, query, scheme):
    page.goto(book.base(scheme) + "search.html?q=" + quote(query))
    first = page.locator("#search-results ul.search > li a").first
    first.wait_for(timeout=20_000)
    assert first.get_attribute("href").partition("#")[0] in WANTED[query]


def test_a_word_that_does_not_occur_is_not_found(page, book):
    page.goto(book.base("file") + "search.html?q=zyxwvut")
    page.get_by_text("did not match any documents").wait_for(timeout=20_000)
    assert page.locator("#search-results ul.search > li").count() == 0
