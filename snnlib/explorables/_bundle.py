"""The scripts of the figures, put together from the files in `js/`.

A file may begin with `import { a, b } from "./other.js";` and may export functions, classes and constants where it
declares them; nothing else of the module syntax is allowed. Each file becomes one scope, registered by its name in
`snnModules`, so that equal names in two files do not clash. The same text serves as part of an ES module (Jupyter) and
as a classic script (the book, where browsers refuse modules from `file://`).
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

JS = Path(__file__).parent / "js"
_IMPORT = re.compile(r'^import \{([\w\s,]+)\} from "\./(\w+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function\*?|class|const) (\w+))", re.MULTILINE)
_MODULE_SYNTAX = re.compile(r"^\s*(?:import|export)\b.*|\bimport\s*\(.*", re.MULTILINE)


@functools.cache
def source(name: str) -> str:
    """Return the text of a file of `js/`."""
    return (JS / f"{name}.js").read_text(encoding="utf-8")


def imports(name: str) -> list[tuple[str, str]]:
    """Return [(file, names)] for what the file `name` imports, in its order."""
    return [(file, names) for names, file in _IMPORT.findall(source(name))]


def order(name: str) -> list[str]:
    """Return the names of the file and of all that it needs, each after those that it imports.

    Raises ValueError when files import each other in a circle.
    """
    return list(dict.fromkeys(_order(name, ())))


def scope(name: str) -> str:
    """Return the file as a statement that registers its exports as `snnModules[name]`.

    Raises ValueError for module syntax that is not understood, and for an import of what the other file lacks.
    """
    body = _IMPORT.sub("", source(name))
    lines = []
    for file, names in imports(name):
        wanted = [word.strip() for word in names.split(",") if word.strip()]
        if missing := set(wanted) - set(_exports(file)):
            raise ValueError(f"{name}.js imports {', '.join(sorted(missing))}, which {file}.js does not export")
        lines.append(f'const {{ {", ".join(wanted)} }} = snnModules["{file}"];')
    body = _EXPORT.sub("", body)
    if foreign := _MODULE_SYNTAX.search(body):
        raise ValueError(f"{name}.js has module syntax that is not understood: {foreign.group().strip()}")
    lines += [body.strip(), f"return {{ {', '.join(_exports(name))} }};"]
    return f'snnModules["{name}"] = (() => {{\n"use strict";\n' + "\n".join(lines) + "\n})();\n"


@functools.cache
def module(name: str) -> str:
    """Return one ES module with the file and all that it needs, whose default export is anywidget's `{ render }`."""
    scopes = "".join(map(scope, order(name)))
    return f'const snnModules = {{}};\n{scopes}export default {{ render: snnModules["{name}"].render }};\n'


def _exports(name: str) -> list[str]:
    return _EXPORT.findall(source(name))


def _order(name: str, above: tuple[str, ...]) -> list[str]:
    if name in above:
        raise ValueError(f"files import each other in a circle: {' > '.join([*above, name])}")
    return [needed for file, _ in imports(name) for needed in _order(file, (*above, name))] + [name]
