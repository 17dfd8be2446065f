"""A newcomer gets through: on request, because everything is installed anew (NEWCOMER=1; see newcomer.py)."""

import os
import subprocess
import sys
from pathlib import Path

import newcomer
import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_a_newcomer_has_an_empty_home_and_nothing_of_the_course(monkeypatch, tmp_path):
    monkeypatch.setenv("SNN_DATA", "/somewhere")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    environ = newcomer.environment(tmp_path)
    assert environ["HOME"] == str(tmp_path) and "/somewhere" not in environ.values()
    assert not {"PYTHONPATH", "VIRTUAL_ENV", "CI"} & set(environ)


def test_the_first_command_that_fails_is_named_and_ends_the_attempt(tmp_path, capfd):
    commands = [["true"], ["sh", "-c", "echo said; exit 3"], ["sh", "-c", "echo never"]]
    wrong = newcomer.follow(tmp_path, commands, dict(os.environ))
    said = capfd.readouterr().out
    assert wrong.startswith("`sh -c echo said") and "exit status 3" in said and "\nsaid\n" in said
    assert "\nnever\n" not in said


@pytest.mark.timeout(3600)
def test_a_newcomer_builds_the_book_and_runs_tests():
    if os.environ.get("NEWCOMER") != "1":
        pytest.skip("a newcomer's first minutes, with everything installed anew: set NEWCOMER=1")
    assert subprocess.run([sys.executable, "tests/newcomer.py"], cwd=ROOT).returncode == 0
