"""The addresses of the course, which `_config.yml` gives in one place, and the files that repeat them.

    python tools/repository.py          write the addresses to where they are repeated
    python tools/repository.py --check  say which files are out of step, and fail if there are any

Every chapter's first code cell installs the package where it is absent, as on Colab, and a cell must name the address
that it installs from. Without an address the cell says what to do instead. CITATION.cff, the table of addresses in
pyproject.toml and the links at the top of the README are the others; they have none of this while there is no address.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import execute
import nbformat
import yaml
from chapters import ROOT, notebooks

CELL_ID = "install"
CELL = """\
import importlib.util

if importlib.util.find_spec("snnlib") is None:  # on Colab, for example
    {otherwise}"""
# Plain Python, because not only IPython reads the cells.
INSTALL = """\
address = "git+{address}"
    get_ipython().run_line_magic(
        "pip", f'install --quiet "snnlib[chapters] @ {{address}}"'
    )"""
EXPLAIN = 'raise ImportError("snnlib is not installed: see the README")'

CITED = re.compile(r"^(?:repository-code|url): .*\n", re.MULTILINE)
URLS = re.compile(r"^\[project\.urls\]\n(?:.+\n)+\n", re.MULTILINE)
LINKS = re.compile(r"(?<=<!-- links: written by `make repository` -->\n).*?(?=<!-- end of links -->\n)", re.DOTALL)


class AddressError(ValueError):
    """An address in `_config.yml` is written wrongly; the message says which and how it should look."""


@dataclass(frozen=True)
class Addresses:
    """Where the course is kept and published; "" stands for what there is not yet."""

    repository: str = ""  # without a slash at its end
    branch: str = ""
    book: str = ""  # with a slash at its end
    colab: str = ""
    binder: str = ""


def addresses(root=ROOT):
    """Return the addresses that `_config.yml` gives. An AddressError says what is wrong with one."""
    config = yaml.safe_load((Path(root) / "_config.yml").read_text(encoding="utf-8"))
    repository, launch = config.get("repository") or {}, config.get("launch_buttons") or {}
    url, book = repository.get("url") or "", config.get("html", {}).get("baseurl") or ""
    for key, value in (("repository: url", url), ("html: baseurl", book)):
        parts = urlsplit(value)
        if value and (parts.scheme not in ("https", "http", "file") or not parts.netloc or parts.query):
            raise AddressError(f"_config.yml: `{key}` is {value!r}, not an address such as https://HOST/OWNER/NAME")
    return Addresses(
        url.rstrip("/").removesuffix(".git"),
        repository.get("branch") or "main",
        f"{book.rstrip('/')}/" if book else "",
        (launch.get("colab_url") or "").rstrip("/"),
        (launch.get("binderhub_url") or "").rstrip("/"),
    )


# --- chapters --------------------------------------------------------------------------------------------------------


def first_cell(known):
    """Return the source of the first code cell of every chapter."""
    install = INSTALL.format(address=known.repository)
    return CELL.format(otherwise=install if known.repository else EXPLAIN)


def with_first_cell(notebook, known):
    """Return the notebook with the cell that installs the package, before all other code; nothing is run."""
    cells = [cell for cell in notebook["cells"] if cell["id"] != CELL_ID]
    place = next(number for number, cell in enumerate(cells) if cell["cell_type"] == "code")
    cell = nbformat.v4.new_code_cell(first_cell(known), id=CELL_ID, metadata={"tags": ["remove-cell"]})
    notebook["cells"] = [*cells[:place], cell, *cells[place:]]
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for count, cell in enumerate(code, 1):
        cell["execution_count"] = count
        for output in cell["outputs"]:
            if output["output_type"] == "execute_result":
                output["execution_count"] = count
    return notebook


# --- other files -----------------------------------------------------------------------------------------------------


def citation(text, known):
    """Return CITATION.cff with the addresses above its list of keywords, or with none."""
    lines = [f'repository-code: "{known.repository}"\n'] if known.repository else []
    lines += [f'url: "{known.book or known.repository}"\n'] if known.book or known.repository else []
    return CITED.sub("", text).replace("keywords:\n", "".join(lines) + "keywords:\n")


def project(text, known):
    """Return pyproject.toml with a table of addresses before the one of extras, or without it."""
    lines = [f'Homepage = "{known.book}"\n'] if known.book else []
    lines += [f'Repository = "{known.repository}"\n'] if known.repository else []
    table = "[project.urls]\n" + "".join(lines) + "\n" if lines else ""
    extras = "[project.optional-dependencies]\n"
    return URLS.sub("", text).replace(extras, table + extras)


def on_github(known):
    """Return "OWNER/NAME" of a repository on GitHub, or "" where it is elsewhere or not anywhere."""
    return known.repository.removeprefix("https://github.com/") if "//github.com/" in known.repository else ""


def links(known):
    """Return the lines at the top of the README: where to read the book, and where to run it in the browser."""
    name, lines = on_github(known), []
    if name:
        badge = f"{known.repository}/actions/workflows/test.yml"
        lines.append(f"[![Tests]({badge}/badge.svg)]({badge})")
    if known.book:
        lines.append(f"**[Read the book]({known.book})**")
    if name and known.colab:
        folder = f"{known.colab}/github/{name}/blob/{known.branch}/book"
        lines.append(f"[open a chapter on Colab]({folder}/backpropagation/one-layer.ipynb)")
    if name and known.binder:
        lines.append(f"[open all on Binder]({known.binder}/v2/gh/{name}/{known.branch}?urlpath=lab)")
    return " ·\n".join(lines) + "\n" if lines else ""


def readme(text, known):
    """Return the README with these links between their two marks."""
    return LINKS.sub(lambda match: links(known), text)


REPEATED = {"CITATION.cff": citation, "pyproject.toml": project, "README.md": readme}


def written(root=ROOT):
    """Yield (path, text) of every file that repeats an address, as it should be."""
    root, known = Path(root), addresses(root)
    for path in notebooks(root):
        notebook = nbformat.read(path, as_version=4)
        yield path, execute.serialized(execute.normalized(with_first_cell(notebook, known)))
    for name, repeat in REPEATED.items():
        yield root / name, repeat((root / name).read_text(encoding="utf-8"), known)


def main(arguments):
    """Write the files, or check them; return the exit status."""
    try:
        stale = [(path, text) for path, text in written() if path.read_text(encoding="utf-8") != text]
    except AddressError as error:
        print(error, file=sys.stderr)
        return 1
    for path, text in stale:
        if arguments == ["--check"]:
            print(f"{path.relative_to(ROOT)} does not have the address of _config.yml: run `make repository`")
        else:
            path.write_text(text, encoding="utf-8")
            print(path.relative_to(ROOT))
    return 1 if stale and arguments == ["--check"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
