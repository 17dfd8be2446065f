"""What the table of contents lists. As a script: print the notebooks among the pages, one path per line."""

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]


def files(entry):
    """Yield every page below one entry of the table of contents."""
    if isinstance(entry, list):
        for item in entry:
            yield from files(item)
    elif isinstance(entry, dict):
        for key, value in entry.items():
            if key in ("root", "file"):
                yield value
            else:
                yield from files(value)


def pages(root=ROOT):
    """Return the pages of `_toc.yml` in reading order, as paths without suffix relative to the root."""
    toc = yaml.safe_load((Path(root) / "_toc.yml").read_text(encoding="utf-8"))
    return [str(Path(page).with_suffix("")) if page.endswith((".md", ".ipynb")) else page for page in files(toc)]


def notebooks(root=ROOT):
    """Return the paths of the chapters that are notebooks, in reading order."""
    candidates = [Path(root) / f"{page}.ipynb" for page in pages(root)]
    return [path for path in candidates if path.exists()]


if __name__ == "__main__":
    for path in notebooks():
        print(path.relative_to(ROOT))
