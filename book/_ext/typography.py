"""Sphinx extension: what is written without a space beside a formula stays on the formula's line.

A browser may break a line before and after a typeset formula, so that a full stop or the rest of "n-th" would begin
the next line. Each formula and what clings to it are wrapped in an element that course.css forbids to break.
"""

import re

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

# A longer run (a compound such as "-dimensional-and-more") may break after all.
LONGEST_RUN = 16
LAST_RUN = re.compile(r"\S+$")
FIRST_RUN = re.compile(r"^\S+")


def clinging(node, pattern):
    """Return the run of characters at one end of a text node, or nothing where there is no such text."""
    match = pattern.search(node.astext()) if isinstance(node, nodes.Text) else None
    return match.group() if match and len(match.group()) <= LONGEST_RUN else ""


def keep_together(formula):
    """Wrap the formula with the characters that cling to it on either side."""
    parent, position = formula.parent, formula.parent.index(formula)
    before = parent[position - 1] if position else None
    after = parent[position + 1] if position + 1 < len(parent) else None
    head, tail = clinging(before, LAST_RUN), clinging(after, FIRST_RUN)
    if not (head or tail):
        return
    wrapper = nodes.inline(
        "",
        "",
        nodes.Text(head),
        formula.deepcopy(),
        nodes.Text(tail),
        classes=["nobreak"],
    )
    pieces = [nodes.Text(before.astext()[: -len(head)])] if head else []
    pieces.append(wrapper)
    pieces += [nodes.Text(after.astext()[len(tail) :])] if tail else []
    parent[position - bool(head) : position + 1 + bool(tail)] = pieces


class KeepFormulasTogether(SphinxPostTransform):
    """Apply `keep_together` to every formula within a line of text."""

    default_priority = 900
    formats = ("html",)

    def run(self, **arguments):
        """Visit the formulas of one page."""
        for formula in list(self.document.findall(nodes.math)):
            keep_together(formula)


def setup(app):
    """Register the transform."""
    app.add_post_transform(KeepFormulasTogether)
    return {
        "version": "1",
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
