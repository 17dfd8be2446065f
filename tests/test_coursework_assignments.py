"""What the reference, a blank submission and typical wrong solutions earn in the assignments."""

import itertools
import re
import warnings
from fractions import Fraction

import numpy as np
import pytest
import torch
from coursework_sources import SOURCE, answers, blank, full_marks, run_here, solutions, source
from coursework_wrong import WRONG
from scipy import stats

from snnlib import meanfield, moments
from snnlib.activations import Activation
from snnlib.activations import selu as selu_with
from snnlib.contraction import Domain, certify
from snnlib.coursework import seed

ASSIGNMENTS = tuple(WRONG)
each_assignment = pytest.mark.parametrize("assignment", ASSIGNMENTS)


@pytest.fixture(autouse=True)
def grading(monkeypatch):
    """The student's id and the hidden modules, as the grader has them."""
    monkeypatch.setenv("SNN_STUDENT", "k01234567")
    for assignment in ASSIGNMENTS:
        monkeypatch.syspath_prepend(SOURCE / assignment)


def scores(results):
    return {grade_id: sum(part.score for part in parts) for grade_id, parts in results.items()}


@pytest.mark.parametrize("assignment", [*ASSIGNMENTS, "project"])
def test_an_assignment_is_worth_100_points_of_which_its_introduction_tells(assignment):
    assert sum(cell.points or 0 for cell in source(assignment).cells) == 100
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


@pytest.mark.parametrize("assignment", [*ASSIGNMENTS, "project"])
def test_a_person_grades_by_a_rubric_in_the_cell_above(assignment):
    cells = source(assignment).cells
    above = [text.text for text, cell in itertools.pairwise(cells) if cell.kind == "manual"]
    assert len(above) == len(answers(assignment)) > 0
    assert all("**How it is graded** (by a person)" in text for text in above)


def test_the_gradients_of_the_hidden_judge_are_those_of_torch():
    from hidden_backpropagation import loss_of, random_network, true_gradients, upstream_of

    parameters, x, labels = random_network([5, 6, 3, 4], "k01234567")
    arrays = [torch.tensor(array, requires_grad=True) for pair in parameters for array in pair]
    a = torch.tensor(x) @ arrays[0].T + arrays[1]
    for W, b in zip(arrays[2::2], arrays[3::2], strict=True):
        a = torch.nn.functional.softsign(a) @ W.T + b
    loss = torch.nn.functional.cross_entropy(a, torch.tensor(labels))
    *gradients, upstream = torch.autograd.grad(loss, [*arrays, a])
    assert loss.item() == pytest.approx(loss_of(parameters, x, labels), rel=1e-12)
    assert upstream.numpy() == pytest.approx(upstream_of(parameters, x, labels), rel=1e-12)
    for true, gradient in zip(itertools.chain(*true_gradients(parameters, x, labels)), gradients, strict=True):
        assert true == pytest.approx(gradient.numpy(), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize(("shift", "tilt", "sigma_b"), [(0.3, 0.0, 0.1), (0.6, 0.15, 0.4), (0.45, 0.07, 0.0)])
def test_the_theory_of_the_hidden_tests_is_that_of_the_package(shift, tilt, sigma_b):
    from hidden_gradients import Theory

    activation = Activation(
        "own", lambda z: np.tanh(z + shift) + tilt * z, lambda z: 1 - np.tanh(z + shift) ** 2 + tilt
    )
    theory = Theory(activation.f, activation.derivative)
    sigma_w, q = theory.critical(sigma_b)
    assert sigma_w == pytest.approx(meanfield.critical_sigma_w(activation, sigma_b), rel=1e-8)
    assert theory.variance_map(q, sigma_w, sigma_b) == pytest.approx(q, rel=1e-10)
    assert theory.chi(q, 0.7) == pytest.approx(meanfield.chi(activation, 0.7, q=q), rel=1e-12)
    fixed = meanfield.variance_fixed_point(activation, 1.4 * sigma_w, sigma_b)
    assert theory.fixed_point(1.4 * sigma_w, sigma_b) == pytest.approx(fixed, rel=1e-10)


def test_layers_of_random_numbers_have_the_exponents_of_theory():
    from hidden_gradients import gaussian_exponents

    n = 6
    squares = [np.log(stats.chi2(n - k).rvs(100_000, random_state=k)) for k in range(n)]  # what QR leaves of a column
    measured = [0.5 * (np.mean(logs) - np.log(n)) for logs in squares]
    assert gaussian_exponents(n) == pytest.approx(np.array(measured), abs=0.01)


@pytest.mark.parametrize(("mu", "nu"), [(-0.2, 0.6), (-0.05, 1.5), (0.1, 1.0)])
def test_the_own_activation_of_the_hidden_tests_is_that_of_the_package(mu, nu):
    from hidden_activation import true_constants, true_jacobian, true_moments, true_path

    alpha, lam = true_constants(mu, nu, nu)
    assert (alpha, lam) == pytest.approx(moments.selu_constants(mu, nu), rel=1e-10)
    f = selu_with(alpha, lam)
    for omega, tau in [(0.0, 1.0), (0.7, 0.5), (-0.3, 300.0)]:
        expected = moments.moment_map(f, mu, nu, omega, tau)
        assert true_moments(mu * omega, nu * tau, alpha, lam) == pytest.approx(expected, rel=1e-9)
        expected = moments.jacobian(f, mu, nu, omega, tau)
        assert true_jacobian(mu, nu, omega, tau, alpha, lam) == pytest.approx(expected, rel=1e-6, abs=1e-8)
    assert true_path(0.0, 2 * nu, 5, alpha, lam) == pytest.approx(moments.iterate(f, 0.0, 2 * nu, 5), rel=1e-9)


def test_the_box_of_the_reference_can_be_certified_for_two_hundred_students():
    target = next(cell.text for cell in source("own-activation").cells if cell.grade_id == "target")
    space = {"seed": seed, "print": lambda *_: None}
    exec(solutions("own-activation")["box"], space)
    room = Fraction("0.002")
    for k in range(200):
        space["student"] = f"k{k:08d}".__str__
        exec(target, space)
        own = space["MU"], space["NU"]
        near = [(Fraction(c) - room, Fraction(c) + room) for c in moments.selu_constants(*own)]
        proof = certify(Domain(**space["box"](*own)), *near, tolerance="0.001", max_boxes=2000)
        assert proof.contracts and proof.maps_into_itself, own


def test_the_signal_of_the_hidden_tests_is_that_of_a_loop():
    from hidden_network import new_pictures, true_signal

    rng = np.random.default_rng(0)
    layers = [(rng.standard_normal((4, 3)), rng.standard_normal(4)), (np.eye(4), np.zeros(4))]
    x = rng.standard_normal((5, 3))
    y = [torch.nn.functional.selu(torch.tensor(layers[0][0] @ row + layers[0][1])).numpy() for row in x]
    assert true_signal(layers, x) == pytest.approx(np.array([[np.mean(y), np.var(y)]]), rel=1e-12)
    train, t, test, t_test = new_pictures(3)
    number = {int(old): int(new) for old, new in zip(train.y, t, strict=True)}
    assert sorted(number.values()) == list(range(10))
    assert [number[int(old)] for old in test.y] == t_test.tolist()
