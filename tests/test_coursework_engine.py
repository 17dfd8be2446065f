"""Grading of the coursework: hostile submissions harm nobody, forged marks do not count, a killed run is taken up."""

import io
import json
import os
import random
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import unicodedata
import zipfile
from dataclasses import replace
from pathlib import Path

import coursework_submissions as cases
import numpy as np
import pytest
from coursework import batch, intake, protocol, run, sandbox
from coursework.notebooks import Source, plan
from coursework.sandbox import NoSandbox, Sandbox

from snnlib.coursework import seed

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT / "tools"), "OMP_NUM_THREADS": "1"}


def grade(source, submissions, course, *options, env=ENVIRONMENT):
    """Run the command; return what it did and the results by student."""
    command = [sys.executable, "-m", "coursework", source, submissions, "--course", course, "--workers", "2", *options]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=280)
    return done, {path.stem: json.loads(path.read_text()) for path in (course / "results" / "tiny").glob("*.json")}


def snapshot(folder):
    """All files below a folder with what they hold."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def scores(result):
    return tuple(cell["score"] for cell in result["cells"] if cell["kind"] == "test")


def sandboxed(student):
    """The processes that belong to the sandbox of a student."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"SNN_STUDENT\0{student}".encode() in (entry / "cmdline").read_bytes():
                found.append(entry.name)
        except OSError:
            continue
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The assignment tiny in a folder that only its owner may read."""
    return cases.write_source(tmp_path_factory.mktemp("source"))


def choose(place):
    """The sandbox of this machine. Where there is none the test is skipped, or fails where one must be found."""
    try:
        return sandbox.choose([place])
    except NoSandbox as error:
        must = os.environ.get("CI") == "true" or os.environ.get("MUTATE")
        (pytest.fail if must else pytest.skip)(str(error))


@pytest.fixture(scope="module")
def backend(place):
    """The sandbox of this machine."""
    return choose(place)


@pytest.fixture(scope="module")
def graded(place, backend, tmp_path_factory):
    """All hostile and broken submissions, graded in one batch: kinds and results by name, report, what changed."""
    folder, course = tmp_path_factory.mktemp("hostile"), tmp_path_factory.mktemp("course")
    gradebook = course / "gradebook.db"
    gradebook.write_text("secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        kinds = cases.hostile(
            [place, place / "tiny.ipynb", gradebook, folder, ROOT / "tools", ROOT / "README.md"],
            server.getsockname()[1],
        )
        for name, kind in kinds.items():
            (folder / f"{name.replace(' ', '-')}.ipynb").write_bytes(kind.data)
        before = snapshot(place), snapshot(folder), gradebook.read_text()
        done, results = grade(place, folder, course, "--workers", "4")  # most of them wait
        after = snapshot(place), snapshot(folder), gradebook.read_text()
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.accept()
    assert done.returncode == 1, done.stderr  # some could not be graded
    assert before == after
    return {name: (kind, results[name.replace(" ", "-")]) for name, kind in kinds.items()}, done.stdout, course


# hostile and broken submissions

NAMES = list(cases.hostile([], 0))


@pytest.mark.parametrize("name", NAMES)
def test_each_kind_gets_what_it_earned_and_is_reported(graded, name):
    kind, result = graded[0][name]
    said = "\n".join(result["needs_person"] + result["notes"])
    assert kind.said in said
    if kind.points is None:
        assert (result["state"], result["cells"]) == ("failed", [])
    else:
        assert result["state"] == "graded"
        assert scores(result) == kind.points
    assert result["seconds"] < cases.LIMITS["seconds"] + 10


def test_every_kind_is_in_the_report(graded):
    _, output, course = graded
    report = (course / "report.txt").read_text()
    for name in NAMES:
        assert f"  {name.replace(' ', '-')}: " in report
    assert report in output
    assert len(NAMES) >= 30


def test_every_lost_point_has_a_reason(graded):
    for name, (_, result) in graded[0].items():
        for cell in result["cells"]:
            for part in cell["parts"]:
                assert (part["reason"] is None) == (part["score"] == part["points"]), name
                assert part["reason"] is None or 0 < len(part["reason"]) <= 300


def test_hidden_tests_and_what_they_compare_with_are_in_no_result(graded):
    text = json.dumps([result for _, result in graded[0].values()])
    assert "secret of the tests" not in text and "HIDDEN" not in text and "return x + x" not in text


def test_outputs_are_text_and_sound_pictures(graded):
    outputs = [output for cell in graded[0]["scripts in outputs"][1]["cells"] for output in cell["outputs"]]
    assert {output["type"] for output in outputs} == {"text", "error"}  # a script that says it is a picture is none
    assert not re.search(r"[\x00\x1b]", "".join(output["data"] for output in outputs))


def test_nothing_is_left_running_and_the_folder_of_the_course_is_closed(graded):
    for name in NAMES:
        assert not sandboxed(name.replace(" ", "-"))
    assert stat.S_IMODE(graded[2].stat().st_mode) == 0o700


def test_a_mistake_is_named(place, backend):
    result = run.grade(Source.read(place), "someone", cases.submission(cases.WRONG), backend)
    parts = [part for cell in result["cells"] for part in cell["parts"]]
    assert [part["reason"] for part in parts[:2]] == ["the result: expected 6, got 9", "double(x): three times"]


def test_pictures_come_through(place, backend):
    plot = "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2]);"
    source = replace(Source.read(place), limits={})
    (output,) = run.grade(source, "someone", cases.submission(plot=plot), backend)["cells"][-1]["outputs"]
    assert output["type"] == "png" and run.checked_png(output["data"]) == output["data"]
    assert run.checked_png(output["data"][:-20]) is None


def test_a_notebook_that_shows_too_much_is_graded_without_it(place, backend, monkeypatch):
    monkeypatch.setattr(run, "MAX_SHOWN", 5)
    result = run.grade(Source.read(place), "someone", cases.RIGHT, backend)
    assert scores(result) == (4, 6)
    assert [output["data"] for output in result["cells"][-1]["outputs"]] == [
        "what this cell shows is left out: the notebook shows too much"
    ]


def test_a_student_has_the_same_numbers_in_both_processes(place, backend):
    double = "def double(x):\n    return float(seed(student(), 'tiny'))"
    result = run.grade(Source.read(place), "someone", cases.submission(double), backend)
    assert f"got {seed('someone', 'tiny'):.6g}" in result["cells"][3]["parts"][0]["reason"]


def test_an_object_ends_with_its_process(place, backend):
    layer = cases.LAYER.replace("def network", "import os\ndef network").replace(
        "for layer in", "os._exit(1)\n    for layer in"
    )
    result = run.grade(Source.read(place), "someone", cases.submission(layer=layer), backend)
    reasons = [part["reason"] for part in result["cells"][5]["parts"]]
    assert reasons[0] is None and "ended its process" in reasons[1] and "this object with it" in reasons[2]


def test_a_loop_is_interrupted_and_its_process_goes_on(place, backend):
    kind = cases.hostile([], 0)["infinite loop in a call"]
    result = run.grade(Source.read(place), "someone", kind.data, backend)
    assert scores(result) == kind.points
    assert result["notes"] == [f"your code ran longer than {cases.LIMITS['call_seconds']} s"]  # it could be interrupted


def test_a_test_that_gives_more_points_than_there_are_gives_none(place, backend):
    source = Source.read(place)
    generous = replace(source.cells[3], text="5.0")
    source = replace(source, cells=(*source.cells[:3], generous, *source.cells[4:]))
    result = run.grade(source, "someone", cases.RIGHT, backend)
    assert scores(result) == (None, 6)
    assert "the test test-double gives 5.0 of 4 points" in result["needs_person"]


# sandboxes

NETWORK = """
import os, socket
try:
    socket.socket(socket.AF_INET)
except OSError as error:
    print(type(error).__name__)
print(os.readlink("/proc/self/ns/net"))
"""


def test_two_walls_keep_the_network_out(place):
    backend = choose(place)
    if backend.name == "user":
        pytest.skip("another user has one wall: no sockets")
    cells = run.grade(Source.read(place), "someone", cases.submission(plot=NETWORK), backend)["cells"]
    refused, network = cells[-1]["outputs"][0]["data"].split()
    assert refused == "PermissionError"
    assert network.startswith("net:[") and network != os.readlink("/proc/self/ns/net")


def test_the_course_may_lie_where_students_have_their_temporary_files(place, tmp_path, monkeypatch):
    if shutil.which("bwrap") is None:
        pytest.skip("no bubblewrap")
    shutil.copytree(ROOT / "snnlib", tmp_path / "snnlib", ignore=shutil.ignore_patterns("__pycache__"))
    below = Path(tempfile.mkdtemp(dir="/tmp"))  # wherever pytest has its own
    (tmp_path / "snnlib").rename(below / "snnlib")
    monkeypatch.setattr(sandbox.snnlib, "__file__", str(below / "snnlib" / "__init__.py"))
    try:
        with Sandbox(sandbox.BACKENDS[0], "someone", sandbox.Limits()) as box:
            box.channel.send({"do": "survey", "paths": []})
            found = box.channel.receive()[0]["value"]["items"]
    finally:
        shutil.rmtree(below)
    assert found == {"reads": [], "network": False, "root": False, "writes": []}


@pytest.mark.parametrize("way", sandbox.BACKENDS[1:], ids=lambda way: way.name)
def test_every_other_way_to_make_a_sandbox_keeps_its_promises(place, way):
    problem = sandbox._probe(way, [place])
    if problem is not None:
        pytest.skip(f"no sandbox by {way.name} here")
    kinds = cases.hostile([place], 9)
    for name in ("right", "reads solutions", "writes outside", "network", "daemon", "fork bomb"):
        result = run.grade(Source.read(place), f"by-{way.name}", kinds[name].data, way)
        assert scores(result) == kinds[name].points, name
        assert not sandboxed(f"by-{way.name}")


def test_without_a_sandbox_nothing_runs_unless_told(place, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "someone.ipynb").write_bytes(cases.RIGHT)
    nowhere = ENVIRONMENT | {"PATH": str(tmp_path)}
    done, results = grade(place, tmp_path / "in", tmp_path / "course", env=nowhere)
    assert done.returncode == 2 and not results
    assert "no sandbox" in done.stderr and "--unsafe" in done.stderr
    (tmp_path / "env").symlink_to(shutil.which("env"))
    if os.getuid() == 0 and "user" not in done.stderr:
        pytest.skip("another user is sandbox enough here")
    done, results = grade(place, tmp_path / "in", tmp_path / "course", "--unsafe", env=nowhere)
    assert scores(results["someone"]) == (4, 6)
    assert (
        "WITHOUT A SANDBOX" in done.stdout and "WITHOUT A SANDBOX" in (tmp_path / "course" / "report.txt").read_text()
    )


def test_a_sandbox_that_shows_what_it_must_not_is_refused(backend):
    assert "it reads /usr/bin" in sandbox._probe(backend, [Path("/usr/bin")])


def test_a_worker_that_does_not_start_is_told(monkeypatch, backend):
    monkeypatch.setattr(sandbox, "visible", lambda: list(sandbox.SYSTEM[:1]))
    with pytest.raises(sandbox.SandboxFailed):
        Sandbox(backend, "someone", sandbox.Limits())


def test_errors_are_told_without_the_sources_of_libraries():
    code = f"""
import sys
sys.path.insert(0, {str(ROOT / "tools" / "coursework")!r})
import worker
shell = worker.make_shell(print)
shell.InteractiveTB = shell.SyntaxTB = None  # what formats errors, which takes seconds
for cell in ("1 / 0", "def f(:"):
    result = shell.run_cell(cell)
    print(type(result.error_before_exec or result.error_in_exec).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.stdout.split() == ["ZeroDivisionError", "SyntaxError"], done.stderr


# interrupted and taken up


def test_a_batch_killed_at_ten_random_moments_grades_each_once(place, backend, tmp_path):
    names = [f"killed-{n:02d}" for n in range(14)]
    (tmp_path / "in").mkdir()
    for name in names:
        (tmp_path / "in" / f"{name}.ipynb").write_bytes(cases.RIGHT)
    course, results = tmp_path / "course", tmp_path / "course" / "results" / "tiny"
    command = [sys.executable, "-m", "coursework", place, tmp_path / "in", "--course", course, "--workers", "2"]
    moments, seen, midway = random.Random(0), {}, 0
    scratch = tmp_path / "scratch"  # not shared with what else runs on the machine
    scratch.mkdir()
    environment = {**ENVIRONMENT, "TMPDIR": str(scratch)}
    begun = time.monotonic()
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "first.ipynb").write_bytes(cases.RIGHT)
    assert grade(place, tmp_path / "one", tmp_path / "pace", env=environment)[0].returncode == 0
    pace = time.monotonic() - begun  # of this machine, with all else that it does
    for _ in range(10):
        child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        child.stdout.readline()  # about the first submission, or about those before
        time.sleep(moments.uniform(0, 0.6 * pace))
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        until = time.monotonic() + 10 * max(1, pace)  # one just starting ends when nobody answers
        while any(map(sandboxed, names)):
            assert time.monotonic() < until
            time.sleep(0.05)
        now = {path: path.stat().st_mtime_ns for path in results.glob("*.json")}
        assert seen.items() <= now.items()  # what was graded stays as it was
        midway += 0 < len(now) < len(names)
        seen = now
        for path in now:
            assert scores(json.loads(path.read_text())) == (4, 6)
    assert midway >= 3
    done, graded = grade(place, tmp_path / "in", course, env=environment)
    assert done.returncode == 0 and sorted(graded) == names
    assert seen.items() <= {path: path.stat().st_mtime_ns for path in results.glob("*.json")}.items()
    assert not list(results.glob(".*"))
    assert not list(scratch.glob("coursework-*"))


def test_what_changed_is_graded_again_and_nothing_else(place, backend, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("one", "two"):
        (tmp_path / "in" / f"{name}.ipynb").write_bytes(cases.RIGHT)
    _, before = grade(place, tmp_path / "in", tmp_path / "course")
    (tmp_path / "in" / "two.ipynb").write_bytes(cases.submission(cases.WRONG))
    (tmp_path / "course" / "results" / "tiny" / "one.json").write_text("{")
    done, after = grade(place, tmp_path / "in", tmp_path / "course")
    assert scores(after["one"]) == scores(before["one"]) == (4, 6) and scores(after["two"]) == (0, 6)
    done, _ = grade(place, tmp_path / "in", tmp_path / "course")
    assert "2 of 2 have been graded before" in done.stdout


def test_what_could_not_be_graded_is_tried_again(place, backend, tmp_path, monkeypatch):
    def fail(*args):
        raise sandbox.SandboxFailed("no memory")

    one, source = [intake.Submission("one", cases.RIGHT, "one.ipynb")], Source.read(place)
    monkeypatch.setattr(run, "grade", fail)
    (result,) = batch.grade_all(one, source, tmp_path, backend)
    assert (result["state"], result["needs_person"]) == ("failed", ["no sandbox could be started: no memory"])
    monkeypatch.undo()
    (result,) = batch.grade_all(one, source, tmp_path, backend)
    assert scores(result) == (4, 6)


def test_two_batches_do_not_share_a_course(tmp_path):
    with batch.alone(tmp_path), pytest.raises(batch.Busy), batch.alone(tmp_path):
        pass


# what is taken from a submission


def test_students_get_neither_solutions_nor_hidden_tests(place):
    text = "\n".join(cell.released for cell in Source.read(place).cells)
    for secret in ("HIDDEN", "hidden_tiny", "twice an array", "SOLUTION", "2 * x", "self.W = W", "Because."):
        assert secret not in text
    assert "twice a number" in text and text.count("YOUR") == 4


def test_only_what_is_the_students_comes_from_the_submission(place):
    source = Source.read(place)
    work = plan(source, cases.submission(change=cases.edit_tests))
    assert [text is None for _, text in work.cells] == [
        cell.kind not in ("solution", "manual") for cell in source.cells
    ]
    assert [cell for cell, _ in work.cells] == list(source.cells)


def test_answers_that_nobody_wrote_get_no_points_without_a_person(place, backend):
    result = run.grade(Source.read(place), "someone", cases.BLANK, backend)
    assert [cell["score"] for cell in result["cells"] if cell["kind"] == "manual"] == [0, 0]
    assert not result["needs_person"]


def test_a_given_cell_that_fails_is_reported(place, backend):
    source = Source.read(place)
    given = replace(source.cells[1], text=source.cells[1].text + "\nraise ValueError('no data')")
    source = replace(source, cells=(source.cells[0], given, *source.cells[2:]))
    result = run.grade(source, "someone", cases.RIGHT, backend)
    assert result["needs_person"][0] == "the given cell given fails: ValueError: no data"


def test_added_cells_run_where_they_stand(place, backend):
    def add(notebook):
        notebook.cells.insert(3, cases.new_code_cell("def double(x):\n    return 2 * x"))
        notebook.cells.append(cases.new_markdown_cell("A remark."))

    result = run.grade(Source.read(place), "someone", cases.submission(cases.WRONG, change=add), backend)
    assert scores(result) == (4, 6)
    remark = [cell for cell in result["cells"] if cell["kind"] == "added"][1]
    assert (remark["source"], remark["type"]) == ("A remark.", "markdown")


# intake

MOODLE = "Ada Lovelace_12345_assignsubmission_file_"


def put(folder, files):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def put_zip(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize(
    "name, student",
    [
        ("ada.ipynb", "ada"),
        ("ada/whatever.ipynb", "ada"),
        ("ada/tiny/tiny.ipynb", "ada"),
        ("submitted/ada/tiny/tiny.ipynb", "ada"),
        (f"{MOODLE}/my solution.ipynb", "12345"),
        ("lovelaceada_12345_67890_tiny.ipynb", "12345"),
        ("lovelaceada_LATE_12345_67890_tiny-1.ipynb", "12345"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_names_of_platforms_are_understood(tmp_path, name, student, packed):
    files = {name: b"{}"}
    place = put_zip(tmp_path / "all.zip", files) if packed else put(tmp_path / "all", files)
    (found,), left_out = intake.collect(place, "tiny")
    assert (found.student, found.data, found.problem, left_out) == (student, b"{}", None, [])


def test_a_folder_around_everything_is_looked_through(tmp_path):
    place = put_zip(tmp_path / "all.zip", {"monday/ada.ipynb": b"1", "monday/bob.ipynb": b"2", "__MACOSX/x.ipynb": b""})
    found, left_out = intake.collect(place, "tiny")
    assert [submission.student for submission in found] == ["ada", "bob"] and not left_out


def test_a_roster_gives_the_ids_of_the_course(tmp_path):
    (tmp_path / "roster.csv").write_text(
        "id,first_name,last_name,email,lms_user_id\nada,Ada,Lovelace,,777\nbob,Bob,B,,12\n"
    )
    place = put(tmp_path / "all", {f"{MOODLE}/x.ipynb": b"1", "bbob_12_1_x.ipynb": b"2"})
    found, _ = intake.collect(place, "tiny", tmp_path / "roster.csv")
    assert [(s.student, s.data) for s in found] == [("ada", b"1"), ("bob", b"2")]


def test_namesakes_are_never_taken_for_one_student(tmp_path):
    (tmp_path / "roster.csv").write_text(
        "id,first_name,last_name,lms_user_id\n"
        "anna1,Anna,Müller,1\nanna2,Anna,Müller,5003\nbob,Bob,B,5004\nkarl,Karl,Jäger,\n"
    )
    names = ["Anna Müller_5002", "Anna Müller_5003", "Zoe Z_5004", unicodedata.normalize("NFD", "Karl Jäger_5005")]
    place = put(tmp_path / "all", {f"{name}_assignsubmission_file_/x.ipynb": b"1" for name in names})
    found, left_out = intake.collect(place, "tiny", tmp_path / "roster.csv")
    assert {s.student: s.doubts for s in found} == {
        "5002": ["several students of the roster are called Anna Müller: the id is taken to be 5002"],
        "5004": ["Zoe Z is not in the roster: the id is taken to be 5004"],  # the number is not Bob's
        "anna2": [],
        "karl": [],
    }
    assert not left_out


def test_a_student_who_is_not_in_the_roster_is_named_and_one_who_had_another_id_before(place, backend, tmp_path):
    put(tmp_path / "in", {"ada_7_1_tiny.ipynb": cases.RIGHT, "zoe_8_1_tiny.ipynb": cases.RIGHT})
    grade(place, tmp_path / "in", tmp_path / "course")
    (tmp_path / "roster.csv").write_text("id,first_name,last_name,lms_user_id\nada,Ada,A,7\n")
    done, results = grade(place, tmp_path / "in", tmp_path / "course", "--roster", tmp_path / "roster.csv")
    assert done.returncode == 1 and results["ada"]["cells"] == results["7"]["cells"]
    assert "results/tiny/7.json: ada was graded as 7 before" in done.stdout
    assert results["8"]["needs_person"][0] == "8 is not in the roster: the id is taken to be 8"


def test_a_roster_without_ids_is_refused(tmp_path):
    (tmp_path / "roster.csv").write_text("id;first_name;last_name\nada;Ada;A\n")
    with pytest.raises(ValueError, match="needs a column id"):
        intake.collect(put(tmp_path / "in", {"ada.ipynb": b"1"}), "tiny", tmp_path / "roster.csv")


def test_the_newest_of_two_counts_and_that_is_said(tmp_path):
    place = put(tmp_path, {"ada_1_5_new.ipynb": b"new", "ada_1_4_old.ipynb": b"old"})
    os.utime(place / "ada_1_4_old.ipynb", (1, 1))
    (found,), _ = intake.collect(place, "tiny")
    assert found.data == b"new"
    assert found.notes == ["ada_1_5_new.ipynb counts, not ada_1_4_old.ipynb, which is older or has another name"]


def test_what_cannot_be_a_submission_is_named(tmp_path):
    place = put(
        tmp_path, {"ada/plot.png": b"x", "bob/tiny.zip": b"no zip", "$(reboot).ipynb": b"", "eve/a2/a2.ipynb": b""}
    )
    (tmp_path / "link.ipynb").symlink_to("/etc/passwd")
    (tmp_path / "mal").symlink_to("/etc")
    os.mkfifo(tmp_path / "pipe.ipynb")
    found, left_out = intake.collect(place, "tiny")
    problems = {submission.student: submission.problem for submission in found}
    link = "a link or device instead of a file"
    expected = {"ada": "plot.png is not a notebook", "bob": "the file is not a sound zip"}
    assert problems == expected | {"link": link, "mal": link, "pipe": link}
    assert len(left_out) == 2 and "eve/a2/a2.ipynb: it seems to belong to another assignment" in left_out


def test_names_of_files_cannot_forge_the_report(backend):
    report = batch.report([], ["x\nComplete (1)\n  eve: 100 of 100"], backend)
    assert [line for line in report.splitlines() if "eve" in line] == ["  x Complete (1) eve: 100 of 100"]


def test_what_every_submission_has_does_not_hide_those_that_are_odd(place, backend):
    source = Source.read(place)
    kinds = {"calm": cases.RIGHT, "odd": cases.submission(change=cases.lose_answer), "blank": cases.BLANK}
    results = [
        batch.grade_one(intake.Submission(who, data, who), source, backend)
        for who, data in [*kinds.items(), ("x", b"")]
    ]
    titles = [line for line in batch.report(results, [], backend).splitlines()[1:] if not line.startswith("    ")]
    assert [re.sub(r", [\d.]+ s", "", line) for line in titles if line] == [
        *("Not graded (1)", "  x: not graded"),
        *("For a person (1)", "  odd: 10 of 20"),
        *("To be read (1)", "  calm: 10 of 20; to be read: why, plot"),
        *("Complete (1)", "  blank: 0 of 20"),
    ]


def test_a_zip_that_leads_elsewhere_or_is_too_large_does_no_harm(tmp_path, monkeypatch):
    def link(name):
        info = zipfile.ZipInfo(name)
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        return info

    bomb = io.BytesIO()
    put_zip(bomb, {"x.ipynb": bytes(30 << 20)})
    lying = bytearray(bomb.getvalue())
    for mark, at in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):  # says that it holds 5 bytes
        place = lying.index(mark) + at
        lying[place : place + 4] = (5).to_bytes(4, "little")
    files = {
        "../up.ipynb": b"1",
        "/etc/abs.ipynb": b"1",
        "ok.ipynb": b"1",
        "ada/big.ipynb": bytes(30 << 20),
        "bob/x.zip": bomb.getvalue(),
        "carl/x.zip": bytes(lying),
        "dora\\..\\x.ipynb": b"1",
    }
    path = put_zip(tmp_path / "all.zip", files)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link("link.ipynb"), "/etc/passwd")
    found, left_out = intake.collect(path, "tiny")
    sound = [submission.student for submission in found if submission.problem is None]
    assert sound == ["ok"]
    assert sum("leads elsewhere" in text for text in [*left_out, *(s.problem or "" for s in found)]) == 3
    assert len(found) + len(left_out) == 8
    assert [p.name for p in tmp_path.iterdir()] == ["all.zip"]
    monkeypatch.setattr(intake, "MAX_FILES", 3)
    with pytest.raises(ValueError, match="more than 3 files"):
        intake.collect(path, "tiny")


# messages


@pytest.mark.parametrize(
    "value",
    [
        *[
            None,
            True,
            3,
            -(10**100),
            1.5,
            float("inf"),
            1 + 2j,
            "ä\ud800",
            b"\0\1",
            [1, (2, "x")],
            {"a": {"b": [None]}},
        ],
        np.float32(1.5),
        np.bool_(True),
        np.int8(3),
        np.arange(6.0).reshape(2, 3).T,
        np.zeros((0, 6), "<u2"),
        np.array(1j),
    ],
)
def test_plain_data_comes_back_as_it_was(value):
    reader, writer = os.pipe()
    blobs = []
    protocol.Channel(reader, writer).send({"value": protocol.encode(value, blobs, None)}, blobs)
    message, data = protocol.Channel(reader, writer).receive()
    back = protocol.decode(message["value"], data, None)
    assert type(back) is type(value)
    assert repr(back) == repr(value)
    if isinstance(value, np.ndarray | np.generic):
        assert back.dtype == value.dtype
    if isinstance(value, np.ndarray):
        back[...] = 0  # it is the receiver's own


class Number(float):
    pass


@pytest.mark.parametrize(
    "value", [Number(1), np.array([None]), np.ma.array([1]), np.zeros(2, "f4,f4"), {1: 2}, len, "x" and object()]
)
def test_everything_else_is_left_to_a_reference(value):
    assert protocol.encode(value, [], lambda other: {"$": "reference"}) == {"$": "reference"}


def refuse(item):
    raise protocol.ProtocolError("unknown kind of value")


BAD = [
    {"$": "array", "dtype": "|O", "shape": [1], "blob": 0},
    {"$": "array", "dtype": "<f8", "shape": [2], "blob": 0},
    {"$": "array", "dtype": "<f8", "shape": [-1], "blob": 0},
    {"$": "array", "dtype": "<f8", "shape": [True], "blob": 0},
    {"$": "array", "dtype": "<f8", "shape": [2**40, 2**40, 0], "blob": 1},
    {"$": "array", "dtype": "f8,f8", "shape": [0], "blob": 0},
    {"$": "array", "dtype": "float", "shape": [1], "blob": 0},
    {"$": "scalar", "dtype": "<f8", "blob": 7},
    {"$": "scalar", "dtype": "<f8", "blob": -1},
    {"$": "int", "hex": "x"},
    {"$": "complex", "parts": [1]},
    {"no": "kind"},
]


@pytest.mark.parametrize("item", BAD, ids=str)
def test_what_is_not_a_value_is_refused(item):
    with pytest.raises(protocol.ProtocolError):
        protocol.decode(item, [bytearray(8), bytearray()], refuse)


@pytest.mark.parametrize(
    "data", [b"\0\0\0\2[]", b"\xff\xff\xff\xff", b"\0\0\0\2{}", b"\0\0\0\x10" + b"[" * 16, b'\0\0\0\x0e{"blobs":[-1]}']
)
def test_what_is_not_a_message_is_refused(data):
    reader, writer = os.pipe()
    os.write(writer, data)
    os.close(writer)
    with pytest.raises(protocol.ProtocolError):
        protocol.Channel(reader, -1).receive()
