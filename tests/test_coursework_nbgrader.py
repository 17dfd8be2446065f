"""The coursework's way through nbgrader, on a small assignment: release, gradebook, grading by hand, marks, feedback.

nbgrader has an environment of its own; there `nbgrader_chain.py` goes through a term and says what it saw.
"""

import base64
import csv
import html
import io
import json
import os
import re
import statistics
import struct
import subprocess
import sys
import zipfile
import zlib
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from coursework import marks, run, sandbox
from coursework.feedback import page
from coursework.notebooks import Cell, Source, book_address, to_book
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).resolve().parents[1]
GRADING = ROOT / ".venv-grading"
SCRIPT = "<script>alert(1)</script>"
STUB = "# YOUR CODE HERE\nraise NotImplementedError()"
LINK = "[One layer](../../../backpropagation/one-layer.ipynb#Exercises)"
SOLUTION = "def double(x):\n    ### BEGIN SOLUTION\n    return 2 * x  # twice\n    ### END SOLUTION"
TEST = """\
marks = Marks()
with marks(1, "of one"):
    expect(double(1.0), 2.0, "double")
### BEGIN HIDDEN TESTS
import hidden_tiny
with marks(3, "of another number"):
    expect(double(hidden_tiny.SECRET), 2 * hidden_tiny.SECRET)
### END HIDDEN TESTS
marks.total()"""
MODEL = "### BEGIN SOLUTION\nThe model answer of the essay.\n### END SOLUTION"
ROSTER = """\
id,first_name,last_name,email,lms_user_id
ada,Ada,Alt,ada@uni.example,101
bob,Bob,Berg,bob@uni.example,102
dan,Dan,Dorn,dan@uni.example,103
"""
MOODLE = """\
Identifier,Full name,Email address,Status,Grade,Maximum Grade,Last modified (grade),Feedback comments
Participant 101,Zoe Zorn,zoe@uni.example,,5,10,-,keep me
Participant 7,Somebody,ADA@uni.example,,,10,-,
Participant 8,Dan Dorn,,,,10,-,"two
lines"
Participant 4711,Karl Klug,karl@uni.example,,,10,-,
Participant 9,Bob Berg,bob@uni.example,,4,10,-,
Participant 10,Ada Alt,another.ada@uni.example,,,10,-,
"""
CANVAS = """\
Student,ID,SIS User ID,SIS Login ID,Section,tiny (99),other (98)
    Points Possible,,,,,10,5
"Alt, Ada",101,s1,aa1,A,,-3
"Dorn, Dan",555,s3,dan,A,,2
"Zorn, Zoe",4712,s4,zoe,A,1,
"Alt, Ada",999,s5,ada,A,,
"""


def nbgrader(name, kind, points=None):
    """A cell's metadata."""
    flags = {"grade": kind in ("test", "manual"), "solution": kind in ("solution", "manual"), "task": False}
    entry = {"schema_version": 3, "grade_id": name, "locked": kind in ("given", "test"), **flags}
    return {"nbgrader": entry | ({} if points is None else {"points": points})}


def tiny():
    """The notebook of the assignment."""
    cells = [
        new_markdown_cell(f"# Tiny: twice\n\nRead the chapter {LINK}."),
        new_code_cell("from snnlib.coursework import Marks, expect", metadata=nbgrader("set-up", "given")),
        new_code_cell(SOLUTION, metadata=nbgrader("double", "solution")),
        new_code_cell(TEST, metadata=nbgrader("double-test", "test", 4)),
        new_markdown_cell("Rubric: one point for each line, up to six."),
        new_markdown_cell(MODEL, metadata=nbgrader("essay", "manual", 6)),
    ]
    for cell in cells:
        if "nbgrader" in cell.metadata:
            cell.metadata["nbgrader"]["cell_type"] = cell.cell_type
    return new_notebook(cells=cells)


def png(comment=b""):
    """A PNG of one pixel, with a comment in it."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    pixel = chunk(b"IDAT", zlib.compress(b"\0\0\0\0"))
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    return base64.b64encode(head + chunk(b"tEXt", b"Comment\0" + comment) + pixel + chunk(b"IEND", b"")).decode()


def result(student, score=0.0, essay=None, code=STUB, reason="nothing here yet", outputs=(), version="1"):
    """What the grader says of a submission: points of the test, and an answer that a person must read."""

    def entry(name, kind, points=None, **more):
        blank = {"type": "code", "score": None, "parts": [], "source": None, "outputs": []}
        return {"grade_id": name, "kind": kind, "points": points, **blank, **more}

    parts = [
        {"points": 1.0, "score": min(score, 1.0), "title": "of one", "reason": None if score else reason},
        {
            "points": 3.0,
            "score": max(score - 1, 0.0),
            "title": "of another number",
            "reason": None if score > 1 else reason,
        },
    ]
    answered = essay is not None
    cells = [
        entry(None, "text"),
        entry("set-up", "given"),
        entry("double", "solution", source=code, outputs=list(outputs)),
        entry(None, "added", source="# a note of my own"),
        entry(None, "added", type="markdown", source=f"text of my own {SCRIPT}"),
        entry("double-test", "test", 4.0, score=score, parts=parts),
        entry(None, "text"),
        entry(
            "essay", "manual", 6.0, score=None if answered else 0.0, source=essay if answered else "YOUR ANSWER HERE"
        ),
    ]
    people = ["to be read: essay"] if answered else []
    head = {"format": 1, "assignment": "tiny", "student": student, "submission": student + version, "seconds": 1.0}
    return {**head, "state": "graded", "needs_person": people, "notes": [], "cells": cells}


def failed(student):
    """What the grader says of a file that is no notebook."""
    return result(student) | {"state": "failed", "needs_person": [f"no JSON {SCRIPT}"], "cells": []}


def first_round():
    """The results of the first grading."""
    hostile = [
        {"type": "text", "data": f"{SCRIPT} & more"},
        {"type": "error", "data": "ValueError: <b>bold</b>"},
        {"type": "png", "data": png(b"secret comment")},
        {"type": "png", "data": '"><script>alert(2)</script>'},
    ]
    essay = f"{SCRIPT} <img src=x onerror=alert(3)> [link](javascript:alert(4)) $a<b$ `x<y`"
    return [
        result("ada", 4.0, "Twice is good.", "def double(x):\n    return x + x"),
        result("bob", 1.0, essay, f"def double(x): return 2.0  # {SCRIPT}", f"expected 6, got 2 {SCRIPT}", hostile),
        failed("cid"),
        result("dan"),
        result("eve", 4.0, "Also good.", "def double(x):\n    return x * 2"),
        result("4711", 1.0),
    ]


def second_round():
    """The results of those who handed in again: ada with the same answer, bob and cid with other ones."""
    return [
        result("ada", 1.0, "Twice is good.", "def double(x):\n    return 2.0", "expected 6, got 2", version="2"),
        result("bob", 4.0, "A new answer.", "def double(x):\n    return 2 * x", version="2"),
        result("cid", 4.0, "An answer.", "def double(x):\n    return 2 * x", version="2"),
    ]


@pytest.fixture(scope="module")
def term(tmp_path_factory):
    """A folder with everything that was made in a term, and what was seen on the way."""
    if not (GRADING / "bin" / "python").exists():
        reason = "no nbgrader: `make coursework` installs it"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    folder = tmp_path_factory.mktemp("term")
    source = folder / "sources" / "tiny"
    source.mkdir(parents=True)
    nbformat.write(tiny(), source / "tiny.ipynb")
    (source / "hidden_tiny.py").write_text("SECRET = 3.0  # hidden from students\n")
    (source / "example").mkdir()
    (source / "example" / "report.txt").write_text("An example to read.")
    digest = Source.read(source).digest
    many = [result(f"student-{k}", float(k % 5 // 4 * 4)) for k in range(40)]
    for name, results in {"rounds/1": first_round(), "rounds/2": second_round(), "many": many}.items():
        place = folder / name
        place.mkdir(parents=True)
        for entry in results:
            (place / f"{entry['student']}.json").write_text(json.dumps(entry | {"source": digest}))
    for name, text in {"roster.csv": ROSTER, "moodle.csv": MOODLE, "canvas.csv": CANVAS}.items():
        (folder / name).write_text(text)
    command = [GRADING / "bin" / "python", ROOT / "tests" / "nbgrader_chain.py", folder, sys.executable]
    environ = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tools'}"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return folder / "course", json.loads(done.stdout.splitlines()[-1])


# --- release ---------------------------------------------------------------------------------------------------------


def test_a_release_is_made_with_the_solutions_as_a_page_for_the_instructor(term):
    course, seen = term
    assert seen["release"][0] == 0, seen["release"][1]
    assert {"release/tiny/tiny.ipynb", "release/tiny.zip", "solutions/tiny.html"} <= set(seen["released"])
    text = (course / "solutions" / "tiny.html").read_text()
    assert "The model answer of the essay." in text and "twice" in text
    assert not re.search(r"https?:", text)


def test_students_get_the_notebook_and_all_that_it_imports_and_no_more(term):
    course, _ = term
    with zipfile.ZipFile(course / "release" / "tiny.zip") as archive:
        names = set(archive.namelist())
        text = "\n".join(archive.read(name).decode() for name in names if name.endswith((".ipynb", ".txt")))
    others = {name for name in names if not name.startswith("tiny/snnlib/")}
    assert others == {"tiny/tiny.ipynb", "tiny/example/report.txt", "tiny/README.txt", "tiny/STUDENT"}
    assert "tiny/snnlib/coursework.py" in names
    assert "of one" in text and "raise NotImplementedError()" in text and "YOUR ANSWER HERE" in text
    for secret in ("BEGIN", "END", "hidden", "twice #", "return 2", "model answer", "another number"):
        assert secret not in text


def test_a_release_that_gives_something_away_is_refused(term):
    _, seen = term
    says = {
        "hidden module": "hidden_tiny.py is in the release",
        "delimiter": "BEGIN HIDDEN",
        "name of the module": "hidden_tiny",
        "solution": "return 2 * x  # twice",
        "model answer": "The model answer of the essay.",
        "output": "has outputs",
        "missing cell": "has 5 cells, its source 6",
        "link to a file that is not there": "links to map.png, which is not there",
        "link to a page that is not there": "links to gone/away, which is no page of the book",
    }
    assert seen["refusals"].keys() == says.keys()
    for deed, words in says.items():
        assert words in seen["refusals"][deed]


def test_links_to_chapters_lead_nowhere_but_to_the_book(term):
    course, _ = term
    with zipfile.ZipFile(course / "release" / "tiny.zip") as archive:
        notebook = nbformat.reads(archive.read("tiny/tiny.ipynb").decode(), as_version=4)
    assert notebook.cells[0].source.endswith(f"Read the chapter {to_book(LINK, book_address())}.")
    assert "../" not in notebook.cells[0].source + (course / "solutions" / "tiny.html").read_text()


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ("html: {use_issues_button: false}", "*One layer*"),
        ("html: {baseurl: ''}", "*One layer*"),
        (
            "html: {baseurl: 'https://uni.example/course/'}",
            "[One layer](https://uni.example/course/book/backpropagation/one-layer.html#exercises)",
        ),
    ],
)
def test_a_link_to_a_chapter_is_its_name_unless_the_book_has_an_address(tmp_path, settings, shown):
    (tmp_path / "_config.yml").write_text(settings)
    text = f"See {LINK}, and [this](https://elsewhere.example/x.ipynb)."
    assert to_book(text, book_address(tmp_path / "_config.yml")) == text.replace(LINK, shown)


# --- results ---------------------------------------------------------------------------------------------------------


def test_the_results_of_these_tests_have_the_form_of_the_graders(tmp_path):
    (tmp_path / "tiny").mkdir()
    nbformat.write(tiny(), tmp_path / "tiny" / "tiny.ipynb")
    (tmp_path / "tiny" / "hidden_tiny.py").write_text("SECRET = 3.0\n")
    try:
        backend = sandbox.choose([tmp_path])
    except sandbox.NoSandbox as error:
        pytest.skip(str(error))
    solved = tiny()
    solved.cells[0].source = to_book(solved.cells[0].source, book_address())
    solved.cells[2].source = "def double(x):\n    return 2.0"
    solved.cells[-1].source = "Mine."
    solved.cells.insert(3, new_code_cell("# a note of my own"))
    solved.cells.insert(4, new_markdown_cell("text of my own"))
    got = run.grade(Source.read(tmp_path / "tiny"), "ada", nbformat.writes(solved).encode(), backend)
    made = result("ada", 1.0, "Mine.", solved.cells[2].source, "expected 6, got 2")
    assert got.keys() == {*made, "source"}
    same = ("grade_id", "kind", "points", "score")
    assert [[entry[key] for key in same] for entry in got["cells"]] == [
        [entry[key] for key in same] for entry in made["cells"]
    ]
    for one, other in zip(got["cells"], made["cells"], strict=True):
        assert one.keys() == other.keys()
        assert [part.keys() for part in one["parts"]] == [part.keys() for part in other["parts"]]


# --- gradebook -------------------------------------------------------------------------------------------------------


def test_results_are_in_the_gradebook_and_what_a_person_must_grade_is_marked(term):
    _, seen = term
    assert seen["record 1"][0] == 0, seen["record 1"][1]
    points = {who: (given["double-test"][:2], given["essay"][:2]) for who, given in seen["grades 1"].items()}
    assert points == {
        "ada": ([4, False], [0, True]),
        "bob": ([1, False], [0, True]),
        "cid": ([0, True], [0, True]),
        "dan": ([0, False], [0, False]),
        "eve": ([4, False], [0, True]),
        "4711": ([1, False], [0, False]),
    }


def test_to_record_again_changes_nothing(term):
    _, seen = term
    assert seen["again"] == [0, "tiny: 6 in the gradebook, 0 of them new or changed\n"]
    assert seen["nothing changed"]


def test_to_record_again_keeps_what_a_person_gave(term):
    _, seen = term
    assert seen["again by hand"][0] == 0 and seen["hand kept"]


def test_points_of_a_person_stay_with_the_answer_that_the_person_saw(term):
    _, seen = term
    assert seen["record 2"][1] == "tiny: 6 in the gradebook, 3 of them new or changed\n"
    given = seen["grades 2"]
    assert given["ada"]["essay"] == [3, False, "for ada"] and given["ada"]["double-test"][:2] == [1, False]
    assert given["eve"]["essay"] == [3, False, "for eve"]
    assert given["bob"]["essay"] == [0, True, None]
    assert given["cid"]["essay"] == [0, True, None] and given["cid"]["double-test"][:2] == [4, False]
    assert given["dan"]["essay"] == [0, False, "No response."]


def test_points_of_a_person_stay_when_the_notebook_that_the_person_saw_is_lost_and_are_looked_at_again(term):
    _, seen = term
    assert seen["lost"] == [[0, "tiny: 6 in the gradebook, 1 of them new or changed\n"], [3, True, "for eve"]]


def test_nbgraders_page_for_grading_by_hand_shows_the_submission_without_its_scripts(term):
    _, seen = term
    for shown in seen["pages"]:
        assert shown["known"] and shown["listed"] == 6
        tags = Tags(shown["page"])
        assert {"essay", "double-test"} <= {attributes.get("id") for _, attributes in tags.tags}
        assert not [tag for tag, attributes in tags.tags if "onerror" in attributes or "alert" in str(attributes)]
        assert not re.search(r"<script[^>]*>\s*alert", shown["page"])
    assert "alert(3)" in seen["pages"][0]["page"] and "could not be graded" in seen["pages"][1]["page"]


def test_a_killed_recording_leaves_a_whole_gradebook_and_is_taken_up_again(term):
    _, seen = term
    killed = seen["killed"]
    for state in killed["states"]:
        assert state["grade"] == 2 * state["submitted_notebook"] == 2 * state["submitted_assignment"]
        assert state["comment"] == 2 * state["submitted_notebook"]
    assert killed["end"][0] == 0 and killed["rows"]["integrity"] == "ok"
    assert {who: given["double-test"][0] for who, given in killed["grades"].items()} == {
        f"student-{k}": 4 if k % 5 == 4 else 0 for k in range(40)
    }


def test_results_of_another_version_of_the_assignment_are_refused(term):
    _, seen = term
    status, text = seen["stale"]
    assert status == 1 and "changed after" in text and "grade again" in text


def test_questions_cannot_be_exchanged_once_there_are_submissions(term):
    _, seen = term
    status, text = seen["another question"]
    assert status == 1 and len(text.splitlines()) == 1
    assert "nbgrader refuses tiny: Cannot add or remove cells" in text


# --- marks -----------------------------------------------------------------------------------------------------------


def table(course, name):
    """The rows of a table among the marks."""
    with open(course / "marks" / name, newline="") as stream:
        return list(csv.reader(stream))


def test_who_waits_for_a_person_has_no_mark_and_is_named(term):
    course, seen = term
    assert seen["marks"][0] == 0, seen["marks"][1]
    assert {row[0]: row[-1] for row in table(course, "tiny.csv")[1:]} == {
        **{"ada": "4", "eve": "7", "dan": "0", "4711": "1"},
        **{"bob": "", "cid": ""},
    }
    assert "no mark yet, a person must grade (2): bob, cid\n" in seen["marks"][1]


def test_students_are_named_where_they_are_few():
    assert marks.listed("not in a.csv", []) == []
    many = [f"k{n}" for n in range(500)]
    assert marks.listed("not in a.csv", many[:2]) == ["not in a.csv (2): k0, k1"]
    assert marks.listed("not in a.csv", many) == [f"not in a.csv (500): {', '.join(many[:20])}, and 480 more"]


def test_a_worksheet_of_moodle_is_made_with_the_columns_that_moodle_reads(term):
    course, _ = term
    header, *rows = table(course, "tiny-moodle.csv")
    assert {"Identifier", "Grade", "Last modified (grade)"} <= set(header)
    marks = {row[header.index("Email address")] or row[0]: row[header.index("Grade")] for row in rows}
    assert marks["ada@uni.example"] == "4" and marks["Participant 4711"] == "1"


def test_a_worksheet_of_moodle_is_filled_for_the_right_students_and_otherwise_unchanged(term):
    course, seen = term
    before, after = list(csv.reader(io.StringIO(MOODLE))), table(course, "moodle.csv")
    assert [row[4] for row in after] == ["Grade", "5", "4", "0", "1", "4", ""]  # bob keeps his
    assert [row[:4] + row[5:] for row in after] == [row[:4] + row[5:] for row in before]
    assert re.search(r"^not in moodle.csv \(\d\): .*\beve\b", seen["marks"][1], re.MULTILINE)


def test_exports_are_filled_for_one_assignment_at_a_time(tmp_path, capsys):
    assert marks.main(["--course", str(tmp_path / "course"), "--fill", "moodle.csv"]) == 1
    assert "of which one assignment" in capsys.readouterr().err
    assert not (tmp_path / "course").exists()


def test_a_gradebook_of_canvas_is_made_and_filled(term):
    course, _ = term
    made, filled = table(course, "tiny-canvas.csv"), table(course, "canvas.csv")
    assert made[0] == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "tiny"]
    assert made[1][0].strip() == "Points Possible" and made[1][5] == "10"
    assert ["Alt, Ada", "101", "", "ada", "", "4"] in made
    assert [row[5] for row in filled] == ["tiny (99)", "10", "4", "", "1", ""]
    assert [row[6] for row in filled] == ["other (98)", "5", "-3", "2", "", ""]


def test_statistics_say_how_each_question_went(term):
    course, _ = term
    rows = {row[0]: row[1:] for row in table(course, "tiny-questions.csv")}
    own, other = [1, 4, 0, 1], [3, 3, 0, 0]  # ada, eve, dan, 4711: graded in full
    tests = [*own, 4, 4]  # bob, cid
    numbers = [statistics.mean(tests), 3 / 6, 1 / 6, statistics.correlation(own, other)]
    assert rows["double-test"] == ["4", "6", *(f"{number:.3f}" for number in numbers)]
    assert rows["essay"] == ["6", "4", "1.500", "0.000", "0.500", f"{numbers[-1]:.3f}"]
    assert (course / "marks" / "tiny.png").read_bytes().startswith(b"\x89PNG")


# --- feedback --------------------------------------------------------------------------------------------------------


class Tags(HTMLParser):
    """The tags of a page, each (name, attributes), and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def feedback(course, student):
    """The feedback page of a student."""
    return (course / "feedback" / "tiny" / f"{student}.html").read_text()


def test_feedback_has_points_and_reasons_own_code_and_the_comment_of_a_person(term):
    course, seen = term
    assert seen["feedback"] == [0, f"tiny: 6 pages in {course / 'feedback' / 'tiny'}\n"]
    text = " ".join(Tags(feedback(course, "ada")).text.split())
    for words in ("Tiny: twice", "4 of 10 points", "0 of 3 of another number: expected 6, got 2", "3 of 6", "for ada"):
        assert words in text
    assert "return 2.0" in text and "Twice is good." in text and "a note of my own" in text


def test_feedback_says_why_a_submission_was_not_graded_and_what_is_not_graded_yet(term):
    course, _ = term
    source = Source.read(course.parent / "sources" / "tiny")
    assert "could not be graded: no JSON &lt;script&gt;" in page(source, failed("cid"), {})
    assert "not graded yet" in feedback(course, "bob") and "not complete yet" in feedback(course, "bob")


def test_feedback_shows_no_test(term):
    course, _ = term
    for path in (course / "feedback" / "tiny").iterdir():
        text = html.unescape(path.read_text())
        for line in [*TEST.splitlines(), "hidden_tiny", "SECRET"]:
            assert line.strip() not in text


def test_feedback_holds_no_script_and_asks_nothing_of_any_host():
    source = Source("tiny", Path(), (Cell("text", "markdown", "# Tiny"),), "", {})
    tags = Tags(page(source, first_round()[1], {"essay": {"score": 1, "open": False, "comment": SCRIPT}}))
    policy = {attributes.get("content") for tag, attributes in tags.tags if tag == "meta"}
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in policy
    assert not {tag for tag, _ in tags.tags} & {"script", "link", "iframe", "object", "embed", "form", "base", "b"}
    for _, attributes in tags.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "href"]
        assert attributes.get("src", "data:image/png;base64,").startswith("data:image/png;base64,")
    (picture,) = [attributes["src"] for tag, attributes in tags.tags if tag == "img"]
    assert b"secret" not in base64.b64decode(picture.partition(",")[2])
    assert tags.text.count(SCRIPT) == 6  # in code, output, a reason, an answer, an added cell and the comment
