"""What the README and its companions name exists: commands, files, functions."""

import importlib
import re
from pathlib import Path

import pytest

from snnlib import __main__ as command

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "data/README.md")
MADE = ("_build/", "build/", ".venv", "data/fashion-mnist", "data/mnist-t10k", "fashion-mnist/", "mnist-t10k/", "~/")
PLACEHOLDER = re.compile(r"\b(?:NAME|PART|DIR|GRID|OWNER)\b|\*|\.\.\.")
SUFFIXES = (".py", ".md", ".toml", ".txt", ".cff", ".yml", ".js", ".csv", ".ipynb", ".png", ".bib")


def text_of(name):
    """Return a document."""
    return (ROOT / name).read_text(encoding="utf-8")


def code(name):
    """Return what a document sets as code, in its lines and in its shell blocks."""
    text = text_of(name)
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return lines + re.findall(
        r"(?<!`)`([^`\n]+)`(?!`)", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    )


def targets():
    """Return the targets of the Makefile."""
    return set(re.findall(r"^([a-z]+):", text_of("Makefile"), re.MULTILINE))


def paths(name):
    """Return the files and folders of the repository that a document names in code or links to."""
    words = [word for part in code(name) for word in part.split()]
    words += re.findall(r"\]\((?!https?:)([^)#]+)\)", text_of(name))
    found = [word.strip(",") for word in words if "/" in word or word.endswith(SUFFIXES)]
    return [word for word in found if "://" not in word and not PLACEHOLDER.search(word) and not word.startswith(MADE)]


def attributes(name):
    """Return the names `module.function` of the package that a document uses."""
    modules = {path.stem for path in (ROOT / "snnlib").glob("*.py")} - {"__init__", "__main__"}
    dotted = [re.match(r"(?:snnlib\.)?(\w+)\.(\w+)", part) for part in code(name)]
    return [match.groups() for match in dotted if match and match[1] in modules and match[2] not in ("py", "toml")]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_command_that_a_document_names_exists(name):
    made = [re.match(r"(?:\w+=\S+ )?make ((?:[A-Z]+=\S+ )*)([a-z]+)", part) for part in code(name)]
    assert {match[2] for match in made if match} <= targets()
    listed = {key for part in code(name) for key in re.findall(r"-m snnlib (\w+)", part)}
    assert listed <= {"data", "train", "sweep", "certify"} & set(
        re.findall(r'"(\w+)"', Path(command.__file__).read_text())
    )


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_file_that_a_document_names_exists(name):
    folders = (ROOT, (ROOT / name).parent)
    named = paths(name)
    assert [path for path in named if not any((folder / path).exists() for folder in folders)] == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_function_that_a_document_names_exists(name):
    missing = [pair for pair in attributes(name) if not hasattr(importlib.import_module(f"snnlib.{pair[0]}"), pair[1])]
    assert missing == []


def test_the_guide_names_tables_that_stand_in_the_file_it_says():
    """A name in capitals, in code, is one of a file that the same paragraph names."""
    for paragraph in re.split(
        r"\n\n|\n(?=\d\. |- )", re.sub(r"^```.*?^```", "", text_of("CONTRIBUTING.md"), flags=re.S | re.M)
    ):
        files = [ROOT / path for path in re.findall(r"`([\w./-]+\.(?:py|js))`", paragraph)]
        for table in re.findall(r"`(_?[A-Z]{3,}(?:_[A-Z]+)*)`", paragraph):
            if not table.startswith(("NAME", "PIP", "SNN", "NEWCOMER")):
                texts = [path.read_text(encoding="utf-8") for path in files]
                assert any(re.search(rf"^(?:export const )?{table}\b.* = ", text, re.MULTILINE) for text in texts), (
                    table
                )


def test_the_documents_name_something():
    assert all(len(code(name)) > 5 for name in DOCUMENTS)
    assert len(paths("CONTRIBUTING.md")) > 25 and len(attributes("CONTRIBUTING.md")) > 4
    assert paths("README.md")
