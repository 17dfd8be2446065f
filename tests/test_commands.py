"""The commands: what they say and leave behind when something is wrong, and that they do no more than is needed."""

import ast
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import environment
import execute
import nbformat
import pytest
import smallbook
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).resolve().parents[1]
OLD_PYTHON = """#!/bin/sh
exec {python} -c 'import runpy, sys
sys.version_info = (3, 6, 9, "final", 0)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")' "$@"
"""


@pytest.fixture
def checkout(tmp_path):
    """A copy of what the set-up needs, where it may fail without harm."""
    shutil.copytree(ROOT / "tools", tmp_path / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "requirements.txt").write_text("no-such-requirement-of-the-course==1.0\n")
    return tmp_path


def make(folder, *arguments, **environ):
    """Run make in the folder; return the finished process."""
    environ = {**os.environ, "MAKEFLAGS": "", "PYTHON": sys.executable, **environ}
    return subprocess.run(["make", *arguments], cwd=folder, env=environ, capture_output=True, text=True, timeout=60)


def own_lines(process):
    """Return the lines on stderr that are not make's own."""
    return [line for line in process.stderr.splitlines() if not line.startswith("make")]


# --- help ------------------------------------------------------------------------------------------------------------


def test_help_lists_every_command_with_one_line():
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE).group(1).split()
    listed = re.findall(r"^  ([a-z]+) +\S.*$", make(ROOT, "help").stdout, re.MULTILINE)
    assert sorted(listed) == sorted(set(phony) - {"environment"})


def test_help_is_what_make_alone_shows():
    assert make(ROOT).stdout == make(ROOT, "help").stdout


def test_clean_keeps_the_marks_of_the_coursework(checkout):
    for name in ("build/coursework/gradebook.db", "build/lib/snnlib.py", "_build/book.json"):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("")
    assert make(checkout, "clean").returncode == 0
    assert (checkout / "build" / "coursework" / "gradebook.db").exists()
    assert not (checkout / "build" / "lib").exists() and not (checkout / "_build").exists()


# --- set-up ----------------------------------------------------------------------------------------------------------


def test_the_set_up_is_read_by_old_pythons():
    ast.parse((ROOT / "tools" / "environment.py").read_text(), feature_version=(3, 6))


def test_a_wrong_python_is_refused_in_one_line_that_says_what_to_do(checkout):
    old = checkout / "python3.6"
    old.write_text(OLD_PYTHON.format(python=sys.executable))
    old.chmod(0o755)
    process = make(checkout, "book", f"PYTHON={old}")
    (line,) = own_lines(process)
    assert process.returncode != 0
    assert "3.6.9" in line and "3.11" in line and "make PYTHON=" in line
    assert not (checkout / ".venv").exists()


def test_a_missing_python_is_named_in_one_line(checkout):
    process = make(checkout, "book", "PYTHON=python-that-is-not-there")
    (line,) = own_lines(process)
    assert process.returncode != 0
    assert "python-that-is-not-there" in line and "make PYTHON=" in line


def test_a_python_without_venv_is_refused_with_the_package_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    with pytest.raises(environment.SetupError, match=r"ensurepip.*apt-get install python3-venv"):
        environment.check_modules()


def test_a_failed_install_leaves_one_line_a_log_and_no_environment(checkout):
    process = make(checkout, "book", PIP_NO_INDEX="1")
    (line,) = own_lines(process)
    assert process.returncode != 0
    assert "no-such-requirement-of-the-course" in line and "_build/setup.log" in line
    assert (checkout / "_build" / "setup.log").read_text()
    assert not (checkout / ".venv").exists()


def test_an_interrupted_install_leaves_no_environment(checkout):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # an index that never answers
        index = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        environ = {**os.environ, "PIP_INDEX_URL": index, "PIP_EXTRA_INDEX_URL": "", "PIP_CONFIG_FILE": os.devnull}
        process = subprocess.Popen(
            [sys.executable, "tools/environment.py"],
            cwd=checkout,
            env=environ,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        silent.settimeout(30)
        connection, _ = silent.accept()
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        connection.close()
    assert process.returncode == 130
    assert "nothing half-made" in errors and len(errors.splitlines()) == 1
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("NewConnectionError('<urllib3...>: Failed to establish a new connection", "cannot be reached"),
        ("ERROR: No matching distribution found for torch==9.9", "No matching distribution found for torch==9.9"),
        ("", "without naming a reason"),
    ],
)
def test_a_failure_of_pip_is_explained_in_one_line(tmp_path, said, advice):
    log = tmp_path / "setup.log"
    log.write_text(said)
    assert advice in environment.explain(str(log))


@pytest.fixture
def fake_setup(tmp_path, monkeypatch):
    """The set-up in an empty folder, with commands that are recorded rather than run."""
    commands = []

    def run(command, log):
        commands.append(" ".join(command))
        packages = tmp_path / ".venv" / "lib" / "site-packages"
        (tmp_path / ".venv" / "bin").mkdir(parents=True, exist_ok=True)
        (tmp_path / ".venv" / "bin" / "python").touch()
        packages.mkdir(parents=True, exist_ok=True)

    (tmp_path / "requirements.txt").write_text("numpy\n")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    monkeypatch.setattr(environment, "ROOT", str(tmp_path))
    monkeypatch.setattr(environment, "run", run)
    return tmp_path, commands


def test_a_finished_environment_is_left_alone(fake_setup):
    _, commands = fake_setup
    environment.ensure("book")
    commands.clear()
    environment.ensure("book")
    assert commands == []


def test_everything_is_installed_by_one_command_under_the_tested_versions(fake_setup):
    folder, commands = fake_setup
    (folder / "constraints.txt").write_text("numpy==2.1.0\n")
    environment.ensure("book")
    fetching = [command for command in commands if "pip install" in command and "--no-index" not in command]
    assert len(fetching) == 1
    assert "-r requirements.txt -c constraints.txt" in fetching[0]


@pytest.mark.parametrize("name", ["requirements.txt", "constraints.txt", "pyproject.toml"])
def test_a_changed_definition_renews_the_environment(fake_setup, name):
    folder, commands = fake_setup
    environment.ensure("book")
    commands.clear()
    (folder / name).write_text("# changed\n")
    environment.ensure("book")
    assert len(commands) == 1 and "pip install" in commands[0]


def test_an_environment_without_a_stamp_is_made_anew(fake_setup):
    folder, commands = fake_setup
    environment.ensure("book")
    (folder / ".venv" / environment.STAMP).unlink()
    (folder / ".venv" / "left-over").touch()
    commands.clear()
    environment.ensure("book")
    assert "-m venv" in commands[0]
    assert not (folder / ".venv" / "left-over").exists()


def test_a_renewal_that_fails_before_it_changes_anything_keeps_the_old_environment(fake_setup, monkeypatch):
    folder, _ = fake_setup
    environment.ensure("book")
    stamp = (folder / ".venv" / environment.STAMP).read_text()
    (folder / "requirements.txt").write_text("something-else\n")

    def fail(command, log):
        raise environment.SetupError("no network")

    monkeypatch.setattr(environment, "run", fail)
    with pytest.raises(environment.SetupError):
        environment.ensure("book")
    assert (folder / ".venv" / environment.STAMP).read_text() == stamp


def test_a_renewal_that_fails_half_way_removes_the_environment(fake_setup, monkeypatch):
    folder, _ = fake_setup
    environment.ensure("book")
    (folder / "requirements.txt").write_text("something-else\n")

    def fail(command, log):
        (folder / ".venv" / "lib" / "site-packages" / "half").touch()
        raise environment.SetupError("disk full")

    monkeypatch.setattr(environment, "run", fail)
    with pytest.raises(environment.SetupError):
        environment.ensure("book")
    assert not (folder / ".venv").exists()


def test_jupyterlab_runs_chapters_in_the_environment_of_the_book(fake_setup):
    folder, _ = fake_setup
    environment.configure_jupyter(str(folder / ".venv-lab"))
    spec = json.loads((folder / ".venv-lab/share/jupyter/kernels/python3/kernel.json").read_text())
    assert spec["argv"][0] == str(folder / ".venv" / "bin" / "python")


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-lab.txt", "constraints.txt"])
def test_the_requirements_name_no_host_and_no_machine(name):
    text = (ROOT / name).read_text()
    assert not re.search(r"://|^-|@|\+cpu|nvidia|triton", text, re.MULTILINE)


# --- running chapters ------------------------------------------------------------------------------------------------

FIGURE = """from IPython.display import publish_display_data
figure = {"name": "fig-dot", "caption": "A dot.", "alt": "One dot in the middle of the plane.", "width": "50%"}
publish_display_data({"image/png": "R0lG", "text/plain": "dot"}, {"snn_figure": figure})"""


def write_chapter(path, *sources):
    """Write a notebook that was never run, with what an editor might leave in it."""
    cells = [new_code_cell(source, metadata={"collapsed": False, "tags": ["kept"]}) for source in sources]
    notebook = new_notebook(cells=[new_markdown_cell("# A chapter", metadata={"editable": True}), *cells])
    notebook.metadata["widgets"] = {"state": {}}
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    nbformat.write(notebook, path)
    return path


def run_chapters(*paths):
    """Run `tools/execute.py` on the chapters; return the finished process."""
    command = [sys.executable, str(ROOT / "tools" / "execute.py"), *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A good, a failing and a careless chapter, run together: (process, paths, texts before)."""
    folder = tmp_path_factory.mktemp("chapters")
    paths = {
        "failing": write_chapter(folder / "failing.ipynb", "x = 1", "x / 0\n# more"),
        "good": write_chapter(folder / "good.ipynb", "print(1)\nprint(2)", FIGURE, "import os\nos.getcwd()"),
        "careless": write_chapter(
            folder / "careless.ipynb", "import warnings\nwarnings.warn('oh')", "object()", FIGURE + "\n1"
        ),
    }
    before = {name: path.read_text() for name, path in paths.items()}
    return run_chapters(*paths.values()), paths, before


def test_a_failing_cell_is_named_and_its_chapter_left_as_it_was(executed):
    process, paths, before = executed
    line = next(line for line in process.stderr.splitlines() if "failing.ipynb" in line)
    assert process.returncode == 1
    assert "cell 3" in line and "x / 0" in line and "ZeroDivisionError: division by zero" in line
    assert paths["failing"].read_text() == before["failing"]


def test_the_other_chapters_run_all_the_same_and_their_seconds_are_printed(executed):
    process, paths, before = executed
    assert re.search(r"\d+\.\d s  .*good.ipynb", process.stdout)
    assert paths["good"].read_text() != before["good"]


def test_a_chapter_is_stored_with_minimal_metadata_and_a_described_figure(executed):
    notebook = nbformat.read(executed[1]["good"], as_version=4)
    assert notebook.metadata == execute.NOTEBOOK_METADATA
    assert [cell.metadata for cell in notebook.cells] == [
        {},
        {"tags": ["kept"]},
        {
            "tags": ["kept"],
            "mystnb": {
                "figure": {"name": "fig-dot", "caption": "A dot."},
                "image": {"alt": "One dot in the middle of the plane.", "width": "50%"},
            },
        },
        {"tags": ["kept"]},
    ]
    assert [cell.execution_count for cell in notebook.cells[1:]] == [1, 2, 3]
    assert notebook.cells[1].outputs == [{"output_type": "stream", "name": "stdout", "text": "1\n2\n"}]


def test_a_chapter_runs_in_its_own_folder(executed):
    path = executed[1]["good"]
    output = nbformat.read(path, as_version=4).cells[-1].outputs[0]
    assert output["data"]["text/plain"] == repr(str(path.parent))


def test_accidents_in_outputs_are_reported(executed):
    lines = [line for line in executed[0].stderr.splitlines() if "careless.ipynb" in line]
    assert any("cell 2 writes to stderr" in line for line in lines)
    assert any("cell 3 shows the address of an object" in line for line in lines)
    assert any("cell 4 shows a figure and 1 more" in line for line in lines)


def test_running_a_chapter_again_changes_not_one_byte(executed):
    path = executed[1]["good"]
    first = path.read_bytes()
    assert run_chapters(path).returncode == 0
    assert path.read_bytes() == first


def test_a_figure_that_is_gone_leaves_no_description_behind(executed):
    notebook = nbformat.read(executed[1]["good"], as_version=4)
    notebook.cells[2].outputs = []
    assert execute.normalized(notebook).cells[2].metadata == {"tags": ["kept"]}


def test_an_unknown_chapter_is_refused_with_the_valid_names():
    process = run_chapters("no-such-chapter")
    assert process.returncode == 1
    assert "no-such-chapter" in process.stderr and "one-layer" in process.stderr
    assert len(process.stderr.splitlines()) == 1


# --- building the book -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_book(tmp_path_factory):
    """A book of two short pages in a folder of its own."""
    folder = tmp_path_factory.mktemp("book")
    smallbook.prepare(folder)
    (folder / "book" / "intro.md").write_text("# First\n\n(there)=\n## Heading\n")
    (folder / "book" / "second.md").write_text("# Second\n\n{ref}`there`\n")
    list_pages(folder, "second")
    return folder


def list_pages(folder, *names):
    """Write a table of contents."""
    chapters = "".join(f"  - file: book/{name}\n" for name in names)
    (folder / "_toc.yml").write_text(f"format: jb-book\nroot: book/intro\nchapters:\n{chapters}")


def build(folder):
    """Build the small book; return the finished process."""
    command = [sys.executable, "tools/book.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


def test_a_build_says_where_to_open_the_book_and_the_next_one_does_nothing(small_book):
    first, second = build(small_book), build(small_book)
    assert first.returncode == second.returncode == 0, first.stderr
    assert first.stderr == second.stderr == ""
    index = small_book / "_build" / "html" / "index.html"
    assert str(index) in first.stdout and index.as_uri() in first.stdout
    assert "up to date" in second.stdout


def test_a_page_that_vanished_from_the_built_book_is_built_again(small_book):
    assert build(small_book).returncode == 0
    page = small_book / "_build" / "html" / "book" / "second.html"
    page.unlink()
    assert build(small_book).returncode == 0
    assert page.exists()


def test_a_reference_that_breaks_on_an_unchanged_page_fails_the_build_until_it_is_mended(small_book):
    assert build(small_book).returncode == 0
    page = small_book / "book" / "intro.md"
    sound = page.read_text()
    page.write_text(sound.replace("(there)=", ""))
    for _ in range(2):
        process = build(small_book)
        assert process.returncode == 1
        assert "second.md" in process.stderr and "there" in process.stderr
    page.write_text(sound)
    assert build(small_book).returncode == 0


@pytest.mark.parametrize(
    "before, after, written",
    [("# First", "# Begin here", {"intro", "second"}), ("Text.", "More text.", {"intro"})],
    ids=["title", "sentence"],
)
def test_other_pages_are_written_again_only_when_a_page_changes_what_they_may_show(small_book, before, after, written):
    page = small_book / "book" / "intro.md"
    page.write_text(page.read_text() + "\nText.\n")
    assert build(small_book).returncode == 0
    html = {path.stem: path for path in (small_book / "_build" / "html" / "book").glob("*.html")}
    times = {name: path.stat().st_mtime_ns for name, path in html.items()}
    page.write_text(page.read_text().replace(before, after))
    assert build(small_book).returncode == 0
    assert {name for name, path in html.items() if path.stat().st_mtime_ns > times[name]} == written
    assert after.strip("# ") in html["intro"].read_text()


def test_a_chapter_that_was_removed_leaves_no_page_behind(small_book):
    assert build(small_book).returncode == 0
    (small_book / "book" / "second.md").rename(small_book / "book" / "third.md")
    list_pages(small_book, "third")
    process = build(small_book)
    pages = {path.name for path in (small_book / "_build" / "html" / "book").glob("*.html")}
    (small_book / "book" / "third.md").rename(small_book / "book" / "second.md")
    list_pages(small_book, "second")
    assert process.returncode == 0
    assert pages == {"intro.html", "third.html"}


def test_a_listed_page_without_a_source_is_named_in_one_line(small_book):
    list_pages(small_book, "second", "nowhere")
    process = build(small_book)
    list_pages(small_book, "second")
    assert process.returncode == 1
    assert "book/nowhere" in process.stderr and len(process.stderr.splitlines()) == 1
