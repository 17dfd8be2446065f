"""Sphinx extension: figures that one can move, on the pages that hold some.

Their scripts and their style are written to `_static/explorables`; a page loads
those of its own figures, as classic scripts, because browsers refuse modules
from the disk.
"""

from pathlib import Path

from sphinx.errors import ExtensionError

from snnlib.explorables import FIGURES, _pages

FOLDER = "explorables"
EARLY = 300  # before the mathematics, whose script takes a while


def write_files(app):
    """Write the files before the pages that name them."""
    if app.builder.format != "html":
        return
    folder = Path(app.outdir) / "_static" / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in _pages.files(FIGURES).items():
        (folder / name).write_text(text, encoding="utf-8")


def load_scripts(app, pagename, templatename, context, doctree):
    """Let a page with figures load what they need."""
    try:
        scripts = _pages.scripts(context.get("body", ""))
    except FileNotFoundError as error:
        raise ExtensionError(f"{pagename} holds a figure without a script: {error.filename}") from error
    for name in scripts:
        app.add_js_file(f"{FOLDER}/{name}", priority=EARLY, loading_method="defer")
    if scripts:
        app.add_css_file(f"{FOLDER}/style.css")


def setup(app):
    """Connect the steps to Sphinx."""
    app.connect("builder-inited", write_files)
    app.connect("html-page-context", load_scripts)
    return {
        "version": "1",
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
