"""What students get, and what only the instructor gets: `python -m coursework.release [ASSIGNMENT ...]`.

For each assignment nbgrader derives the student's notebook from the source into release/ and knows its cells in the
gradebook from then on. The notebook is checked; only then release/<assignment>.zip is written, with the notebook and
the package that it imports. solutions/<assignment>.html is the source as a page, for the instructor.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from . import course
from .batch import alone, write
from .notebooks import FROM_STUDENT, HIDDEN, SOLUTION, TO_BOOK, Source, book_address, same, to_book

PACKAGE = course.ROOT / "snnlib"
DELIMITERS = ("BEGIN SOLUTION", "END SOLUTION", "BEGIN HIDDEN", "END HIDDEN")
ERROR = re.compile(r"^ *[\w.]*(?:Error|Exception): (.*)$", re.MULTILINE)  # the last line of a traceback
SHORTEST = 8  # characters of a line by which it is known where it comes from
LINK = re.compile(r"\]\(([^)\s#]+)[^)]*\)")  # the target of a link or picture in Markdown
KEPT = {"nbgrader", "tags", "deletable", "editable"}  # metadata of a cell in a release
README = """\
{title}

Put your student id into the file STUDENT, then open {name}.ipynb, with this folder as it is around it. It needs Python
3.11 or newer and

    pip install jupyterlab numpy scipy mpmath matplotlib

and, where it says so, python-flint or torch. Hand in the notebook alone, under its name.
"""
PAGE = """\
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>{title}: solutions</title>
<style>
body {{ font: 1rem/1.5 sans-serif; max-width: 50rem; margin: 2rem auto; }}
pre {{ background: #8882; padding: .5rem; }}
</style>
<script>MathJax = {{ tex: {{ inlineMath: [["$", "$"]], macros: {{ R: "\\\\mathbb{{R}}" }} }} }}</script>
{script}
{body}
</html>
"""


class BadRelease(course.Refused):
    """What students would get is not what they should; the message says why."""


# --- the student's notebook ------------------------------------------------------------------------------------------


def generate(source: Source, folder: Path) -> Path:
    """Let nbgrader write the student's version below the course folder; return the folder it is in."""
    result = course.api(folder).generate_assignment(source.name)
    if not result["success"]:
        reasons = ERROR.findall(result["log"]) or [result["log"].strip()]
        raise BadRelease(f"nbgrader refuses {source.name}: {reasons[-1]}")
    released = folder / "release" / source.name
    link_to_book(released / f"{source.name}.ipynb")
    for extra in extras(source):  # nbgrader leaves them out
        shutil.copytree(extra, released / extra.name, dirs_exist_ok=True)
    return released


def link_to_book(path: Path) -> None:
    """Change the links of a notebook to pages of the book, which are not beside it for students."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            text = to_book("".join(cell["source"]), book_address())
            cell["source"] = text.splitlines(keepends=True)
    write(path, (json.dumps(notebook, indent=1, ensure_ascii=False) + "\n").encode())


def extras(source: Source) -> list[Path]:
    """Return the folders beside the source that students get as they are, such as an example to read."""
    return [path for path in source.folder.iterdir() if path.is_dir() and not path.name.startswith((".", "_"))]


def secrets(source: Source) -> set[str]:
    """Return the lines of solutions, hidden tests and hidden modules that occur nowhere in what students may see."""
    hidden = [match[0] for cell in source.cells for kind in (SOLUTION, HIDDEN) for match in kind.finditer(cell.text)]
    hidden += [cell.text for cell in source.cells if cell.kind in FROM_STUDENT and not SOLUTION.search(cell.text)]
    hidden += [path.read_text(encoding="utf-8") for path in source.folder.glob("hidden_*.py")]
    seen = _lines(cell.released for cell in source.cells)
    seen |= _lines(_text(path) for extra in extras(source) for path in extra.rglob("*") if path.is_file())
    return {line for line in _lines(hidden) - seen if len(line) >= SHORTEST}


def _text(path: Path) -> str:
    """Return the text of a file, of a notebook that of its cells."""
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.suffix == ".ipynb":
        text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
    return text


def _lines(texts: Iterable[str]) -> set[str]:
    return {line.strip() for text in texts for line in text.splitlines()}


def check(source: Source, folder: Path) -> None:
    """Raise BadRelease unless the folder holds the student's version of the source and nothing else."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            check_text(source, path)
    check_links(source, folder)
    check_cells(source, folder / f"{source.name}.ipynb")


def check_links(source: Source, folder: Path) -> None:
    """Follow the links in Markdown: those of the source into the book, those of the release within it."""
    texts = "\n".join(cell.text for cell in source.cells if cell.type == "markdown")
    for match in TO_BOOK.finditer(texts):
        page = course.ROOT / "book" / match["page"]
        if not any(page.with_suffix(suffix).exists() for suffix in (".ipynb", ".md")):
            raise BadRelease(f"{source.name} links to {match['page']}, which is no page of the book")
    for path in sorted(folder.rglob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        for target in LINK.findall(text):
            if not re.match(r"https?:|mailto:", target) and not (path.parent / target).exists():
                raise BadRelease(f"{path.name} in the release of {source.name} links to {target}, which is not there")


def check_text(source: Source, path: Path) -> None:
    """Search a file for solutions, hidden tests and what belongs to them."""
    if path.name.startswith("hidden_"):
        raise BadRelease(f"{path.name} is in the release of {source.name}")
    text = _text(path)
    modules = [module.stem for module in source.folder.glob("hidden_*.py")]
    for word in (*DELIMITERS, *modules):
        if word in text:
            raise BadRelease(f"{path.name} in the release of {source.name} says {word!r}")
    for line in sorted(secrets(source) & _lines([text])):
        raise BadRelease(f"{path.name} in the release of {source.name} gives away {line!r}")


def check_cells(source: Source, path: Path) -> None:
    """Compare the released notebook with what the source says, cell by cell."""
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    if len(notebook.cells) != len(source.cells):
        raise BadRelease(f"{path.name} has {len(notebook.cells)} cells, its source {len(source.cells)}")
    for cell, known in zip(notebook.cells, source.cells, strict=True):
        name = known.grade_id or known.cell_id
        if cell.cell_type != known.type or not same(cell.source, known.released):
            raise BadRelease(f"the cell {name} of {path.name} is not what the source says")
        if cell.get("outputs") or cell.get("execution_count") or set(cell.metadata) - KEPT:
            raise BadRelease(f"the cell {name} of {path.name} has outputs or metadata of an editor")


def check_blank(source: Source, package: bytes, python: Path) -> None:
    """Unpack what students get, and run the notebook as it is: it must guide, not crash, and give no points."""
    with tempfile.TemporaryDirectory(prefix="coursework-") as place:
        zipfile.ZipFile(io.BytesIO(package)).extractall(place)
        folder = Path(place, source.name)
        environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"PYTHONPATH": str(folder)}
        command = [str(python), str(Path(__file__).with_name("blank.py")), f"{source.name}.ipynb"]
        done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BadRelease(f"the blank {source.name} fails: {(done.stdout.strip() or done.stderr.strip())}")


def zipped(source: Source, folder: Path) -> bytes:
    """Return the zip for students: the release, the package snnlib, a place for their id. The same bytes every time."""
    title = next(cell.text.splitlines()[0].lstrip("# ") for cell in source.cells if cell.type == "markdown")
    files = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for path in PACKAGE.rglob("*"):
        if path.suffix in (".py", ".js", ".css"):
            files[path.relative_to(PACKAGE.parent)] = path.read_bytes()
    files |= {Path("README.txt"): README.format(title=title, name=source.name).encode(), Path("STUDENT"): b""}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(str(Path(source.name) / path)), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


# --- the instructor's page -------------------------------------------------------------------------------------------


def solutions(source: Source) -> str:
    """Return the source, with solutions and hidden tests, as one HTML page; it takes MathJax from the book's
    environment."""
    import nbformat
    from nbconvert import HTMLExporter

    notebook = nbformat.read(source.folder / f"{source.name}.ipynb", as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            lines = to_book(cell.source, book_address()).splitlines()
            cell.source = "\n".join(line for line in lines if line.strip("# ") not in DELIMITERS)
    body, _ = HTMLExporter(template_name="basic").from_notebook_node(notebook)
    mathjax = next(course.ROOT.glob(".venv/lib/python*/site-packages/sphinx-mathjax-offline/static/mathjax"), None)
    script = f'<script src="{(mathjax / "tex-svg.js").as_uri()}"></script>' if mathjax else ""
    return PAGE.format(title=source.name, script=script, body=body)


# --- command ---------------------------------------------------------------------------------------------------------


def release(source: Source, folder: Path, python: Path) -> Path:
    """Make and check all of one assignment; return the path of the students' zip, which is absent after a failure."""
    target = folder / "release" / f"{source.name}.zip"
    target.unlink(missing_ok=True)
    released = generate(source, folder)
    check(source, released)
    package = zipped(source, released)
    check_blank(source, package, python)
    write(folder / "solutions" / f"{source.name}.html", solutions(source).encode())
    write(target, package)
    return target


def main(arguments: list[str] | None = None) -> int:
    """Release the assignments; return 0, or 1 when one is refused."""
    parser = course.parser("release", "Make and check what students get.")
    parser.add_argument("--python", type=Path, default=course.ROOT / ".venv" / "bin" / "python", help="of the book")
    options = parser.parse_args(arguments)
    folder = options.course.resolve()

    def work() -> None:
        with alone(folder):
            course.prepare(folder, options.sources)
            for source in course.chosen(options.sources, options.assignments):
                print(f"{source.name}: {release(source, folder, options.python)}", flush=True)

    return course.status_of(work)


if __name__ == "__main__":
    sys.exit(main())
