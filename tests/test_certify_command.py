"""python -m snnlib certify: what it prints, what it exits with."""

import re
import shlex
import subprocess
import sys

import pytest

from snnlib.__main__ import main


def certify(line, capsys):
    """(exit status, output, errors)."""
    try:
        status = main(["certify", *shlex.split(line)])
    except SystemExit as exit:
        status = exit.code
    return status, *capsys.readouterr()


def test_theorem_1_is_proven_and_said_with_its_domain_bound_boxes_and_time(capsys):
    status, output, errors = certify("", capsys)
    assert (status, errors) == (0, "")
    assert output.startswith("Theorem 1: g contracts, and maps the domain into itself, for all\n")
    assert "mu in [-0.1, 0.1], nu in [0.8, 1.5], omega in [-0.1, 0.1], tau in [0.95, 1.1]\n" in output
    bound = re.search(r"proven: the norm of the Jacobian of g is at most (0\.8976\d+), below 1\n", output).group(1)
    assert 0.89760835840891 < float(bound) < 0.89761
    assert re.search(r"proven: mu~ in \[-0\.03106\d+, 0\.06772\d+\], nu~ in \[0\.8037\d+, 1\.4815\d+\]\n", output)
    assert re.search(r"\n  \d+ boxes, \d+\.\d\d s\n$", output)


@pytest.mark.parametrize(
    "line, margins",
    [
        ("--theorem 2", [0.11974428]),
        ("--theorem 3", [0.00773608, 0.01102927]),
        ("--theorem 3 --nu 0.05 0.16 --tau 0.8 1.25", [0.01549969]),  # both domains are the same then
    ],
)
def test_theorems_2_and_3_are_proven_with_their_margins(line, margins, capsys):
    status, output, errors = certify(line, capsys)
    assert (status, errors) == (0, "")
    assert ("nu~ < nu" in output) == ("2" in line.split()[1])
    found = [float(x) for x in re.findall(r"proven: nu.* is at least (\S+)\n", output)]
    assert found == pytest.approx(margins, abs=2e-6) and output.count("Theorem") == len(margins)


def test_what_is_false_exits_with_1_and_names_a_point(capsys):
    status, output, errors = certify("--tau 0.8 1.25", capsys)
    assert (status, errors) == (1, "")
    assert "proven: the norm of the Jacobian of g is at most 0.98902" in output
    assert re.search(
        r"nu~ >= 0\.8 is false: it is at most 0\.7015\d+ at mu = \S+, nu = \S+, omega = \S+, tau = ", output
    )
    status, output, _ = certify("--bound 0.89", capsys)
    assert status == 1 and "norm < 0.89 is false: it is at least 0.8976" in output and "proven: mu~ in" in output


def test_what_is_not_proven_exits_with_1_and_shows_the_box(capsys):
    status, output, errors = certify("--boxes 3", capsys)
    assert (status, errors) == (1, "")
    assert re.search(r"nu~ >= 0\.8 is not proven: only >= 0\.7\d+ is known for m in \[-0\.01, 0\.01\], v in \[", output)
    assert certify("--theorem 2 --nu 1.5 3", capsys)[0] == 1


def test_constants_may_be_numbers_or_intervals(capsys):
    status, output, _ = certify("--alpha 1.67 1.68 --lam 1.05", capsys)
    assert status == 0 and "  alpha in [1.67, 1.68]\n  lam = 1.05\n" in output
    assert certify("--lam 1.2", capsys)[0] == 1
    assert "  alpha = that of SELU, exactly\n  lam = that of SELU, exactly\n" in certify("", capsys)[1]


@pytest.mark.parametrize("interval", ["-0.1 0.1", "-1/10 1/10", "-1e-1 .1", "-.1 +0.1"])
def test_negative_ends_are_numbers_not_options(interval, capsys):
    status, output, _ = certify(f"--mu {interval} --tau 1 1", capsys)
    assert status == 0 and "  mu in [-0.1, 0.1], nu in [0.8, 1.5], omega in [-0.1, 0.1], tau in [1, 1]\n" in output


@pytest.mark.parametrize(
    "line, message",
    [
        ("--tau 1.1 0.9", "the interval for tau is empty: [1.1, 0.9]"),
        ("--nu -1 1", "nu holds variances and must begin above 0, got -1"),
        ("--mu zero 1", "mu must be a finite number such as '0.1' or '1/3', got 'zero'"),
        ("--mu 1", "argument --mu: expected 2 arguments"),
        ("--alpha 1 2 3", "--alpha takes one number or the two ends of an interval, got 3"),
        ("--lam 2 1", "the interval for lam is empty: [2, 1]"),
        ("--theorem 4", "invalid choice: 4"),
        ("--theorem 2 --bound 0.5", "--bound belongs to Theorem 1"),
        ("--bound x", "bound must be a finite number"),
        ("--boxes 0", "max_boxes must be at least 1, got 0"),
        ("--chi 1", "unrecognized arguments: --chi 1"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_why(line, message, capsys):
    status, output, errors = certify(line, capsys)
    assert (status, output) == (2, "")
    assert errors.startswith("usage: python -m snnlib") and message in errors


def test_the_examples_in_the_help_are_accepted(capsys):
    status, output, _ = certify("--help", capsys)
    assert status == 0
    lines = [line for line in output.splitlines() if line.startswith("  python -m snnlib certify")]
    assert len(lines) == 5
    for line in lines:
        words = re.split(r"\s{2,}", line.strip())[0].split()[4:]  # what follows two spaces explains
        status, output, errors = certify(shlex.join(words), capsys)
        assert status == ("0.8 1.25" in line) and errors == "" and output.startswith("Theorem ")


def test_without_flint_the_error_is_one_line_that_says_what_to_install(capsys, monkeypatch):
    import snnlib

    monkeypatch.setitem(sys.modules, "flint", None)
    monkeypatch.delitem(sys.modules, "snnlib.contraction", raising=False)
    monkeypatch.delattr(snnlib, "contraction", raising=False)
    status, output, errors = certify("", capsys)
    assert (status, output) == (1, "")
    assert errors == 'error: snnlib.contraction needs python-flint: pip install "snnlib[proof]"\n'


def test_it_runs_as_a_command_and_writes_no_progress_to_a_pipe():
    line = [sys.executable, "-m", "snnlib", "certify", "--theorem", "2"]
    process = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert (process.returncode, process.stderr) == (0, "") and "proven: nu - nu~ is at least 0.1197" in process.stdout


def test_progress_is_shown_on_a_terminal_and_wiped(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    status, output, errors = certify("", capsys)
    assert status == 0 and "norm: " in errors and errors.endswith("\r\033[K") and "\r" not in output
