"""The concordance with the lecture: nothing of the lecture is missing, every link has a target, every cell asserts."""

import functools
import re
from pathlib import Path

import nbformat
import pytest
from chapters import ROOT, notebooks, pages

PAGE = ROOT / "book" / "reference" / "slides.md"
LECTURE = ROOT.parent / "shared" / "lecture-slides.txt"
EQUATIONS = range(1, 12)
# What the slides have beside numbered equations, in the words of the page. Part: [(kind, what)].
CONTENTS = {
    "backpropagation": [
        ("formula", r"y = f(Wx + b)"),
        ("assumption", r"b = 0"),
        ("assumption", r"continuous and non-linear"),
        ("figure", r"a fully connected network"),
    ],
    "issues": [
        ("figure", r"pictures of Fashion-MNIST"),
        ("claim", r"bacteria"),
        ("claim", r"deeper network"),
        ("assumption", r"one neuron in each layer"),
        ("formula", r"the derivative of ten layers"),
        ("formula", r"c^{N-1}"),
        ("claim", r"c > 1$, $c \approx 1$, $c < 1"),
        ("formula", r"the product of Jacobians in general"),
        ("claim", r"largest eigenvalues"),
    ],
    "snn": [
        ("formula", r"y = f(Wx)"),
        ("formula", r"mean $\mu$ and variance $\nu$"),
        ("formula", r"$\omega$ and $\tau$ of a row"),
        ("formula", r"the map $g$"),
        ("definition", r"$\Omega$, the contraction, the fixed point"),
        ("figure", r"arrows of the map"),
        ("claim", r"constants $\alpha$ and $\lambda$"),
        ("claim", r"deeper fully connected networks"),
        ("claim", r"initial weights with $\omega = 0$, $\tau = 1$"),
        ("claim", r"normalizes every layer"),
        ("claim", r"no exploding gradient: bounded slope, damping"),
        ("claim", r"no vanishing gradient"),
        ("source", r"the paper"),
    ],
}
KINDS_OF_TARGETS = {
    "formula": r"\{eq\}|\{ref\}",
    "figure": r"\{numref\}",
    "definition": r"\{prf:ref\}`def-",
}
ROLE = re.compile(r"\{(eq|numref|ref|prf:ref)\}`(?:[^`<]*<)?([\w-]+)>?`")
NEAR = 3  # so many code cells behind a target are looked at


def section(name):
    """The text of one section of the page, from its label to the next one."""
    parts = re.split(r"^\((sec-slides-[\w-]+)\)=$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))[f"sec-slides-{name}"]


def rows(name):
    """The rows of a section's tables below their heads, as lists of cells."""
    lines = [line.strip().removeprefix("|").removesuffix("|") for line in section(name).splitlines() if line[:1] == "|"]
    found = [[cell.strip() for cell in line.split(" | ")] for line in lines]
    return [row for row in found if row[-1] not in ("in the book", "shown at") and set(row[-1]) != {"-"}]


def numbers(item):
    """The equations of the lecture that an item is about: it begins with them."""
    return [int(number) for number in re.findall(r"\d+", re.match(r"(?:\(\d+\)(?:, )?)*", item).group())]


def mistargeted(text):
    """The roles of a text whose label no source of the book defines, as (role, label)."""
    return [(role, label) for role, label in ROLE.findall(text) if label not in places().get(role, {})]


@functools.cache
def places():
    """{role: {label: (path of a notebook, number of the cell) or None on a page of text}}."""
    found = {"eq": {}, "numref": {}, "ref": {}, "prf:ref": {}}

    def collect(text, place):
        for label in re.findall(r"^\$\$ *\(([\w-]+)\)", text, re.MULTILINE):
            found["eq"][label] = place
        for label in re.findall(r"^\(([\w-]+)\)=$", text, re.MULTILINE):
            found["ref"][label] = place
        for kind, label in re.findall(r"^[`:]{3,}\{([\w:-]+)\}.*\n:label: ([\w-]+)", text, re.MULTILINE):
            found["prf:ref" if kind.startswith("prf:") else "ref"][label] = place

    for path in notebooks():
        for number, cell in enumerate(nbformat.read(path, as_version=4).cells):
            if cell.cell_type == "markdown":
                collect(cell.source, (path, number))
            for label in re.findall(r'name="(fig-[\w-]+)"', cell.source) if cell.cell_type == "code" else ():
                found["numref"][label] = (path, number)
    for page in pages():
        path = ROOT / f"{page}.md"
        if path.exists():
            collect(path.read_text(encoding="utf-8"), None)
    return found


def asserts_soon(path, number):
    """Whether one of the next code cells behind a cell asserts something, itself or through a function of its name."""
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    judges = [
        name for source in cells for name in re.findall(r"^def (\w+)\(.*\n(?:    .*\n|\n)*?    assert ", source, re.M)
    ]
    behind = [cell for cell in nbformat.read(path, as_version=4).cells[number + 1 :] if cell.cell_type == "code"]
    words = re.compile("|".join([r"^ *assert ", *(rf"^{name}\(" for name in judges)]), re.MULTILINE)
    return any(words.search(cell.source) for cell in behind[:NEAR])


def test_the_tables_are_read_whole():
    assert len(rows("backpropagation")) >= 12 and len(rows("issues")) >= 8 and len(rows("snn")) >= 10
    assert len(rows("corrections")) >= 35
    assert all(len(row) == 3 for name in [*CONTENTS, "corrections"] for row in rows(name))


def test_every_link_of_the_page_has_a_target():
    assert len(ROLE.findall(PAGE.read_text(encoding="utf-8"))) > 80
    assert mistargeted(PAGE.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("number", EQUATIONS)
def test_every_equation_of_the_lecture_leads_to_equations_of_the_book(number):
    found = [row for name in CONTENTS for row in rows(name) if number in numbers(row[-2])]
    assert len(found) == 1, f"equation ({number}) has {len(found)} lines"
    assert "{eq}" in found[0][-1]


def test_the_page_knows_no_equation_that_the_lecture_lacks():
    assert sorted(number for name in CONTENTS for row in rows(name) for number in numbers(row[-2])) == list(EQUATIONS)
    assert {number for row in rows("corrections") for number in numbers(row[0])} <= set(EQUATIONS)


@pytest.mark.parametrize(
    ("part", "kind", "what"), [(part, kind, what) for part, items in CONTENTS.items() for kind, what in items]
)
def test_whatever_else_the_slides_show_has_its_place_in_the_book(part, kind, what):
    found = [row for row in rows(part) if what in row[-2]]
    assert found, f"no line on {what}"
    assert re.search(KINDS_OF_TARGETS.get(kind, r"\{\w"), found[0][-1]), found[0]


@pytest.mark.parametrize("row", rows("corrections"), ids=lambda row: row[0])
def test_every_correction_leads_to_a_cell_that_asserts_it(row):
    links = ROLE.findall(row[-1])
    assert links, "the last column names no place"
    for role, label in links:
        place = places()[role][label]
        assert place is not None, f"{label} is not in a chapter"
        assert asserts_soon(*place), f"no code cell near {label} in {Path(place[0]).name} asserts anything"


def test_a_lost_target_and_a_cell_without_assertion_would_be_noticed():
    assert mistargeted("{eq}`eq-layer` and {ref}`a word <sec-no-such-place>`") == [("ref", "sec-no-such-place")]
    path = next(path for path in notebooks() if path.stem == "one-layer")
    assert asserts_soon(path, 10) and not asserts_soon(path, 2)


@pytest.mark.skipif(not LECTURE.exists(), reason="the slides of the lecture are not beside the repository")
def test_the_slides_have_exactly_these_equations():
    text = LECTURE.read_text(encoding="utf-8")
    assert [int(n) for n in re.findall(r"\\?q?quad *\((\d+)\)", text)] == list(EQUATIONS)
