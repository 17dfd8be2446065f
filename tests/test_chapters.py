"""What every chapter owes its readers: a question and its answer, exercises with solutions, terms explained."""

import re
import statistics

import chapters
import nbformat
import pytest

GLOSSARY = chapters.ROOT / "book" / "reference" / "glossary.md"
FEWEST_EXERCISES = 5
USUAL_WORDS = (40, 80)
MOST_WORDS = 200  # a derivation
EXERCISE = re.compile(r"^::::\{exercise\} (?P<title>.+)\n:label: (?P<label>[\w-]+)\n(?P<body>(?:.*\n)*?)::::$", re.M)
CODE = "\0"  # stands before a code cell
HINT = re.compile(r"^:::\{dropdown\} Hint", re.M)
TERM = re.compile(r"\{term\}`(?:[^`<]*<)?([^`>]+)>?`")

NOTEBOOKS = chapters.notebooks()
each_chapter = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


def prose(path):
    """Return all Markdown of a page as one text."""
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    cells = nbformat.read(path, as_version=nbformat.NO_CONVERT)["cells"]
    return "\n\n".join(cell["source"] for cell in cells if cell["cell_type"] == "markdown")


def exercises(path):
    """Return the exercises of a chapter in their order."""
    return list(EXERCISE.finditer(prose(path)))


def solution(path, label):
    """Return the text and the code between the marks of an exercise's solution, with CODE before each code cell."""
    cells = nbformat.read(path, as_version=nbformat.NO_CONVERT)["cells"]
    text = "\n\n".join(CODE + cell["source"] if cell["cell_type"] == "code" else cell["source"] for cell in cells)
    return text.partition(f":::{{solution-start}} {label}\n:class: dropdown\n")[2].partition(":::{solution-end}")[0]


def words_between_cells(path):
    """Return how many words stand between code cells before the summary; formulas, boxes and tables have none."""
    cells = nbformat.read(path, as_version=nbformat.NO_CONVERT)["cells"]
    text = "\n\n".join(CODE if cell["cell_type"] == "code" else cell["source"] for cell in cells)
    text = re.sub(r"^(:{3,}|`{3,}).*?^\1\s*$", "", text.partition("\n## Summary")[0], flags=re.S | re.M)
    text = re.sub(r"\$\$.*?\$\$(\s*\(eq-[\w-]+\))?", "", text, flags=re.S)
    text = re.sub(r"^(#+ .*|\(.*\)=|\|.*)$", "", text, flags=re.M)
    text = re.sub(r"\$[^$]+\$", "x", text)  # counts as a word
    counts = (len(re.findall(r"\S*\w\S*", run)) for run in text.split(CODE))
    return [count for count in counts if count]


def glossary():
    """Return the terms of the glossary in their order."""
    body = GLOSSARY.read_text(encoding="utf-8").partition(":::{glossary}\n")[2].partition(":::")[0]
    return [line for line in body.splitlines() if line and not line.startswith(" ")]


@each_chapter
def test_a_chapter_opens_with_a_question_and_closes_with_summary_exercises_and_reading(path):
    text = prose(path)
    assert "?" in text.partition("\n## ")[0], "no question before the first section"
    headings = re.findall(r"^## (.+)$", text, re.M)
    assert headings[-3:] == ["Summary", "Exercises", "Where to read on"]


@each_chapter
def test_the_prose_between_two_cells_is_neither_a_caption_nor_a_lecture(path):
    counts = words_between_cells(path)
    assert USUAL_WORDS[0] <= statistics.median(counts) <= USUAL_WORDS[1]
    assert max(counts) <= MOST_WORDS


@each_chapter
def test_a_chapter_has_exercises_each_with_a_folded_hint(path):
    found = exercises(path)
    assert len(found) == prose(path).count("{exercise}"), "an exercise is not written as the others"
    assert len(found) >= FEWEST_EXERCISES
    assert [match["title"] for match in found if not HINT.search(match["body"])] == []


@each_chapter
def test_the_solution_of_an_exercise_is_folded_and_computes_unless_the_question_is_open(path):
    for match in exercises(path):
        found = solution(path, match["label"])
        assert found.strip(), f"{match['title']} has no folded solution"
        assert CODE in found or match["title"].endswith("(open)"), f"the solution of {match['title']} computes nothing"


@each_chapter
def test_a_chapter_asks_its_readers_to_find_an_error(path):
    assert [match for match in exercises(path) if match["title"].startswith("Find the error")]


@each_chapter
def test_the_last_exercise_of_a_chapter_is_open(path):
    assert exercises(path)[-1]["title"].endswith("(open)")


def test_the_glossary_is_in_alphabetical_order_and_names_nothing_twice():
    terms = [term.lower() for term in glossary()]
    assert terms == sorted(set(terms))


def test_every_term_of_the_glossary_is_linked_from_a_chapter():
    linked = {term.lower() for path in NOTEBOOKS for term in TERM.findall(prose(path))}
    assert [term for term in glossary() if term.lower() not in linked] == []


def test_an_entry_of_the_glossary_names_the_chapter_that_explains_it():
    body = GLOSSARY.read_text(encoding="utf-8").partition(":::{glossary}\n")[2].partition(":::")[0]
    for entry in re.split(r"\n\n(?=\S)", body.strip()):
        assert re.search(r"\]\(\.\./[\w-]+/[\w-]+\.ipynb(#[\w-]+)?\)\.$", entry), entry
