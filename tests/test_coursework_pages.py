"""The pages of the coursework: every assignment has its points there, and nothing that students should not see."""

import re
from html import unescape
from pathlib import Path

import pytest
from coursework.notebooks import HIDDEN, SOLUTION, Source

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(path.parent for path in (ROOT / "book" / "coursework" / "source").glob("*/*.ipynb"))
PAGES = ROOT / "_build" / "html" / "book" / "coursework"


@pytest.fixture(scope="module")
def rubric():
    """The words of the built page of rubrics."""
    if not (PAGES / "rubric.html").exists():
        pytest.skip("no book: `make book` builds it")
    page = (PAGES / "rubric.html").read_text(encoding="utf-8")
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", page)).split())


@pytest.mark.parametrize("folder", SOURCES, ids=lambda folder: folder.name)
def test_an_assignment_has_a_hundred_points_and_each_question_is_in_the_rubric(folder, rubric):
    graded = [cell for cell in Source.read(folder).cells if cell.points is not None]
    assert sum(cell.points for cell in graded) == 100
    for cell in graded:
        assert f"{cell.grade_id.removesuffix('-test')} {cell.points:g} " in rubric
        assert cell.kind == "test" or f"{cell.grade_id} (by a person)" in rubric


@pytest.mark.parametrize("folder", SOURCES, ids=lambda folder: folder.name)
def test_neither_solutions_nor_hidden_tests_are_in_the_book(folder):
    if not PAGES.exists():
        pytest.skip("no book: `make book` builds it")
    source = Source.read(folder)
    parts = [match[0] for cell in source.cells for kind in (SOLUTION, HIDDEN) for match in kind.finditer(cell.text)]
    public = {line.strip() for cell in source.cells for line in cell.released.splitlines()}
    secret = {line.strip() for part in parts for line in part.splitlines()} - public
    assert secret
    assert not list((ROOT / "_build" / "html").rglob(f"{source.name}.*"))
    for path in PAGES.iterdir():
        text = unescape(re.sub(r"<[^>]*>", "", path.read_text(encoding="utf-8")))
        assert not [line for line in secret if len(line) > 25 and line in text]
