"""What the reference, a blank submission and typical wrong solutions earn in the first two assignments."""

import re
import warnings

import pytest
from coursework_sources import SOURCE, blank, cells, run_here, solutions
from coursework_wrong import WRONG

ASSIGNMENTS = tuple(WRONG)
each_assignment = pytest.mark.parametrize("assignment", ASSIGNMENTS)


@pytest.fixture(autouse=True)
def grading(request, monkeypatch):
    """The student's id and the hidden modules, as the grader has them."""
    monkeypatch.setenv("SNN_STUDENT", "k01234567")
    for assignment in ASSIGNMENTS:
        monkeypatch.syspath_prepend(SOURCE / assignment)


def scores(results):
    return {grade_id: sum(part.score for part in parts) for grade_id, parts in results.items()}


def full_marks(assignment):
    return {cell.grade_id: cell.points for cell in cells(assignment) if cell.kind == "test"}


@each_assignment
def test_an_assignment_is_worth_100_points_of_which_its_introduction_tells(assignment):
    points = [cell.points for cell in cells(assignment) if cell.kind in ("test", "manual")]
    assert sum(points) == 100
    text = (SOURCE / assignment / f"{assignment}.ipynb").read_text(encoding="utf-8")
    assert sum(map(int, re.findall(r'"\| \d\. .* \| (\d+) \|', text))) == 100
    headings = re.findall(r"## \d\. .* \((\d+) points\)", text)
    assert sum(map(int, headings)) == 100


@each_assignment
def test_the_reference_gets_all_points_that_no_person_gives(assignment):
    results = run_here(assignment, solutions(assignment))
    assert [part for parts in results.values() for part in parts if part.reason] == []
    assert scores(results) == full_marks(assignment)


@each_assignment
def test_a_blank_submission_gets_nothing_and_is_told_so(assignment):
    results = run_here(assignment, blank(assignment))
    assert set(scores(results).values()) == {0}
    assert {part.reason for parts in results.values() for part in parts} == {"nothing here yet"}


@pytest.mark.parametrize(
    ("assignment", "wrong"),
    [pytest.param(name, wrong, id=f"{name}-{wrong.name}") for name in ASSIGNMENTS for wrong in WRONG[name]],
)
def test_a_wrong_solution_gets_exactly_the_points_of_the_rubric_and_the_reason(assignment, wrong):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # some errors overflow
        results = run_here(assignment, solutions(assignment, wrong.replacements))
    assert scores(results) == full_marks(assignment) | wrong.scores
    reasons = [part.reason for parts in results.values() for part in parts if part.reason]
    for words in wrong.reasons:
        assert any(words in reason for reason in reasons), reasons


@pytest.mark.parametrize("student", [f"student-{k}" for k in range(3)])
@each_assignment
def test_the_reference_gets_all_points_for_other_students_too(assignment, student, monkeypatch):
    monkeypatch.setenv("SNN_STUDENT", student)
    assert scores(run_here(assignment, solutions(assignment))) == full_marks(assignment)
