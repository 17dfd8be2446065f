"""The claims that chapters test: written completely, beside a cell that asserts something, and all in the ledger."""

import importlib.util
import re
from io import StringIO

import chapters
import nbformat
import pytest
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

LEDGER = chapters.ROOT / "book" / "reference" / "claims.md"
BUILT = chapters.ROOT / "_build" / "html"
PARTS = {path.parent.name for path in chapters.notebooks()}

spec = importlib.util.spec_from_file_location("claims", chapters.ROOT / "book" / "_ext" / "claims.py")
claims = importlib.util.module_from_spec(spec)
spec.loader.exec_module(claims)

ALL = [claim for path in chapters.notebooks() for claim in claims.claims(path)]
CLAIM = """:::{{claim}} Every gradient of $W$ vanishes.
:label: claim-tested
:source: folklore
:verdict: {verdict}
:::

Go on."""


def chapter(tmp_path, *cells):
    """Store a notebook with the given cells, (kind, source), and return its path."""
    make = {"code": nbformat.v4.new_code_cell, "markdown": nbformat.v4.new_markdown_cell}
    metadata = {"language_info": {"name": "python"}}
    notebook = nbformat.v4.new_notebook(cells=[make[kind](source) for kind, source in cells], metadata=metadata)
    path = tmp_path / "index.ipynb"
    nbformat.write(notebook, path)
    return path


def built(tmp_path, *cells):
    """Build a book of one chapter; return (its page, the warnings)."""
    chapter(tmp_path, ("markdown", "# Why?\n\nBecause."), *cells)
    (tmp_path / "conf.py").write_text(
        "extensions = ['myst_nb', 'claims']\nnb_execution_mode = 'off'\n"
        "myst_enable_extensions = ['colon_fence', 'dollarmath']\n"
        "html_theme = 'basic'\n"
    )
    warnings = StringIO()
    with patch_docutils(tmp_path), docutils_namespace():
        app = Sphinx(tmp_path, tmp_path, tmp_path / "out", tmp_path / "trees", "html", status=None, warning=warnings)
        app.build()
    return (tmp_path / "out" / "index.html").read_text(encoding="utf-8"), warnings.getvalue()


@pytest.fixture
def _extension(monkeypatch):
    """Let Sphinx find the extension."""
    monkeypatch.syspath_prepend(str(chapters.ROOT / "book" / "_ext"))


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "shown"),
    [
        ("holds", "holds", "**Holds**."),
        ("holds: by a proof", "holds", "**Holds**: by a proof."),
        ("holds under $n > 9$", "holds under", "**Holds** under $n > 9$."),
        ("holds for ReLU", "holds under", "**Holds** for ReLU."),
        ("does not hold: it grows.", "does not hold", "**Does not hold**: it grows."),
    ],
)
def test_a_verdict_is_one_of_three_and_reads_as_a_sentence(text, kind, shown):
    assert (claims.kind(text), claims.sentence(text)) == (kind, shown)


@pytest.mark.parametrize("text", ["true", "holds mostly", "does not hold for ReLU", "holds under", ""])
def test_another_verdict_is_refused_with_its_words(text):
    with pytest.raises(claims.ClaimError, match=re.escape(repr(text))):
        claims.read_verdict(text)


def test_a_claim_is_read_with_its_chapter(tmp_path):
    path = chapter(tmp_path, ("markdown", "# Why: a question\n"), ("markdown", CLAIM.format(verdict="holds")))
    (claim,) = claims.claims(path)
    assert (claim.title, claim.text, claim.source) == ("Why: a question", "Every gradient of $W$ vanishes.", "folklore")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (":source: folklore\n", "", "needs :label:, :source: and :verdict:"),
        (":source: folklore", ":author: folklore", "needs :label:, :source: and :verdict:"),
        (" Every gradient of $W$ vanishes.", "", "is not written as"),
        (":verdict: holds", ":verdict: perhaps", "'perhaps'"),
    ],
)
def test_an_incomplete_claim_is_refused_with_the_name_of_the_chapter_or_its_words(tmp_path, old, new, message):
    path = chapter(tmp_path, ("markdown", CLAIM.format(verdict="holds").replace(old, new)))
    with pytest.raises(claims.ClaimError, match=re.escape(message)):
        list(claims.claims(path))


# --- building --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_extension")
def test_the_label_of_a_claim_leads_to_the_nearest_cell_that_asserts(tmp_path):
    page, warnings = built(
        tmp_path,
        ("code", "assert 1 < 2"),
        ("code", "first = 1\nassert first"),
        ("code", "shown = 2"),
        ("markdown", CLAIM.format(verdict="does not hold: some stay")),
    )
    assert warnings == ""
    start = page.index('id="claim-tested"')
    assert page[start:].index("first") < page[start:].index("shown")
    assert "1</span>" not in page[start : start + 20] and page.index("&lt;") < start
    assert 'class="claim claim-does-not-hold' in page and "some stay." in page


@pytest.mark.usefixtures("_extension")
@pytest.mark.parametrize("code", ["x = 1  # assert nothing", "print('assert')", ""])
def test_a_claim_that_no_cell_above_asserts_is_a_warning(tmp_path, code):
    _, warnings = built(tmp_path, ("code", code), ("markdown", CLAIM.format(verdict="holds")))
    assert "claim-tested: no cell just above asserts this claim" in warnings


@pytest.mark.usefixtures("_extension")
def test_an_assertion_far_above_does_not_count(tmp_path):
    cells = [("code", "assert True")] + [("code", f"x = {n}") for n in range(claims.NEAR)]
    _, warnings = built(tmp_path, *cells, ("markdown", CLAIM.format(verdict="holds")))
    assert "no cell just above" in warnings


# --- the book --------------------------------------------------------------------------------------------------------


def test_every_part_of_the_book_tests_claims_of_the_lecture_or_of_papers():
    assert {claim.chapter.parent.name for claim in ALL} == PARTS


def test_the_labels_of_claims_are_unique_and_say_that_they_are_claims():
    labels = [claim.label for claim in ALL]
    assert sorted(labels) == sorted(set(labels))
    assert all(re.fullmatch(r"claim-[a-z0-9-]+", label) for label in labels)


def test_a_claim_is_one_sentence_with_a_source():
    for claim in ALL:
        assert claim.text.endswith("."), claim.label
        assert claim.source.strip(), claim.label


def test_the_ledger_shows_every_part_and_no_claim_by_hand():
    text = LEDGER.read_text(encoding="utf-8")
    assert set(re.findall(r"```\{claims\} ([\w-]+)", text)) == PARTS | {"all"}
    assert "claim-" not in text


@pytest.mark.skipif(not BUILT.is_dir(), reason="the book is not built: run `make book`")
def test_the_built_ledger_leads_to_every_cell():
    page = (BUILT / "book" / "reference" / "claims.html").read_text(encoding="utf-8")
    for claim in ALL:
        target = claim.chapter.relative_to(chapters.ROOT / "book").with_suffix(".html").as_posix()
        assert f'href="../{target}#{claim.label}"' in page, claim.label
        first, other = rf'<div class="cell[^"]*"[^>]* id="{claim.label}"', rf'<span id="{claim.label}"></span>'
        more = rf'<div class="cell[^>]*>\s*(?:<span id="[\w-]+"></span>\s*)*{other}'  # a cell of several claims
        assert re.search(f"{first}|{more}", (BUILT / "book" / target).read_text("utf-8")), claim.label
