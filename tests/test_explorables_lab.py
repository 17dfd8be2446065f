"""A figure that one can move in a running JupyterLab: what the browser changes reaches Python, and the other way."""

import os
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
LAB = ROOT / ".venv-lab"
START = 60  # seconds that JupyterLab may take
CELLS = (
    "from snnlib.explorables import Chain\n\nfigure = Chain(c=0.9, N=20)\nfigure",
    'print("browser to Python:", figure.c, figure.N)',
    "figure.c = 0.75",
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a JupyterLab of its own settings, in a folder with one notebook."""
    if not (LAB / ".complete.json").exists():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("no JupyterLab: `make lab` installs it")
    folder = tmp_path_factory.mktemp("lab")
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "figure.ipynb")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {f"JUPYTER_{name}_DIR": str(folder / f".{name.lower()}") for name in ("CONFIG", "DATA", "RUNTIME")}
    environment = {**os.environ, **settings, "JUPYTER_PREFER_ENV_PATH": "1"}
    command = [LAB / "bin" / "python", "-m", "jupyterlab", "--no-browser", "--allow-root", "--IdentityProvider.token="]
    command += [f"--port={port}", f"--notebook-dir={folder}"]
    with (folder / "lab.log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(f"{address}/api", server, folder / "lab.log")
        yield address
    finally:
        server.terminate()
        server.wait()


def wait_for(address, server, log):
    """Wait until the server answers."""
    end = time.monotonic() + START
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5)
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"JupyterLab does not answer:\n{log.read_text()}")


def execute(page, number):
    """Run a cell. JupyterLab drops the request, silently, while the kernel is on its way; then ask again."""
    cell = page.locator(".jp-Notebook .jp-CodeCell").nth(number)
    for _ in range(30):
        cell.locator(".cm-content").click()
        page.keyboard.press("Shift+Enter")
        page.wait_for_timeout(1000)
        if cell.locator(".jp-InputPrompt").inner_text() != "[ ]:":
            return
    pytest.fail(f"JupyterLab does not run cell {number}")


def test_a_figure_and_python_share_their_state(browser, lab):
    page = browser.new_page()
    page.set_default_timeout(120_000)
    page.goto(f"{lab}/lab/tree/figure.ipynb?reset")
    execute(page, 0)
    slider = page.locator(".snn-figure input[name=c]")
    slider.wait_for()
    assert page.locator(".snn-figure svg").is_visible() and not page.locator(".snn-explorable").count()
    before = page.locator(".snn-status").inner_text()
    slider.fill("1.25")
    layers = page.locator(".snn-figure input[name=N]")
    layers.press("ArrowRight")
    page.wait_for_function("old => document.querySelector('.snn-status').innerText !== old", arg=before)

    execute(page, 1)
    page.get_by_text("browser to Python: 1.25 21").wait_for()
    execute(page, 2)
    page.wait_for_function("() => document.querySelector('.snn-figure input[name=c]').value === '0.75'")
    assert "0.75" in page.locator(".snn-figure output").first.inner_text()
    page.close()
