"""A chapter runs alone: without its repository, from an empty folder, where its first cell installs the package."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import chapters
import execute
import nbformat
import pytest
import repository

ROOT = chapters.ROOT
NOTEBOOKS = chapters.notebooks()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# What a chapter imports that has another name on the package index.
DISTRIBUTIONS = {"flint": "python-flint", "sklearn": "scikit-learn", "IPython": "ipython"}
CHEAP = ROOT / "book" / "backpropagation" / "many-layers.ipynb"  # run for real
IMPORT = re.compile(r"^\s*(?:from|import)\s+(\w+)", re.MULTILINE)


def code(path):
    """Return the code of a chapter."""
    return [cell["source"] for cell in nbformat.read(path, as_version=4)["cells"] if cell["cell_type"] == "code"]


def required(extra=None):
    """Return the names of the distributions that snnlib needs, with an extra and those that it names."""
    listed = list(PROJECT["project"]["dependencies"] if extra is None else extras()[extra])
    names = {re.match(r"[\w-]+", line).group() for line in listed}
    for line in listed:
        for inner in re.findall(r"^snnlib\[(.*)\]", line):
            names |= {name for part in inner.split(",") for name in required(part)}
    return names - {"snnlib"}


def extras():
    """Return the extras of the package and what each of them needs."""
    return PROJECT["project"]["optional-dependencies"]


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A git repository of what the package is made from, as it stands in the working tree."""
    folder = tmp_path_factory.mktemp("repository")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "snnlib", folder / "snnlib", ignore=ignored)
    for path in sorted([*(ROOT / "data").glob("*.csv"), *(ROOT / "data" / "sweeps").iterdir()]):
        (folder / path.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / path.relative_to(ROOT))
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, folder)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "core.hooksPath=/dev/null", "-C", str(folder)]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        subprocess.run([*git, *command], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """The interpreter of an environment that has all that the tests' own has, but not snnlib; nothing is fetched."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    query = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    place = Path(subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip())
    (place / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")  # of there, no .pth file counts
    return python


def run(python, folder, *arguments):
    """Run an interpreter in a folder, without what would lead it to this repository; return the finished process."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"PIP_NO_BUILD_ISOLATION": "false", "PIP_NO_INDEX": "1"}  # pip's way to say: no isolation
    return subprocess.run(
        [python, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=240
    )


# --- what chapters ask for -------------------------------------------------------------------------------------------


def test_every_chapter_begins_with_the_cell_that_installs_the_package():
    assert [path.stem for path in NOTEBOOKS if "find_spec" not in code(path)[0]] == []


def test_no_chapter_names_a_file_by_its_place_in_the_repository():
    pattern = re.compile(r"""\.\./|["'](?:/work|book|data|tests|tools|snnlib)/|__file__""")
    found = {path.stem: pattern.findall("\n".join(code(path))) for path in NOTEBOOKS}
    assert {name: places for name, places in found.items() if places} == {}


def test_the_extra_for_chapters_brings_all_that_they_import():
    imported = {name for path in NOTEBOOKS for name in IMPORT.findall("\n".join(code(path)))}
    needed = {DISTRIBUTIONS.get(name, name) for name in imported - sys.stdlib_module_names - {"snnlib"}}
    assert needed <= required() | required("chapters")


def test_the_bounds_of_the_package_and_of_the_book_have_a_version_in_common():
    """The package may admit older versions, which Colab has, but the tested one must be among those that it admits."""
    from packaging.requirements import Requirement

    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)
    pins = {name.lower().replace("_", "-"): version for name, version in pins.items()}
    listed = [*PROJECT["project"]["dependencies"], *(line for lines in extras().values() for line in lines)]
    for line in listed:
        requirement = Requirement(line)
        if requirement.name != "snnlib":
            assert requirement.specifier.contains(pins[requirement.name]), line


# --- the package -----------------------------------------------------------------------------------------------------


def test_the_package_lists_all_of_its_folders():
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "snnlib").rglob("__init__.py")}
    assert found | {"snnlib.stored"} == set(PROJECT["tool"]["setuptools"]["packages"])


def test_a_built_package_holds_every_file_of_its_sources_and_the_tables(sources, tmp_path):
    command = ["-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(sources)]
    process = run(sys.executable, tmp_path, *command)
    assert process.returncode == 0, process.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    package = {path.relative_to(ROOT).as_posix() for path in (ROOT / "snnlib").rglob("*") if path.is_file()}
    package = {name for name in package if "__pycache__" not in name}
    tables = {path.relative_to(sources / "data").as_posix() for path in (sources / "data").rglob("*") if path.is_file()}
    assert package | {f"snnlib/stored/{name}" for name in tables} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)


# --- a chapter in an empty folder ------------------------------------------------------------------------------------

RUN = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=200, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[1])
"""
TABLES = """
import json, sys
from snnlib import datasets
print(json.dumps([datasets.__file__, *(datasets.stored(name).stat().st_size for name in sys.argv[1:])]))
"""


@pytest.fixture(scope="module")
def lone(sources, bare, tmp_path_factory):
    """A chapter after its run in a folder of its own, by an interpreter that did not know the package before."""
    folder = tmp_path_factory.mktemp("alone")
    assert run(bare, folder, "-c", "import snnlib").returncode == 1
    known = repository.Addresses(f"file://localhost{sources}")
    notebook = repository.with_first_cell(nbformat.read(CHEAP, as_version=4), known)
    path = folder / CHEAP.name
    path.write_text(execute.serialized(execute.normalized(notebook)), encoding="utf-8")
    kernels = bare.parents[1] / "share" / "jupyter" / "kernels" / "python3"
    kernels.mkdir(parents=True)
    arguments = [str(bare), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernels / "kernel.json").write_text(json.dumps({"argv": arguments, "display_name": "", "language": "python"}))
    process = run(bare, folder, "-c", RUN, path.name)
    assert process.returncode == 0, process.stderr
    return path


def printed(path):
    """Return the outputs of the cells of a chapter that print."""
    cells = execute.normalized(nbformat.read(path, as_version=4))["cells"]
    return [cell["outputs"] for cell in cells if cell["cell_type"] == "code" and "print(" in cell["source"]]


def test_a_lone_chapter_installs_the_package_prints_what_is_stored_and_leaves_nothing_behind(lone):
    assert sorted(left.name for left in lone.parent.iterdir()) == [CHEAP.name]
    assert printed(lone) == printed(CHEAP) != []


def test_an_installed_package_finds_every_table_that_a_chapter_names(lone, bare, tmp_path):
    named = {name for path in NOTEBOOKS for name in re.findall(r'stored\("([^"]+)"\)', "\n".join(code(path)))}
    process = run(bare, tmp_path, "-c", TABLES, *sorted(named))
    assert process.returncode == 0, process.stderr
    place, *sizes = json.loads(process.stdout)
    assert Path(place).is_relative_to(bare.parents[1]) and len(sizes) == len(named) >= 4 and all(sizes)
