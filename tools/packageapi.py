"""What is public in snnlib, read from its source without importing it.

Public is what a module defines at its top, without an underscore, and what it lists in `__all__`; of a class its
methods and properties without an underscore, and `__call__`. A constant is documented by a comment that begins with
`#:`, at the end of its line or on the lines above it.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chapters import ROOT

PACKAGE = "snnlib"
Callables = ast.FunctionDef | ast.AsyncFunctionDef
COMMENT = re.compile(r"\s*#: ?(.*)$")


@dataclass(frozen=True)
class Item:
    """Something public: `name` is its place in the module `module`, such as "Network.forward"."""

    module: str
    name: str
    kind: str  # "function", "class", "method", "property" or "constant"
    doc: str  # "" where there is none
    node: ast.AST

    @property
    def path(self) -> str:
        """The full name, such as "snnlib.backprop.Network.forward"."""
        return f"{self.module}.{self.name}"


def source(module: str) -> Path:
    """The file of a module, given by its full name."""
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@functools.cache
def tree(module: str) -> ast.Module:
    """The syntax tree of a module."""
    return ast.parse(source(module).read_text(encoding="utf-8"))


@functools.cache
def modules() -> tuple[str, ...]:
    """The full names of the package's public modules; packages come before what is in them."""
    found = []
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if not any(part.startswith("_") for part in parts):
            found.append(".".join(parts))
    return tuple(sorted(found))


def targets(node: ast.AST) -> list[str]:
    """The names that a statement assigns to."""
    if not isinstance(node, ast.Assign | ast.AnnAssign):
        return []
    left = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [name.id for target in left for name in ast.walk(target) if isinstance(name, ast.Name)]


def listed(module: str) -> tuple[str, ...]:
    """What a module's `__all__` names, as far as it is written out."""
    for node in tree(module).body:
        if "__all__" in targets(node):
            return tuple(item.value for item in node.value.elts if isinstance(item, ast.Constant))
    return ()


def comment(module: str, node: ast.AST) -> str:
    """The text of a constant's `#:` comment."""
    lines = source(module).read_text(encoding="utf-8").splitlines()
    if "#:" in lines[node.end_lineno - 1]:
        return lines[node.end_lineno - 1].split("#:", 1)[1].strip()
    above = []
    for line in reversed(lines[: node.lineno - 1]):
        if not (match := COMMENT.match(line)):
            break
        above.insert(0, match.group(1))
    return "\n".join(above)


def members(module: str, owner: ast.ClassDef) -> Iterator[Item]:
    """The public methods and properties that a class defines."""
    for node in owner.body:
        if isinstance(node, Callables) and (not node.name.startswith("_") or node.name == "__call__"):
            decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
            kind = "property" if decorators & {"property", "functools.cached_property"} else "method"
            yield Item(module, f"{owner.name}.{node.name}", kind, ast.get_docstring(node) or "", node)


def defined(module: str, node: ast.AST) -> Iterator[Item]:
    """What one statement at the top of a module defines."""
    if isinstance(node, Callables):
        yield Item(module, node.name, "function", ast.get_docstring(node) or "", node)
    elif isinstance(node, ast.ClassDef):
        yield Item(module, node.name, "class", ast.get_docstring(node) or "", node)
        yield from members(module, node)
    else:
        for name in targets(node):
            yield Item(module, name, "constant", comment(module, node), node)


def imported(module: str) -> dict[str, str]:
    """{name: full name of the module that it comes from} of what a module imports from the package by name."""
    package = module if source(module).name == "__init__.py" else module.rpartition(".")[0]
    found = {}
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            if origin.split(".")[0] == PACKAGE:
                found.update({alias.asname or alias.name: origin for alias in node.names})
    return found


@functools.cache
def items(module: str) -> tuple[Item, ...]:
    """Everything public in a module, in the order of its source; what it passes on from a private module comes last."""
    own = [item for node in tree(module).body for item in defined(module, node)]
    found = [item for item in own if not item.name.startswith("_")]
    for name in listed(module):
        origin = imported(module).get(name, "")
        if origin and any(part.startswith("_") for part in origin.split(".")):
            passed_on = [item for node in tree(origin).body for item in defined(origin, node)]
            found += [
                Item(module, item.name, item.kind, item.doc, item.node)
                for item in passed_on
                if item.name.split(".")[0] == name
            ]
    return tuple(found)


def parameters(item: Item) -> list[str]:
    """The names of what a function, a method or a class is called with."""
    node = item.node
    if item.kind == "class":
        made = [part for part in node.body if isinstance(part, Callables) and part.name == "__init__"]
        if not made:
            return fields(item) if is_record(node) else []
        node = made[0]
    if not isinstance(node, Callables) or item.kind == "property":
        return []
    arguments = node.args
    names = [argument.arg for argument in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]]
    names += [argument.arg for argument in (arguments.vararg, arguments.kwarg) if argument]
    return [name for name in names if name not in ("self", "cls")]


def is_record(node: ast.ClassDef) -> bool:
    """Whether a class is a dataclass or a named tuple, whose fields are its parameters."""
    decorated = any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)
    return decorated or any(ast.unparse(base) == "NamedTuple" for base in node.bases)


def fields(item: Item) -> list[str]:
    """The names of a class's fields: those that are annotated, and those that `__init__` gives to self."""
    annotated = [part.target.id for part in item.node.body if isinstance(part, ast.AnnAssign)]
    given = [
        target.attr
        for node in ast.walk(item.node)
        for target in assigned(node)
        if isinstance(target.value, ast.Name) and target.value.id == "self"
    ]
    return [name for name in dict.fromkeys([*annotated, *given]) if not name.startswith("_")]


def assigned(node: ast.AST) -> Iterator[ast.Attribute]:
    """The attributes that a statement assigns to."""
    left = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    for target in left:
        parts = target.elts if isinstance(target, ast.Tuple) else [target]
        yield from (part for part in parts if isinstance(part, ast.Attribute))


@functools.cache
def index() -> dict[str, Item]:
    """{full name: item} of everything public in the package."""
    return {item.path: item for module in modules() for item in items(module)}


@functools.cache
def short_names() -> dict[str, str]:
    """{name without its module: full name} of what is public in one module only, its parts after a dot included."""
    places: dict[str, list[str]] = {}
    for item in index().values():
        places.setdefault(item.name, []).append(item.path)
    return {name: paths[0] for name, paths in places.items() if len(paths) == 1}
