"""The stored chapters: complete, in order, free of accidents, and exactly as `make execute` stores them."""

import re

import chapters
import execute
import nbformat
import pytest

MAX_CELL_LINES = 15
MAX_FOLDED_LINES = 30  # drawings, whose code the page shows on request
MAX_BYTES = 1_000_000
MIN_ALT_LENGTH = 20
PAGE_SUFFIXES = (".ipynb", ".md")
# Folders of book/ whose files are not pages.
NO_PAGES = {"_ext", "_static", "source", ".ipynb_checkpoints"}

NOTEBOOKS = chapters.notebooks()


def each_chapter(test):
    """Run the test once for every chapter that is a notebook."""
    names = [str(path.relative_to(chapters.ROOT)) for path in NOTEBOOKS]
    return pytest.mark.parametrize("path", NOTEBOOKS, ids=names)(test)


def read(path):
    """Return the notebook stored at `path`, as it is."""
    return nbformat.reads(path.read_text(encoding="utf-8"), as_version=nbformat.NO_CONVERT)


def code_cells(path):
    """Return (number, cell) for every code cell; numbers count all cells from one."""
    return [(number, cell) for number, cell in enumerate(read(path)["cells"], 1) if cell["cell_type"] == "code"]


def outputs(path):
    """Return (cell number, output) for every stored output."""
    return [(number, output) for number, cell in code_cells(path) for output in cell["outputs"]]


def figures(path):
    """Return (cell number, description) for every figure that the chapter shows."""
    return [(number, figure) for number, cell in code_cells(path) for figure in execute.figures_of(cell)]


def is_picture(data):
    """Tell whether an output shows a picture, or a figure that one can move."""
    return "image/png" in data or "snn-explorable" in execute.text_of(data.get("text/html", ""))


def test_every_page_of_the_book_is_in_the_table_of_contents_and_the_other_way_round():
    found = {
        path.relative_to(chapters.ROOT).with_suffix("").as_posix()
        for path in (chapters.ROOT / "book").rglob("*")
        if path.suffix in PAGE_SUFFIXES and not NO_PAGES & set(path.parts)
    }
    assert found == set(chapters.pages())


def test_no_page_is_listed_twice():
    listed = chapters.pages()
    assert len(listed) == len(set(listed))


@each_chapter
def test_no_cell_holds_a_control_character(path):
    """What a careless escape leaves: \\a in a string that is not raw becomes a bell, and the formula breaks."""
    found = {
        number: re.findall(r"[\x00-\x08\x0b-\x1f\x7f]", cell["source"])
        for number, cell in enumerate(read(path)["cells"], 1)
    }
    assert not any(found.values()), {number: marks for number, marks in found.items() if marks}


@each_chapter
def test_a_chapter_is_a_valid_notebook(path):
    nbformat.validate(read(path))


@each_chapter
def test_every_code_cell_ran_in_order_in_a_fresh_kernel(path):
    counts = [cell["execution_count"] for _, cell in code_cells(path)]
    assert counts == list(range(1, len(counts) + 1)), "run `make execute` for this chapter"


@each_chapter
def test_a_chapter_stores_outputs(path):
    assert outputs(path), "run `make execute` for this chapter"


@each_chapter
def test_stored_outputs_hold_no_stderr_warning_error_or_address(path):
    assert execute.problems(read(path)) == []


@each_chapter
def test_pictures_are_png(path):
    vector = [number for number, output in outputs(path) if "image/svg+xml" in output.get("data", {})]
    assert vector == [], "the text of an SVG picture differs from run to run"


@each_chapter
def test_code_cells_are_short(path):
    too_long = {}
    for number, cell in code_cells(path):
        folded = "hide-input" in cell["metadata"].get("tags", [])
        lines = cell["source"].count("\n") + 1
        if lines > (MAX_FOLDED_LINES if folded else MAX_CELL_LINES):
            too_long[number] = lines
    assert too_long == {}, "number and lines of the cells that are too long"


@each_chapter
def test_code_cells_do_not_touch_the_module_search_path(path):
    assert [number for number, cell in code_cells(path) if "sys.path" in cell["source"]] == []


@each_chapter
def test_a_chapter_is_stored_in_normal_form(path):
    assert path.read_text(encoding="utf-8") == execute.serialized(execute.normalized(read(path))), (
        "run `make execute` for this chapter"
    )


@each_chapter
def test_cell_ids_are_unique(path):
    ids = [cell["id"] for cell in read(path)["cells"]]
    assert len(ids) == len(set(ids))


@each_chapter
def test_a_figure_is_described_in_the_cell_as_in_its_output(path):
    for number, cell in code_cells(path):
        stored = {key: value for key, value in cell["metadata"].get("mystnb", {}).items() if key in ("figure", "image")}
        described = execute.figures_of(cell)
        assert stored == (execute.figure_metadata(described[0]) if described else {}), f"cell {number}"


@each_chapter
def test_every_picture_has_a_name_a_caption_and_alternative_text(path):
    pictures = [number for number, output in outputs(path) if is_picture(output.get("data", {}))]
    described = figures(path)
    assert pictures == [number for number, _ in described], "show figures with figures.show, or their own show"
    for number, figure in described:
        assert re.fullmatch(r"fig-[a-z0-9-]+", figure.get("name", "")), f"cell {number}: name {figure.get('name')!r}"
        assert figure.get("caption", "").strip(), f"cell {number} has no caption"
        assert len(figure.get("alt", "")) > MIN_ALT_LENGTH, f"cell {number}: alternative text {figure.get('alt')!r}"


def test_figure_names_are_unique_in_the_whole_book():
    names = [figure["name"] for path in NOTEBOOKS for _, figure in figures(path)]
    assert sorted(names) == sorted(set(names))


@each_chapter
def test_a_chapter_is_small_enough_to_read_in_a_diff(path):
    assert path.stat().st_size <= MAX_BYTES
