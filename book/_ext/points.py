"""Sphinx extension: the points of an assignment, taken from its source when the book is built.

    ```{points} backpropagation-by-hand
    ```

shows a table of its questions with the parts that students see, and below it how a person grades the rest. Hidden
tests count, but are not shown.
"""

import ast

from coursework.notebooks import SOURCES, Source, plain_python
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

BY_HAND = "**How it is graded**"


def parts(cell):
    """Return (points, title) of each part of a test that students see."""
    for node in ast.walk(ast.parse(plain_python(cell.released))):
        if isinstance(node, ast.With):
            call = node.items[0].context_expr
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "marks":
                points, title = call.args
                if isinstance(points, ast.Constant) and isinstance(title, ast.Constant):
                    yield points.value, title.value


def row(cell):
    """Return one line of the table."""
    name = cell.grade_id.removesuffix("-test")
    seen = list(parts(cell)) if cell.kind == "test" else []
    rest = cell.points - sum(points for points, _ in seen)
    shown = [f"{title} ({points:g})" for points, title in seen]
    if cell.kind == "manual":
        shown = ["a person grades, see below"]
    elif rest:
        shown.append(f"tests that are not shown ({rest:g})")
    return f"| {name} | {cell.points:g} | " + "; ".join(shown).replace("|", "\\|") + " |"


def text(source):
    """Return the rubric of an assignment in Markdown."""
    graded = [cell for cell in source.cells if cell.points is not None]
    lines = ["| question | points | parts |", "| --- | --- | --- |", *map(row, graded)]
    for before, cell in zip(source.cells, source.cells[1:], strict=False):
        if cell.kind == "manual" and BY_HAND in before.text:
            lines += ["", f"**{cell.grade_id}** {before.text.partition(BY_HAND)[2]}"]
    return lines


class Points(SphinxDirective):
    """The directive; its argument is the name of an assignment."""

    required_arguments = 1

    def run(self):
        """Return the table and the paragraphs below it."""
        source = Source.read(SOURCES / self.arguments[0])
        for path in source.folder.iterdir():
            self.env.note_dependency(str(path))
        container = nodes.container()
        self.state.nested_parse(StringList(text(source), self.env.docname), self.content_offset, container)
        return container.children


def setup(app):
    """Register the directive."""
    app.add_directive("points", Points)
    return {"parallel_read_safe": True}
