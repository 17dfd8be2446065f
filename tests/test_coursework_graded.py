"""The assignments in the grader: what they earn in one process they earn in the sandbox."""

import os

import pytest
from coursework import batch, intake, sandbox
from coursework_sources import SOURCE, answers, blank, full_marks, solutions, source, submission
from coursework_wrong import WRONG

ASSIGNMENTS = tuple(WRONG)
pytestmark = pytest.mark.timeout(900)  # the first test grades everything: half a minute, or much more on a busy machine


@pytest.fixture(scope="module")
def backend():
    """The sandbox of this machine."""
    try:
        return sandbox.choose([SOURCE])
    except sandbox.NoSandbox as error:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(str(error))


@pytest.fixture(scope="module")
def graded(backend, tmp_path_factory):
    """{assignment: {who: result}} of the reference, a blank submission and all wrong solutions."""
    found = {}
    for assignment in ASSIGNMENTS:
        files = {
            "reference": submission(assignment, solutions(assignment) | answers(assignment)),
            "blank": submission(assignment, blank(assignment)),
            **{
                f"wrong-{k}": submission(assignment, solutions(assignment, wrong.replacements))
                for k, wrong in enumerate(WRONG[assignment])
            },
        }
        handed_in = [intake.Submission(who, data, f"{who}.ipynb") for who, data in files.items()]
        course = tmp_path_factory.mktemp(assignment)
        results = batch.grade_all(handed_in, source(assignment), course, backend)
        found[assignment] = {result["student"]: result for result in results}
    return found


def scores(result):
    return {cell["grade_id"]: cell["score"] for cell in result["cells"] if cell["kind"] == "test"}


def reasons(result):
    return [part["reason"] for cell in result["cells"] for part in cell["parts"] if part["reason"]]


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_the_reference_gets_all_points_but_those_that_a_person_gives(assignment, graded):
    result = graded[assignment]["reference"]
    assert result["state"] == "graded" and result["notes"] == [] and reasons(result) == []
    assert scores(result) == full_marks(assignment)
    assert result["needs_person"] == [f"to be read: {', '.join(answers(assignment))}"]


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_a_blank_submission_gets_nothing_and_needs_nobody(assignment, graded):
    result = graded[assignment]["blank"]
    assert result["state"] == "graded" and result["notes"] == [] and result["needs_person"] == []
    assert set(scores(result).values()) == {0} and set(reasons(result)) == {"nothing here yet"}


@pytest.mark.parametrize(
    ("assignment", "k"),
    [pytest.param(name, k, id=f"{name}-{wrong.name}") for name in ASSIGNMENTS for k, wrong in enumerate(WRONG[name])],
)
def test_a_wrong_solution_gets_exactly_the_points_of_the_rubric_and_the_reason(assignment, k, graded):
    wrong, result = WRONG[assignment][k], graded[assignment][f"wrong-{k}"]
    expected, found = full_marks(assignment) | wrong.scores, scores(result)
    assert expected.keys() == found.keys()
    for name in expected.keys() - set(wrong.varies):  # these submissions are of other students
        assert found[name] == expected[name], name
    for words in wrong.reasons:
        assert any(words in reason for reason in reasons(result)), reasons(result)
