"""What the pages of the book need to bring figures to life: files for `_static/explorables`, and who needs which."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from . import _bundle
from ._base import STYLE, Explorable

_PLACE = re.compile(r'<div class="snn-explorable" data-module="(\w+)"')


def files(classes: Sequence[type[Explorable]]) -> dict[str, str]:
    """Return {name: text} of all files, for these figures: the style, the host, and one classic script per module."""
    needed = {name for figure in classes for name in _bundle.order(figure.module)}
    texts = {f"{name}.js": _bundle.scope(name) for name in sorted(needed)}
    for figure in classes:
        about = json.dumps({"version": figure.version, "limits": figure.limits()}, allow_nan=False)
        texts[f"{figure.module}.js"] += f'snnModules["{figure.module}"].about = {about};\n'
        texts[f"{figure.module}.js"] += f'snnModules.mount("{figure.module}");\n'
    return {"style.css": STYLE.read_text(encoding="utf-8"), "host.js": _bundle.source("host"), **texts}


def modules(page: str) -> list[str]:
    """Return the modules of the figures that a page's HTML holds, one for each place."""
    return _PLACE.findall(page)


def scripts(page: str) -> list[str]:
    """Return the scripts that a page's HTML needs, in the order in which they must run; none without a figure."""
    names = dict.fromkeys(name for module in modules(page) for name in _bundle.order(module))
    return [f"{name}.js" for name in ("host", *names)] if names else []
