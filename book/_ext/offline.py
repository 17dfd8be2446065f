"""Sphinx extension: the built book asks nothing of any other host.

* MathJax 3 comes from the package sphinx-mathjax-offline; only what the SVG
  output needs is copied.
* Thebe, which Jupyter Book 1 loads whether wanted or not, is unhooked: it names
  a foreign host on every page.
* Nodes that an extension registers for the single-page builder alone are given
  their HTML visitors there too.
"""

import importlib.util
import shutil
from pathlib import Path

from sphinx.errors import ExtensionError

MATHJAX_PACKAGE = "sphinx-mathjax-offline"
MATHJAX_COMPONENT = "tex-svg.js"
# What MathJax loads by itself when a formula asks for it. The rest are packages
# that a page would have to require by name; MathJax shows a macro of theirs in
# red, and the browser test fails on that.
MATHJAX_EXTENSIONS = (
    "action",
    "amscd",
    "bbox",
    "boldsymbol",
    "braket",
    "cancel",
    "color",
    "enclose",
    "extpfeil",
    "html",
    "textmacros",
    "unicode",
    "upgreek",
    "verb",
)


def mathjax_files():
    """Return the paths, in MathJax's folder, of the files that the book needs."""
    return [MATHJAX_COMPONENT] + [f"input/tex/extensions/{name}.js" for name in MATHJAX_EXTENSIONS]


def mathjax_folder():
    """Return the folder that the installed package keeps MathJax in."""
    spec = importlib.util.find_spec(MATHJAX_PACKAGE)
    if spec is None:
        raise ExtensionError(f"the package {MATHJAX_PACKAGE} is not installed: run `make book`")
    return Path(spec.origin).parent / "static" / "mathjax"


def copy_mathjax(app, exception):
    """Copy MathJax beside the pages, unless the build failed or it is there."""
    if exception is not None or app.builder.format != "html":
        return
    source, target = mathjax_folder(), Path(app.outdir) / "_static" / "mathjax"
    for name in mathjax_files():
        destination = target / name
        if not destination.exists() or destination.stat().st_size != (source / name).stat().st_size:
            destination.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, destination)


def unhook_thebe(app, config):
    """Remove sphinx_thebe's listeners, which put a foreign address on pages."""
    unwanted = ("init_thebe_core", "update_thebe_context")
    for listeners in app.events.listeners.values():
        listeners[:] = [
            listener
            for listener in listeners
            if not (listener.handler.__module__.startswith("sphinx_thebe") and listener.handler.__name__ in unwanted)
        ]


def complete_singlehtml(app):
    """Let the single-page builder know every HTML visitor.

    Some extensions register only a few for it.
    """
    handlers = app.registry.translation_handlers
    for node, visitors in handlers.get("html", {}).items():
        handlers.setdefault("singlehtml", {}).setdefault(node, visitors)


def setup(app):
    """Connect the steps to Sphinx."""
    app.connect("config-inited", unhook_thebe, priority=900)
    app.connect("builder-inited", complete_singlehtml)
    app.connect("build-finished", copy_mathjax)
    return {
        "version": "1",
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
