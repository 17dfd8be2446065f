"""Build the HTML book from the notebooks' stored outputs: warnings are errors, and every page must be there.

Nothing is done when nothing changed. When only pages changed, those are read and written again; all pages are written
when a page changed what others may refer to (its skeleton: headings, labels, theorems, exercises, figures, citations),
so that a reference that broke elsewhere is noticed. When anything else changed (configuration, table of contents,
extension, versions), or the last build had faults, the old book is removed first: no page of a removed chapter stays,
and no fault is forgotten because the page that has it did not change.
"""

import contextlib
import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import sys
import time

from chapters import ROOT, pages

BUILD = ROOT / "_build"
HTML = BUILD / "html"
MANIFEST = BUILD / "book.json"
LOG = BUILD / "book.log"
PAGE_SUFFIXES = (".ipynb", ".md")
# What other pages may refer to, or show: headings, labels of sections, exercises and equations, directives with their
# titles, names of figures, citations.
SKELETON = re.compile(
    r"""^\#+\ .*|^\([\w-]+\)=|:label:.*|^\$\$\ *\([\w-]+\)|^[:`]{3,}\{.*|name="fig-[\w-]+"|\{cite:\w+\}`[^`]*`""",
    re.MULTILINE | re.VERBOSE,
)
INDEX = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url={page}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{title}</title>
</head>
<body><p>The course begins <a href="{page}">here</a>.</p></body>
</html>
"""


def inputs():
    """Return the hash of every file that the book is made from, by its path relative to the root."""
    tops = ["_config.yml", "_toc.yml", "constraints.txt", "requirements.txt", "tools/book.py", "tools/packageapi.py"]
    folders = [ROOT / "book", ROOT / "snnlib"]
    files = [*(ROOT / name for name in tops), *(path for folder in folders for path in sorted(folder.rglob("*")))]
    return {
        str(path.relative_to(ROOT)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.is_file() and not {"__pycache__", ".ipynb_checkpoints"} & set(path.parts)
    }


def skeleton(path):
    """Return the hash of what other pages may refer to in the page at `path`."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
    return hashlib.sha256("\n".join(SKELETON.findall(text)).encode()).hexdigest()


def manifest():
    """Return what identifies a build: its inputs, the interpreter, the pages that it must have written."""
    sources = [path for page in pages() for path in source_files(page)]
    return {
        "python": sys.version,
        "prefix": sys.prefix,
        "pages": pages(),
        "inputs": inputs(),
        "skeletons": {str(path.relative_to(ROOT)): skeleton(path) for path in sources},
    }


def built_manifest():
    """Return the manifest of the book that stands in `_build/html`, or None when there is no sound one."""
    try:
        return json.loads(MANIFEST.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def only_pages_changed(old, new):
    """Tell whether the two manifests differ in the contents of pages alone."""
    if old is None or set(old["inputs"]) != set(new["inputs"]):
        return False
    if any(old[key] != new[key] for key in ("python", "prefix", "pages")):
        return False
    return all(name.endswith(PAGE_SUFFIXES) for name in changed_inputs(old, new))


def changed_inputs(old, new):
    """Return the names of the files that differ between two manifests of the same files."""
    return [name for name, digest in new["inputs"].items() if old["inputs"][name] != digest]


def rewritten_alone(old, new):
    """Return the pages that it suffices to write, because they alone changed, in nothing that others show; or []."""
    if missing_pages() or not only_pages_changed(old, new) or old.get("skeletons") != new["skeletons"]:
        return []
    return [os.path.splitext(name)[0] for name in changed_inputs(old, new)]


def missing_pages(since=0.0, among=()):
    """Return the pages that should stand in `_build/html` but do not, or, among some or all, are older than `since`."""
    expected = ["index", *pages()]
    paths = {page: HTML / f"{page}.html" for page in expected}
    return [
        path
        for page, path in paths.items()
        if not path.exists() or (page in (among or expected) and path.stat().st_mtime < since)
    ]


def remove_book():
    """Remove the built book and everything that Sphinx remembers of it."""
    MANIFEST.unlink(missing_ok=True)
    for name in ("html", ".doctrees", "jupyter_execute"):
        shutil.rmtree(BUILD / name, ignore_errors=True)


def run_sphinx(write_all, builder="html", folder=HTML):
    """Build with Jupyter Book as `jupyter-book build -W -n --keep-going` does; return (succeeded, messages).

    Called in this process rather than by the command line, which cannot write all pages without reading them all.
    """
    from jupyter_book.sphinx import build_sphinx

    status, messages = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(status), contextlib.redirect_stderr(messages):
        result = build_sphinx(
            ROOT,
            folder,
            noconfig=True,
            path_config=ROOT / "_config.yml",
            confoverrides={
                "external_toc_path": (ROOT / "_toc.yml").as_posix(),
                "latex_individualpages": False,
                "nitpicky": True,
            },
            builder=builder,
            warningiserror=True,
            keep_going=True,
            force_all=write_all,
        )
    LOG.write_text(status.getvalue() + messages.getvalue(), encoding="utf-8")
    return result == 0, plain(messages.getvalue())


def plain(text):
    """Return the text without terminal colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text).strip()


def write_index():
    """Write the page that leads to the first chapter."""
    first = f"{pages()[0]}.html"
    title = re.search(r"<title>(.*?)</title>", (HTML / first).read_text(encoding="utf-8"), re.DOTALL)
    (HTML / "index.html").write_text(
        INDEX.format(page=first, title=title.group(1).strip() if title else "The course"), encoding="utf-8"
    )


def remove_stale_images():
    """Remove the pictures of earlier versions of a figure: no page shows them any more."""
    text = "".join(path.read_text(encoding="utf-8") for path in HTML.rglob("*.html"))
    for folder in (HTML / "_images", BUILD / "jupyter_execute"):
        for path in folder.glob("*.png") if folder.is_dir() else ():
            if path.name not in text:
                path.unlink()


def build(old, new):
    """Build the book; return None, or what went wrong."""
    if not only_pages_changed(old, new):
        remove_book()
    changed = rewritten_alone(old, new)
    MANIFEST.unlink(missing_ok=True)
    start = time.time()
    succeeded, messages = run_sphinx(write_all=not changed)
    if (HTML / f"{pages()[0]}.html").exists():
        write_index()
    if not succeeded:
        return f"{messages}\nthe book has the faults above, so this build does not count (log: {LOG.relative_to(ROOT)})"
    missing = missing_pages(since=start - 2, among=changed)
    if missing:
        names = ", ".join(str(path.relative_to(ROOT)) for path in missing)
        return f"the book lacks pages: {names} (log: {LOG.relative_to(ROOT)})"
    remove_stale_images()
    MANIFEST.write_text(json.dumps(new, indent=1), encoding="utf-8")
    return None


@contextlib.contextmanager
def alone():
    """Let a second build wait until the first one has ended."""
    BUILD.mkdir(exist_ok=True)
    with open(BUILD / ".book.lock", "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def source_files(page):
    """Return the source of a page of the table of contents, in a list, which is empty when there is none."""
    return [path for suffix in PAGE_SUFFIXES if (path := ROOT / f"{page}{suffix}").exists()]


def absent_sources():
    """Return the pages of the table of contents that have no source file."""
    return [page for page in pages() if not source_files(page)]


def main():
    """Build when needed, say where the book is; return the exit status."""
    os.chdir(ROOT)
    start = time.perf_counter()
    absent = absent_sources()
    if absent:
        print(f"_toc.yml lists pages that do not exist: {', '.join(absent)}", file=sys.stderr)
        return 1
    with alone():
        old, new = built_manifest(), manifest()
        if old == new and not missing_pages():
            print("The book is up to date.")
        else:
            if not only_pages_changed(old, new):
                print(f"building all {len(pages())} pages (a minute or so) ...", flush=True)
            failure = build(old, new)
            if failure:
                print(failure, file=sys.stderr)
                return 1
            print(f"Built {len(pages())} pages in {time.perf_counter() - start:.1f} s.")
    index = HTML / "index.html"
    print(f"Open {index}\n  or {index.as_uri()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
