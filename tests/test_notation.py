"""The notation page keeps its word: its symbols appear in the book, and its names exist in the code."""

import ast
import builtins
import re

import nbformat
import pytest
from chapters import ROOT, notebooks

from snnlib import activations, backprop, contraction, meanfield, moments, propagation

PAGE = ROOT / "book" / "notation.md"
MODULES = (activations, backprop, contraction, meanfield, moments, propagation)
EXAMPLES = {"Network": backprop.Network([2, 2]), "Activation": activations.get("selu")}


def rows():
    """[(symbols, names)] of the page's tables: the formulas of the first column, the code of the last."""
    found = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if line.startswith("|") and len(cells) == 3 and "$" in cells[0]:
            found.append((re.findall(r"\$([^$]+)\$", cells[0]), re.findall(r"`([^`]+)`", cells[2])))
    return found


def cells(kind):
    """The sources of all cells of one kind in all chapters."""
    books = [nbformat.read(path, as_version=4) for path in notebooks()]
    return [cell.source for book in books for cell in book.cells if cell.cell_type == kind]


def formulas():
    """All formulas of the chapters."""
    text = "\n".join(cells("markdown"))
    return [a or b for a, b in re.findall(r"\$\$(.+?)\$\$|\$([^$]+)\$", text, re.DOTALL)]


def identifiers():
    """All names that the chapters' code uses."""
    nodes = [node for source in cells("code") for node in ast.walk(ast.parse(source))]
    return (
        {node.id for node in nodes if isinstance(node, ast.Name)}
        | {node.arg for node in nodes if isinstance(node, ast.arg)}
        | {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    )


def exists_in_package(name):
    """Whether a name is one of a module, or an attribute (after a dot) of a network or an activation."""
    first, *rest = name.split(".")
    if rest:
        return first in EXAMPLES and hasattr(EXAMPLES[first], rest[0])
    return any(hasattr(module, first) for module in MODULES)


def test_the_page_has_its_tables():
    assert len(rows()) >= 25


@pytest.mark.parametrize("symbol", [symbol for symbols, _ in rows() for symbol in symbols])
def test_every_symbol_appears_in_a_chapter(symbol):
    tokens = re.findall(r"\\[A-Za-z]+|\S", symbol)
    left = "" if symbol.startswith("\\") else r"(?<![A-Za-z\\])"
    right = r"(?![A-Za-z])" if symbol[-1].isalpha() else ""
    pattern = re.compile(left + r"\s*".join(map(re.escape, tokens)) + right)
    assert any(pattern.search(formula) for formula in formulas()), f"no chapter uses ${symbol}$"


@pytest.mark.parametrize("code", [name for _, names in rows() for name in names])
def test_every_name_exists(code):
    tree = ast.parse(code, mode="eval") if code != "*" else None
    if tree is None or isinstance(tree.body, ast.Tuple):  # an operator, or a shape such as (B, n)
        return
    used = identifiers()
    if isinstance(tree.body, ast.Call):  # such as len(x)
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert all(name in used or hasattr(builtins, name) or name == "np" for name in names), code
        return
    assert code in used or exists_in_package(code) or code.startswith("np."), (
        f"{code} is neither in a chapter nor in snnlib"
    )


def test_an_invented_symbol_or_name_would_be_noticed():
    with pytest.raises(AssertionError, match="no chapter uses"):
        test_every_symbol_appears_in_a_chapter(r"\Xi^{(i)}")
    with pytest.raises(AssertionError, match="neither in a chapter nor in snnlib"):
        test_every_name_exists("Network.width_of_layers")
