"""What the built pages say of themselves to search engines and messengers: titles, descriptions, cards."""

import html
import importlib.util
import re
import types
from collections import Counter
from pathlib import Path

import pytest
from docutils.core import publish_doctree
from pagecheck import Site

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
SITE = Site(HTML)
PAGES = [path for path in SITE.pages() if not SITE.leads_on(path)] if HTML.is_dir() else []
TEXTS = {path: (HTML / path).read_text(encoding="utf-8").partition("</head>")[0] for path in PAGES}

spec = importlib.util.spec_from_file_location("heads", ROOT / "book" / "_ext" / "heads.py")
heads = importlib.util.module_from_spec(spec)
spec.loader.exec_module(heads)


def meta(text, name):
    """The contents of the meta tags of this name (or property)."""
    tags = [tag for tag in re.findall(r"<meta [^>]*>", text) if re.search(f'(name|property)="{name}"', tag)]
    return [html.unescape(re.search(r'content="([^"]*)"', tag).group(1)) for tag in tags]


def parsed(text):
    """The tree of a page, with its first heading as a section, as Sphinx has it."""
    return publish_doctree(text, settings_overrides={"doctitle_xform": False})


def repeated(values):
    return {value for value, count in Counter(values).items() if count > 1}


def test_every_page_has_a_title_of_its_own_that_begins_with_its_heading():
    titles = {
        path: html.unescape(re.search(r"<title>(.*?)</title>", text, re.S).group(1)) for path, text in TEXTS.items()
    }
    assert len(PAGES) > 25 and repeated(titles.values()) == set()
    for path, title in titles.items():
        heading = re.search(r"<h1[^>]*>(.*?)<", (HTML / path).read_text(encoding="utf-8"), re.S)
        number = re.search(r'<h1>\s*<span class="section-number">([\d.]+ )', (HTML / path).read_text(encoding="utf-8"))
        if number:
            assert title.startswith(number.group(1)), path
        elif path not in ("search.html", "genindex.html"):
            assert title.startswith(html.unescape(heading.group(1)).strip()[:20]), path
        assert "$" not in title and "\\" not in title


def test_every_page_has_one_description_of_its_own_in_plain_words():
    found = {path: meta(text, "description") for path, text in TEXTS.items()}
    assert {path: len(texts) for path, texts in found.items() if len(texts) != 1} == {}
    assert repeated(texts[0] for texts in found.values()) == set()
    assert {path: text for path, (text,) in found.items() if not 80 <= len(text) <= 160} == {}
    assert {path: text for path, (text,) in found.items() if re.search(r"[\\$*_`{}<>\ufffd]|\]\(", text)} == {}


def test_every_page_says_what_a_link_to_it_is_shown_with():
    for path, text in TEXTS.items():
        assert meta(text, "og:description") == meta(text, "description"), path
        (title,) = meta(text, "og:title")
        assert title and "<" not in title, path


PAGE = """
Title
=====

A first sentence with the formula :math:`x^2`. It has a second one. {long}

Part
----

More.
"""


def test_a_sentence_with_a_formula_gives_way_to_the_title():
    doctree = parsed(PAGE.format(long="A third sentence is long enough to make a description of the page."))
    sections = heads.opening(doctree)
    assert heads.description("Title", sections).startswith("Title It has a second one. A third sentence")


def test_a_description_ends_with_a_sentence_or_with_an_ellipsis_and_never_exceeds_its_length():
    whole = "This sentence has fifty characters, which are few."
    assert heads.description("T", [f"{whole} {whole} {whole} {whole}"]) == f"{whole} {whole} {whole}"
    cut = heads.description("T", ["word " * 60 + "end."])
    assert cut.endswith("word…") and len(cut) <= 160


def described(base, pagename="book/page", metatags=""):
    """The meta tags of a page of a book that stands at this address."""
    config = types.SimpleNamespace(html_title="The book", html_baseurl=base, root_doc="book/intro")
    context = {"title": "A page", "metatags": metatags, "body": ""}
    text = "A first sentence that says what the page is about. A second sentence that says a little more of it."
    heads.describe(types.SimpleNamespace(config=config), pagename, "page.html", context, parsed(f"T\n=\n\n{text}"))
    return context["metatags"]


@pytest.mark.parametrize("base", ["https://course.example/book/", "https://course.example/book"])
def test_a_book_with_an_address_names_its_picture_and_its_pages_in_full(base):
    text = described(base)
    assert meta(text, "og:url") == ["https://course.example/book/book/page.html"]
    assert meta(text, "og:image") == ["https://course.example/book/_static/card.png"]
    assert meta(text, "twitter:card") == ["summary_large_image"]


def test_a_book_without_an_address_names_none():
    text = described("")
    assert (
        meta(text, "og:title") == ["A page"] and "og:url" not in text and "og:image" not in text and "://" not in text
    )


def test_a_description_in_the_front_matter_comes_first():
    given = '<meta content="Given &amp; kept" name="description" />'
    text = described("", metatags=given)
    assert meta(text, "description") == ["Given & kept"] == meta(text, "og:description")


def test_lists_that_are_written_as_definitions_without_terms_become_lists_and_others_stay():
    long = '<dl>\n<dd><em class="sig-param">a</em>, </dd><dd><em class="sig-param">b</em></dd>\n</dl>'
    kept = "<dl><dt>term</dt><dd>what it means</dd></dl>"
    text = heads.corrected(kept + long + kept)
    assert text.count('<dd role="listitem"><em class="sig-param">') == 2 and text.count('<dl role="list">') == 1
    assert text.startswith(kept) and text.endswith(kept)
