"""A folder with what the book is built with, for tests that build a book of their own."""

import shutil

from chapters import ROOT


def prepare(folder):
    """Copy the tools, the extensions, the style and the configuration into a folder; its bibliography is empty."""
    shutil.copytree(ROOT / "tools", folder / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("_ext", "_static"):
        shutil.copytree(ROOT / "book" / name, folder / "book" / name)
    for name in ("_config.yml", "requirements.txt", "constraints.txt"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "book" / "references.bib").write_text("")
