"""Run by the interpreter of .venv-grading: what nbgrader makes of a small course, printed as JSON.

    python nbgrader_chain.py FOLDER PYTHON

The repository and its tools/ must be on PYTHONPATH. FOLDER has sources/ and, for each round of grading,
rounds/<number>/; PYTHON is the interpreter of the book.
"""

import contextlib
import io
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import time
from dataclasses import replace
from pathlib import Path

from coursework import course, feedback, marks, record, release
from coursework.notebooks import Cell, Source

NAME = "tiny"
TABLES = ("assignment", "base_cell", "student", "submitted_assignment", "submitted_notebook", "grade", "comment")


def said(command, *arguments):
    """Run a command here; return its status and what it printed."""
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
        status = command(list(map(str, arguments)))
    return [status, stream.getvalue()]


def rows(place):
    """Return the contents of the gradebook's tables, and what SQLite thinks of the file."""
    with contextlib.closing(sqlite3.connect(place / "gradebook.db")) as connection:
        found = {table: sorted(map(str, connection.execute(f"SELECT * FROM {table}"))) for table in TABLES}
        return found | {"integrity": connection.execute("PRAGMA integrity_check").fetchone()[0]}


def grades(place):
    """Return {student: {question: [points, a person must look, comment]}}."""
    with course.gradebook(place) as book:
        found = {}
        for submission in book.assignment_submissions(NAME):
            given = feedback.from_gradebook(book, NAME, submission.student.id)
            found[submission.student.id] = {
                name: [entry.get("score"), entry.get("open"), entry.get("comment")] for name, entry in given.items()
            }
        return found


def grade_by_hand(place, student, question, score, comment=None):
    """Do what nbgrader's page does when a person types points and a comment."""
    with course.gradebook(place) as book:
        grade = book.find_grade(question, NAME, NAME, student)
        grade.manual_score, grade.needs_manual_grade = score, False
        if comment:
            book.find_comment(question, NAME, NAME, student).manual_comment = comment
        book.db.commit()


def page_for_grading(place, student):
    """Return nbgrader's page for grading a submission by hand, made as its server makes it; and its list."""
    from nbconvert import HTMLExporter
    from nbgrader.server_extensions.formgrader.formgrader import FormgradeExtension

    api = course.api(place)
    with api.gradebook as book:
        submission = book.find_submission_notebook(NAME, NAME, student)
        config = FormgradeExtension().build_extra_config()
        keys = ("assignment_id", "notebook_id", "submission_id", "student", "last_name", "first_name", "notebook_path")
        resources = dict.fromkeys(keys, "x") | {"index": 0, "total": 1, "base_url": ""}
        path = record.notebook_path(place, NAME, student)
        page, _ = HTMLExporter(config=config).from_filename(str(path), resources=resources)
        listed = api.get_notebook_submissions(NAME, NAME)
        return {"page": page, "known": submission.id in {entry["id"] for entry in listed}, "listed": len(listed)}


def refusals(source, released):
    """Return {what was done to a release: what its check says}."""
    notebook = released / f"{NAME}.ipynb"
    original = notebook.read_text()

    def edited(change):
        content = json.loads(original)
        change(content["cells"])
        notebook.write_text(json.dumps(content))

    def add(text):
        return lambda cells: cells[-1].update(source=text)

    hidden = released / "hidden_tiny.py"
    away = Cell("text", "markdown", "[away](../../../gone/away.ipynb)")
    deeds = {
        "hidden module": lambda: hidden.write_text("SECRET = 1\n"),
        "delimiter": lambda: edited(add("### BEGIN HIDDEN TESTS")),
        "name of the module": lambda: edited(add("import hidden_tiny")),
        "solution": lambda: edited(add("    return 2 * x  # twice")),
        "model answer": lambda: edited(add("The model answer of the essay.")),
        "output": lambda: edited(
            lambda cells: cells[1].update(outputs=[{"output_type": "stream", "name": "stdout", "text": "2"}])
        ),
        "missing cell": lambda: edited(lambda cells: cells.pop()),
        "link to a file that is not there": lambda: edited(add("![the map](map.png)")),
        "link to a page that is not there": lambda: release.check_links(replace(source, cells=(away,)), released),
    }
    found = {}
    for name, deed in deeds.items():
        try:
            deed()
            release.check(source, released)
        except release.BadRelease as error:
            found[name] = str(error)
        notebook.write_text(original)
        hidden.unlink(missing_ok=True)
    release.check(source, released)
    return found


def killed(place, options, times=10):
    """Record in processes that are killed at random moments, then to the end; return what the gradebook then has."""
    states = []
    for _ in range(times):
        child = os.fork()
        if not child:
            with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
                record.main(options)
            os._exit(0)
        time.sleep(random.uniform(0.02, 0.4))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        states.append({table: len(content) for table, content in rows(place).items()})
    return {"states": states, "end": said(record.main, *options), "grades": grades(place), "rows": rows(place)}


def main(folder, python):
    """Go through a term; print what was seen."""
    place, sources = folder / "course", folder / "sources"
    options = [NAME, "--course", str(place), "--sources", str(sources)]
    seen = {"release": said(release.main, *options, "--python", python)}
    seen["released"] = sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())
    seen["refusals"] = refusals(Source.read(sources / NAME), place / "release" / NAME)
    shutil.copytree(place, folder / "killed")
    for number in ("1", "2"):
        shutil.copytree(folder / "rounds" / number, place / "results" / NAME, dirs_exist_ok=True)
        seen[f"record {number}"] = said(record.main, *options, "--roster", folder / "roster.csv")
        seen[f"grades {number}"] = grades(place)
        if number == "1":
            before = rows(place)
            seen["again"] = said(record.main, *options)
            seen["nothing changed"] = before == rows(place)
            seen["pages"] = [page_for_grading(place, student) for student in ("bob", "cid")]
            for student in ("ada", "bob", "eve"):
                grade_by_hand(place, student, "essay", 3.0, f"for {student}")
            grade_by_hand(place, "cid", "essay", 1.0)
            grade_by_hand(place, "cid", "double-test", 2.0)
            seen["by hand"] = grades(place)
            before = rows(place)
            seen["again by hand"] = said(record.main, *options)
            seen["hand kept"] = before == rows(place)
    fill = [part for name in ("moodle.csv", "canvas.csv") for part in ("--fill", folder / name)]
    seen["marks"] = said(marks.main, *options, *fill)
    seen["feedback"] = said(feedback.main, *options)
    record.notebook_path(place, NAME, "eve").unlink()
    seen["lost"] = [said(record.main, *options), grades(place)["eve"]["essay"]]
    shutil.copytree(folder / "many", folder / "killed" / "results" / NAME)
    others = [NAME, "--course", str(folder / "killed"), *options[3:]]
    seen["killed"] = killed(folder / "killed", others)
    hidden = sources / NAME / "hidden_tiny.py"
    hidden.write_text(hidden.read_text() + "\n# changed\n")
    seen["stale"] = said(record.main, *options)
    source = sources / NAME / f"{NAME}.ipynb"
    source.write_text(source.read_text().replace("essay", "treatise"))
    seen["another question"] = said(release.main, *others, "--python", python)
    json.dump(seen, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
