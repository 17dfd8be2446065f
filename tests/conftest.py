"""What all tests share: kernels without the reader's own settings, and an account of what was skipped."""

import os
from collections import Counter
from pathlib import Path

import pytest
from browsers import MISSING, chromium_path
from kernels import isolate
from pagecheck import CHROMIUM_ARGUMENTS

from snnlib import datasets

ROOT = Path(__file__).resolve().parents[1]

isolate(ROOT / "_build")


@pytest.fixture(scope="session")
def chromium():
    """Path of Chromium. Where there is none the test is skipped, except in continuous integration: there it fails."""
    path = chromium_path()
    if path is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(MISSING)
    return path


@pytest.fixture(scope="module")
def browser(chromium):
    """One Chromium for the tests of a file."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


# How a chapter loads a set of real pictures, what the set is called, and the name by which it is fetched.
REAL_PICTURES = {
    "fashion_mnist(": ("Fashion-MNIST", "fashion-mnist"),
    "mnist_t10k(": ("MNIST", "mnist-t10k"),
}


def missing_data(call):
    """Return why the real pictures cannot be used, or None. Damaged ones are no reason to skip: chapters then fail."""
    title, name = REAL_PICTURES[call]
    try:
        getattr(datasets, call.removesuffix("("))(limit=1, download=False)
    except datasets.DataError as error:
        if "is missing" in str(error):
            return f"no {title}: set SNN_DATA or run `python -m snnlib data {name}`"
    return None


def pytest_collection_modifyitems(items):
    """Skip the chapters that need real pictures where there are none; a test run fetches nothing."""
    chapters = {item.path: item.path.read_text(encoding="utf-8") for item in items if item.path.suffix == ".ipynb"}
    for call in REAL_PICTURES:
        in_need = {path for path, text in chapters.items() if call in text}
        reason = missing_data(call) if in_need else None
        for item in items:
            if reason and item.path in in_need:
                item.add_marker(pytest.mark.skip(reason=reason))


def skip_reason(report):
    """Return why a test was skipped, from pytest's report of it."""
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return reason.removeprefix("Skipped: ")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter):
    """Say at the end what was skipped and why."""
    result = yield
    reasons = Counter(skip_reason(report) for report in terminalreporter.stats.get("skipped", []))
    terminalreporter.section("skipped")
    for reason, count in sorted(reasons.items()):
        terminalreporter.line(f"{count:4d}  {reason}")
    if not reasons:
        terminalreporter.line("nothing was skipped")
    return result
