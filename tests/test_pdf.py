"""The book as one PDF: complete, nothing beyond the margins, a table of contents whose page numbers are right."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import chapters
import numpy as np
import pdf
import pytest

pypdf = pytest.importorskip("pypdf", reason="no pypdf: run `make book`, which installs it")

TOOLS = ("pdftotext", "pdftoppm")
RESOLUTION = 36  # dots per inch
MARGIN = 18 / 25.4 * RESOLUTION  # dots: 2 mm less than that of the pages
WHITE = 235
LINE = re.compile(r"^\s*(\S.*?)\s{2,}(\d{1,3})$")  # of the table of contents: a title, a gap, a page number


def squeezed(text):
    """The letters and digits of a text: how it is broken into lines and spaced does not count."""
    return re.sub(r"\W+", "", text)


@pytest.fixture(scope="module")
def printed(chromium):
    """The PDF, printed if the book has changed since."""
    missing = [name for name in TOOLS if not shutil.which(name)]
    if missing:
        reason = f"no {' and '.join(missing)}: install poppler (Debian: apt-get install poppler-utils)"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    subprocess.run([sys.executable, pdf.ROOT / "tools" / "pdf.py"], check=True, timeout=1500)
    return pdf.PDF


@pytest.fixture(scope="module")
def reader(printed):
    """The PDF, read."""
    return pypdf.PdfReader(printed)


@pytest.fixture(scope="module")
def texts(printed):
    """The text of each page."""
    done = subprocess.run(["pdftotext", "-layout", printed, "-"], check=True, capture_output=True, text=True)
    return done.stdout.split("\f")[:-1]


def headings(reader):
    """(depth, title, page) of every entry of the outline."""

    def walk(entries, depth):
        for entry in entries:
            if isinstance(entry, list):
                yield from walk(entry, depth + 1)
            else:
                yield depth, entry.title, reader.get_destination_page_number(entry) + 1

    return list(walk(reader.outline, 0))


pytestmark = pytest.mark.timeout(1800)


def test_every_page_of_the_book_has_its_place_in_the_outline_in_order(reader):
    titles = [squeezed(title) for _, title, _ in headings(reader)]
    wanted = [squeezed(pdf.soup(page).select_one("article h1").get_text().rstrip("#")) for page in chapters.pages()]
    places = [titles.index(title) for title in wanted]
    assert places == sorted(places)


def test_the_table_of_contents_names_the_page_on_which_each_heading_stands(reader, texts):
    first = headings(reader)[1][2]  # after the contents
    listed = [LINE.match(line) for text in texts[1 : first - 1] for line in text.splitlines()]
    listed = [(squeezed(match[1]), int(match[2])) for match in listed if match]
    wanted = {(squeezed(title), page) for depth, title, page in headings(reader) if depth in (1, 2)}
    assert len(listed) > 200
    # A title that takes two lines is listed with its last one.
    astray = [(title, page) for title, page in listed if not any(t.endswith(title) and p == page for t, p in wanted)]
    assert astray == []


def test_each_page_carries_its_number(texts):
    assert [k for k, text in enumerate(texts[1:], start=2) if text.split()[-1] != str(k)] == []


def test_nothing_is_printed_beyond_the_margins(printed, tmp_path):
    subprocess.run(["pdftoppm", "-r", str(RESOLUTION), "-gray", printed, tmp_path / "page"], check=True)
    inked = []
    for path in sorted(tmp_path.glob("*.pgm")):
        picture = grey(path)
        edge = int(MARGIN)
        if picture[:, :edge].min() < WHITE or picture[:, -edge:].min() < WHITE:
            inked.append(path.stem)
    assert len(list(tmp_path.glob("*.pgm"))) > 300
    assert inked == []


def grey(path):
    """The pixels of a binary PGM file."""
    data = Path(path).read_bytes()
    header = re.match(rb"P5\s+(\d+)\s+(\d+)\s+255\s", data)
    width, height = int(header[1]), int(header[2])
    return np.frombuffer(data, np.uint8, offset=header.end()).reshape(height, width)


def test_links_lead_to_places_within_the_document_or_to_the_web(reader):
    names = set(reader.named_destinations)
    lost = set()
    for page in reader.pages:
        for annotation in page.get("/Annots") or []:
            annotation = annotation.get_object()
            place, action = annotation.get("/Dest"), annotation.get("/A", {})
            if place is not None and str(place) not in names and str(place).lstrip("/") not in names:
                lost.add(str(place))
            if not re.match(r"https?:|mailto:", str(action.get("/URI", "https:"))):
                lost.add(str(action["/URI"]))
    assert lost == set()


def test_solutions_are_unfolded_and_no_formula_is_left_as_it_was_typed(texts):
    whole = "\n".join(texts)
    exercises = sum(path.read_text(encoding="utf-8").count("{solution-start}") for path in chapters.notebooks())
    exercises += sum(path.read_text(encoding="utf-8").count("{solution}") for path in chapters.notebooks())
    assert exercises and len(re.findall(r"^\s*Solution to Exercise", whole, re.MULTILINE)) == exercises
    assert re.findall(r"\\\(|\\\[|\\begin\{|\$\$", whole) == []
