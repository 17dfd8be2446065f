"""Sphinx extension: the claims that the course tests, each beside its cell, and all of them in one ledger.

A claim stands below the code cell that tests it:

    :::{claim} The gradient of a chain changes by the same factor in every layer.
    :label: claim-chain-geometric
    :source: the lecture, "Vanishing / exploding gradient problem"
    :verdict: holds
    :::

The verdict is `holds`, `holds under ...` (or for, if, when, where) with the conditions, or `does not hold`; a colon may
follow, and what there is to add. The cell must assert something; it gets the claim's label, so that the ledger leads to
it. A page shows the ledger with

    ```{claims} gradients
    ```

whose argument is a folder of chapters. Nothing in it is written by hand.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import nbformat
from chapters import notebooks
from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.transforms import SphinxTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

NEAR = 3  # code cells that the tested claim may lie below its cell, such as a figure that shows the same
VERDICT = re.compile(
    r"(?P<verdict>holds|does not hold)(?: (?P<condition>(?:under|for|if|when|where) .+)|: (?P<more>.+))?"
)
CLAIM = re.compile(r"^:::\{claim\} (?P<text>.+)\n(?P<options>(?:^:[a-z]+: .+\n)+)(?:(?!:::$).*\n)*?:::$", re.MULTILINE)
OPTION = re.compile(r"^:([a-z]+): (.+)$", re.MULTILINE)
TITLE = re.compile(r"^# (.+)$", re.MULTILINE)
CLASSES = {"holds": "holds", "holds under": "holds-under", "does not hold": "does-not-hold"}

logger = logging.getLogger(__name__)


class ClaimError(ValueError):
    """A claim is written wrongly; the message says where and how."""


def read_verdict(text):
    """Return (verdict, conditions, what is added) of the option; a ClaimError says what it may be."""
    match = VERDICT.fullmatch(text.strip().rstrip("."))
    if match is None or (match["condition"] and match["verdict"] != "holds"):
        raise ClaimError(
            f'the verdict {text!r} is not "holds", "holds under ..." or "does not hold", perhaps with ": ..."'
        )
    return match["verdict"], match["condition"] or "", match["more"] or ""


def kind(text):
    """Return which of the three verdicts the option gives."""
    verdict, condition, _ = read_verdict(text)
    return "holds under" if condition else verdict


def sentence(text):
    """Return the verdict as a reader sees it, in Markdown."""
    verdict, condition, more = read_verdict(text)
    return f"**{verdict.capitalize()}**" + (f" {condition}." if condition else f": {more}." if more else ".")


@dataclass(frozen=True)
class Claim:
    """A claim, its source and its verdict, as they stand in a chapter."""

    chapter: Path
    title: str  # of the chapter
    text: str
    label: str
    source: str
    verdict: str  # as it is written, with its conditions


def claims(path):
    """Yield the claims of the chapter at `path`, in reading order. A ClaimError says which one is incomplete."""
    cells = nbformat.read(path, as_version=4)["cells"]
    title = next((match[1] for cell in cells if (match := TITLE.search(cell["source"]))), path.stem)
    for cell in cells:
        if cell["cell_type"] != "markdown":
            continue
        found = list(CLAIM.finditer(cell["source"]))
        if len(found) != cell["source"].count("{claim}"):
            raise ClaimError(f"{path.name}: a claim is not written as `:::{{claim}} text`, options, `:::`")
        for match in found:
            options = dict(OPTION.findall(match["options"]))
            if set(options) != {"label", "source", "verdict"}:
                raise ClaimError(f"{path.name}: {match['text']!r} needs :label:, :source: and :verdict:, no more")
            read_verdict(options["verdict"])
            yield Claim(path, title, match["text"].strip(), **options)


# --- in a chapter ----------------------------------------------------------------------------------------------------


class ClaimDirective(SphinxDirective):
    """A claim below the cell that tests it."""

    required_arguments = 1
    final_argument_whitespace = True
    option_spec = dict.fromkeys(("label", "source", "verdict"), directives.unchanged_required)

    def run(self):
        """Return a box with the claim, its source and its verdict."""
        try:
            label, source, verdict = (self.options[name] for name in ("label", "source", "verdict"))
            classes = ["claim", f"claim-{CLASSES[kind(verdict)]}"]
        except KeyError as error:
            raise self.error(f"a claim needs the option :{error.args[0]}:") from error
        except ClaimError as error:
            raise self.error(str(error)) from error
        lines = [f"**Claim** ({source}): {self.arguments[0]}", "", sentence(verdict)]
        box = nodes.container(classes=classes, claim=label)
        self.state.nested_parse(StringList(lines), self.content_offset, box)
        self.set_source_info(box)
        box["names"].append(nodes.fully_normalize_name(label))
        self.state.document.note_explicit_target(box, box)
        return [box]


class LabelCells(SphinxTransform):
    """Let the label of a claim lead to the cell that tests it, and complain where there is none."""

    default_priority = 500  # before the labels are collected

    def apply(self):
        """Move the label of every claim to its cell."""
        cells = []
        for node in self.document.findall(nodes.container):
            if "cell" in node["classes"]:
                cells.append(node)
            elif "claim" in node:
                self.move(node, cells)

    def move(self, claim, cells):
        """Move the label of one claim to the nearest cell above that asserts something."""
        near = (cell for cell in reversed(cells[-NEAR:]) if re.search(r"^\s*assert\b", source(cell), re.MULTILINE))
        cell = next(near, None)
        if cell is None:
            logger.warning("%s: no cell just above asserts this claim", claim["claim"], location=claim)
            return
        cell["ids"] += claim["ids"]
        cell["names"] += claim["names"]
        self.document.ids.update(dict.fromkeys(claim["ids"], cell))
        claim["ids"], claim["names"] = [], []


def source(cell):
    """Return the code of a cell of the page."""
    inputs = (node for node in cell.findall(nodes.container) if "cell_input" in node["classes"])
    return "\n".join(block.astext() for node in inputs for block in node.findall(nodes.literal_block))


# --- the ledger ------------------------------------------------------------------------------------------------------


def ledger(found):
    """Return a table of claims in Markdown."""
    lines = ["| claim | source | verdict | cell |", "| --- | --- | --- | --- |"]
    for claim in found:
        cell = f"{{ref}}`{claim.title.partition(':')[0]} <{claim.label}>`"
        shown = [claim.text, claim.source, sentence(claim.verdict), cell]
        lines.append("| " + " | ".join(part.replace("|", "\\|") for part in shown) + " |")
    return lines


def counts(found):
    """Return one sentence that counts the verdicts."""
    number = {verdict: sum(kind(claim.verdict) == verdict for claim in found) for verdict in CLASSES}
    return (
        f"{len(found)} claims: {number['holds']} hold, {number['holds under']} hold under conditions, "
        f"{number['does not hold']} do not hold."
    )


class LedgerDirective(SphinxDirective):
    """The claims of the chapters in one folder of the book, or the counts of all with the argument `all`."""

    required_arguments = 1

    def run(self):
        """Return the table, made from the chapters' sources."""
        folder = self.arguments[0]
        paths = [path for path in notebooks() if folder in ("all", path.parent.name)]
        if not paths:
            raise self.error(f"there are no chapters in book/{folder}")
        for path in paths:
            self.env.note_dependency(str(path))
        try:
            found = [claim for path in paths for claim in claims(path)]
        except ClaimError as error:
            raise self.error(str(error)) from error
        lines = [counts(found)] if folder == "all" else ledger(found)
        box = nodes.container(classes=["claims"])
        self.state.nested_parse(StringList(lines), self.content_offset, box)
        return [box] if found or folder == "all" else []


def setup(app):
    """Register the directives and the step between them."""
    app.add_directive("claim", ClaimDirective)
    app.add_directive("claims", LedgerDirective)
    app.add_transform(LabelCells)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
