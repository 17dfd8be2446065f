"""The parts, comparisons and seeds that the coursework's tests are made of."""

import subprocess
import sys

import numpy as np
import pytest

from snnlib.coursework import (
    Died,
    Marks,
    Mistake,
    StudentError,
    TooLong,
    TooMuch,
    expect,
    expect_nonzero,
    expect_raises,
    explain,
    seed,
    student,
)

W = np.arange(15.0).reshape(5, 3)


def test_points_are_the_sum_of_the_parts_that_raise_nothing(capsys):
    marks = Marks()
    with marks(2, "shape of dW"):
        pass
    with marks(3, "values of dW"):
        raise Mistake("dW: expected 1, got 2")
    with marks(0.5, "bias"):
        raise NotImplementedError
    assert marks.total() == 2.0 and type(marks.total()) is float
    assert capsys.readouterr().out.splitlines()[:3] == [
        "+2 shape of dW",
        "-3 values of dW: dW: expected 1, got 2",
        "-0.5 bias: nothing here yet",
    ]
    assert [part.score for part in marks.parts] == [2.0, 0.0, 0.0]


def test_an_interrupt_is_no_lost_point():
    marks = Marks()
    with pytest.raises(KeyboardInterrupt), marks(1, "a loop"):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (NotImplementedError(), "nothing here yet"),
        (StudentError("NotImplementedError", "", 3), "nothing here yet"),
        (
            StudentError("ZeroDivisionError", "division by zero", 3),
            "your code raised ZeroDivisionError in line 3 of its cell: division by zero",
        ),
        (StudentError("KeyError"), "your code raised KeyError"),
        (NameError("name 'f' is not defined", name="f"), "there is no f: did its cell run without an error?"),
        (AssertionError(), "a check failed"),
        (AssertionError("mu must shrink"), "mu must shrink"),
        (ValueError("two\nlines"), "ValueError: two lines"),
        (Mistake("x" * 1000), "x" * 299 + "…"),
        (
            StudentError("ValueError", "operands could not be broadcast together"),
            "shapes do not fit (a transpose, or the wrong layer?); "
            "your code raised ValueError: operands could not be broadcast together",
        ),
    ],
)
def test_an_error_becomes_one_sentence(error, sentence):
    assert explain(error) == sentence


@pytest.mark.parametrize("limit", [TooLong, TooMuch, Died])
def test_limits_are_errors_of_the_student(limit):
    assert isinstance(limit("limit", "more than 10 s"), StudentError)
    assert explain(limit("", "your code ran for more than 10 s")) == "your code ran for more than 10 s"
    assert explain(limit("")).lower().startswith(("your code", "the process"))


class Chameleon:
    """Equal to everything."""

    def __eq__(self, other):
        return True

    __hash__ = None


class Forged(np.ndarray):
    """An array that compares as it likes."""

    def __ne__(self, other):
        return np.zeros(self.shape, bool)


@pytest.mark.parametrize(
    ("got", "want", "sentence"),
    [
        (W.tolist(), W, "expected an array, got a list"),
        (None, W, "expected an array, got None: did you forget to return it?"),
        (Chameleon(), W, "expected an array, got a Chameleon"),
        (W.view(Forged), W, "expected an array, got a Forged"),
        (Chameleon(), 1.0, "expected a float, got a Chameleon"),
        (np.array(1.0), 1.0, "expected a float, got an array"),
        (True, 1, "expected an int, got a bool"),
        (W.T, W, r"expected shape \(5, 3\), got \(3, 5\): did you forget a transpose\?"),
        (W[:1], W, r"expected shape \(5, 3\), got \(1, 3\)$"),
        (W[0], W[0, :2], r"expected shape \(2,\), got \(3,\)$"),
        (W.astype(np.float32), W, "expected dtype float64, got float32"),
        (W.astype(int), W, "expected dtype float64, got int64"),
        (np.where(W == 7, np.nan, W), W, r"at \[2, 1\]: got nan, which is not finite"),
        (np.where(W == 7, np.inf, W), W, "got inf, which is not finite"),
        (W + (W == 4) + 2 * (W == 11), W, r"the largest difference is at \[3, 2\]: expected 11, got 13"),
        (np.arange(3), np.array([0, 1, 3]), r"at \[2\]: expected 3, got 2"),
        (np.array([True]), np.array([False]), "expected False, got True"),
        (0.5, 0.25, "expected 0.25, got 0.5"),
        (np.nan, 0.25, "got nan, which is not finite"),
        (1.0, np.inf, "expected inf, got 1"),
        (np.nan, np.nan, "got nan, which is not finite"),
        (np.array([1.0, 2.0]), np.array([1.0, np.nan]), r"at \[1\]: expected nan, got 2"),
        (1j, 2j, "expected 0[+]2j, got 0[+]1j"),
        ("he", "lecun", "expected 'lecun', got 'he'"),
        ((1.0, 2.0, 3.0), (1.0, 2.0), "expected 2 values, got 3"),
        ((1.0, W.T), (1.0, W), r"at \[1\], expected shape"),
        ([(1.0, 2.0)], [(1.0, 3.0)], r"at \[0\]\[1\], expected 3, got 2"),
        ({"mu": 1.0}, {"mu": 1.0, "nu": 2.0}, "expected the keys mu, nu, got mu"),
        ({"mu": 1.0, "nu": 1.0}, {"mu": 1.0, "nu": 2.0}, r"at \['nu'\], expected 2, got 1"),
    ],
)
def test_a_wrong_result_is_explained(got, want, sentence):
    with pytest.raises(Mistake, match=f"^dW: .*{sentence}"):
        expect(got, want, name="dW")


@pytest.mark.parametrize(
    ("got", "want"),
    [
        (W + 1e-10, W),
        (np.float64(0.1), 0.1),
        (2, 2.0),
        (np.array([-np.inf, np.inf]), np.array([-np.inf, np.inf])),
        (np.zeros((0, 3)), np.zeros((0, 3))),
        ([(W, None)], [(W, None)]),
        ({"mu": 0.0, "on": True}, {"on": True, "mu": 0.0}),
    ],
)
def test_what_is_wanted_passes(got, want):
    expect(got, want)


def test_tolerances_are_those_asked_for():
    expect(1.0009, 1.0, rtol=1e-3, atol=0)
    expect(1e-4, 0.0, atol=1e-3)
    with pytest.raises(Mistake):
        expect(1.0011, 1.0, rtol=1e-3, atol=0)


def test_a_typical_mistake_is_named():
    mistakes = {"did you forget the derivative?": 2 * W, "did you forget to transpose W?": W.T}
    with pytest.raises(Mistake, match=r"^dW: did you forget the derivative\?$"):
        expect(2 * W, W, "dW", mistakes=mistakes)
    with pytest.raises(Mistake, match=r"^dW: did you forget to transpose W\?$"):
        expect(W.T, W, "dW", mistakes=mistakes)
    with pytest.raises(Mistake, match="largest difference"):
        expect(3 * W, W, "dW", mistakes=mistakes)


@pytest.mark.parametrize("got", [0.0, np.zeros(3), np.array([1.0, np.nan]), np.nan, np.ones(2, np.float32), [1.0]])
def test_what_must_not_vanish_is_a_finite_number_that_is_not_zero(got):
    expect_nonzero(np.array([0.0, 1e-300]))
    expect_nonzero(-2.0)
    with pytest.raises(Mistake, match="^dW: "):
        expect_nonzero(got, "dW")


def test_an_expected_error_is_recognized_in_this_process_and_in_another():
    def raises(error):
        raise error

    expect_raises(ValueError, raises, ValueError())
    expect_raises(ValueError, raises, StudentError("ValueError"))
    with pytest.raises(Mistake, match="expected ValueError; TypeError: no"):
        expect_raises(ValueError, raises, TypeError("no"))
    with pytest.raises(Mistake, match="expected ValueError; your code raised TypeError"):
        expect_raises(ValueError, raises, StudentError("TypeError"))
    with pytest.raises(NotImplementedError):
        expect_raises(ValueError, raises, NotImplementedError())
    with pytest.raises(Mistake, match="expected ValueError, but nothing was raised"):
        expect_raises(ValueError, abs, -1)


def test_the_grader_names_the_student_then_the_file_then_jupyterhub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SNN_STUDENT", raising=False)
    monkeypatch.delenv("JUPYTERHUB_USER", raising=False)
    with pytest.raises(LookupError, match="a file named STUDENT"):
        student()
    monkeypatch.setenv("JUPYTERHUB_USER", "hub")
    assert student() == "hub"
    (tmp_path / "STUDENT").write_text(" k01234567\n", encoding="utf-8")
    assert student() == "k01234567"
    monkeypatch.setenv("SNN_STUDENT", "grader")
    assert student() == "grader"


def test_seeds_are_stable_and_differ_between_students_and_assignments():
    assert seed("k01234567", "own-activation") == 3907336788
    assert seed(" K01234567 ", "own-activation") == seed("k01234567", "own-activation")
    assert len({seed(f"k{i}", name) for i in range(200) for name in ("own-activation", "project")}) == 400


def test_students_need_numpy_only():
    program = "import sys, snnlib.coursework; print({'scipy', 'torch'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"
