"""The address of the repository, which `_config.yml` gives in one place, and what depends on it.

    python tools/repository.py          write the address to where it is repeated
    python tools/repository.py --check  say which files are out of step, and fail if there are any

Every chapter's first code cell installs the package where it is absent, as on Colab, and a cell must name the address
that it installs from. Without an address the cell says what to do instead.
"""

import sys

import execute
import nbformat
import yaml
from chapters import ROOT, notebooks

CELL_ID = "install"
CELL = """\
import importlib.util

if importlib.util.find_spec("snnlib") is None:  # on Colab, for example
    {otherwise}"""
INSTALL = '%pip install --quiet "snnlib[chapters] @ git+{address}"'
EXPLAIN = 'raise ImportError("snnlib is not installed: see the README")'


def address(root=ROOT):
    """Return the address of the repository, without a slash at its end, or "" where none is set."""
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    return (config.get("repository", {}).get("url") or "").rstrip("/")


def first_cell(url):
    """Return the source of the first code cell of every chapter."""
    return CELL.format(otherwise=INSTALL.format(address=url) if url else EXPLAIN)


def with_first_cell(notebook, url):
    """Return the notebook with the cell that installs the package, before all other code; nothing is run."""
    cells = [cell for cell in notebook["cells"] if cell["id"] != CELL_ID]
    place = next(number for number, cell in enumerate(cells) if cell["cell_type"] == "code")
    cell = nbformat.v4.new_code_cell(first_cell(url), id=CELL_ID, metadata={"tags": ["remove-cell"]})
    notebook["cells"] = [*cells[:place], cell, *cells[place:]]
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for count, cell in enumerate(code, 1):
        cell["execution_count"] = count
        for output in cell["outputs"]:
            if output["output_type"] == "execute_result":
                output["execution_count"] = count
    return notebook


def written(root=ROOT):
    """Yield (path, text) of every file that repeats the address, as it should be."""
    url = address(root)
    for path in notebooks(root):
        notebook = nbformat.read(path, as_version=4)
        yield path, execute.serialized(execute.normalized(with_first_cell(notebook, url)))


def main(arguments):
    """Write the files, or check them; return the exit status."""
    stale = [(path, text) for path, text in written() if path.read_text(encoding="utf-8") != text]
    for path, text in stale:
        if arguments == ["--check"]:
            print(f"{path.relative_to(ROOT)} does not have the address of _config.yml: run `make repository`")
        else:
            path.write_text(text, encoding="utf-8")
            print(path.relative_to(ROOT))
    return 1 if stale and arguments == ["--check"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
