"""A small assignment, and submissions of it: right ones, broken ones, hostile ones."""

import base64
import copy
import json
import textwrap
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

LIMITS = {"seconds": 40, "cell_seconds": 4, "call_seconds": 1.5, "memory": 400, "disk": 16, "processes": 12}
DOUBLE = "def double(x):\n    return 2 * x"
WRONG = "def double(x):\n    return 3 * x"
LAYER = """
class Layer:
    def __init__(self, W):
        self.W = W

    def forward(self, x):
        if x.ndim != 1:
            raise ValueError("x is a vector")
        return self.W @ x

def network(layers, x):
    for layer in layers:
        x = layer.forward(x)
    return x
"""
GIVEN = """
import numpy as np
from snnlib.coursework import Marks, expect, expect_raises, seed, student
rng = np.random.default_rng(seed(student(), "tiny"))
"""
TEST_DOUBLE = """
marks = Marks()
with marks(2, "twice a number"):
    expect(double(3.0), 6.0)
### BEGIN HIDDEN TESTS
import hidden_tiny
x = rng.standard_normal(5)
with marks(2, "twice an array"):
    expect(double(x), hidden_tiny.reference(x), name="double(x)", mistakes={"three times": 3 * x})
### END HIDDEN TESTS
marks.total()
"""
TEST_LAYER = """
marks = Marks()
W = np.arange(6.0).reshape(2, 3)
layer = Layer(W)
with marks(3, "a layer"):
    expect(layer.forward(np.ones(3)), np.array([3.0, 12.0]))
    expect(layer.W, W)
with marks(2, "a network"):
    expect(network([layer, Layer(np.ones((1, 2)))], np.ones(3)), np.array([15.0]))
with marks(1, "wrong arguments"):
    expect_raises(ValueError, layer.forward, np.ones((3, 1)))
marks.total()
"""
HIDDEN_MODULE = "SECRET = 'secret of the tests'\n\n\ndef reference(x):\n    return x + x\n"
MEANWHILE = "import os, signal, sys, time, threading, subprocess, socket\nimport numpy as np\n"


def metadata(name, points=None, **flags):
    given = {"grade": False, "solution": False, "locked": False, "task": False, "schema_version": 3, "grade_id": name}
    return {"nbgrader": given | flags | ({} if points is None else {"points": points})}


def solved(text):
    return f"### BEGIN SOLUTION\n{text.strip()}\n### END SOLUTION"


def source_notebook():
    """The assignment as its author writes it: 4 + 6 points by tests, 5 + 5 by a person."""
    answer = {"grade": True, "solution": True}
    cells = [
        new_markdown_cell("# Tiny"),
        new_code_cell(GIVEN.strip(), metadata=metadata("given", locked=True)),
        new_code_cell(solved(DOUBLE), metadata=metadata("double", solution=True)),
        new_code_cell(TEST_DOUBLE.strip(), metadata=metadata("test-double", 4, grade=True, locked=True)),
        new_code_cell(solved(LAYER), metadata=metadata("layer", solution=True)),
        new_code_cell(TEST_LAYER.strip(), metadata=metadata("test-layer", 6, grade=True, locked=True)),
        new_markdown_cell(solved("Because."), metadata=metadata("why", 5, **answer)),
        new_code_cell(solved("print('a plot')"), metadata=metadata("plot", 5, **answer)),
    ]
    return new_notebook(cells=cells, metadata={"coursework": {"limits": LIMITS}})


def write_source(folder):
    """Write the assignment into `folder`/tiny; return that folder."""
    target = Path(folder) / "tiny"
    target.mkdir(parents=True)
    nbformat.write(source_notebook(), target / "tiny.ipynb")
    (target / "hidden_tiny.py").write_text(HIDDEN_MODULE)
    return target


NOTEBOOK = source_notebook()


def find(notebook, name):
    return next(c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") == name)


def submission(double=DOUBLE, layer=LAYER, why="It is so.", plot="print('a plot')", change=None):
    """The bytes of a submission with these texts; `change` may change the notebook further."""
    notebook = copy.deepcopy(NOTEBOOK)
    for name, text in {"double": double, "layer": layer, "why": why, "plot": plot}.items():
        find(notebook, name).source = textwrap.dedent(text).strip()
    for name in ("test-double", "test-layer"):
        text, hidden = find(notebook, name).source, False
        lines = []
        for line in text.splitlines():
            hidden = (hidden or line == "### BEGIN HIDDEN TESTS") and line != "### END HIDDEN TESTS"
            if not hidden and "HIDDEN" not in line:
                lines.append(line)
        find(notebook, name).source = "\n".join(lines)
    if change is not None:
        change(notebook)
    return json.dumps(notebook).encode()  # unchecked, unlike nbformat.writes


STUB = "# YOUR CODE HERE\nraise NotImplementedError()"
BLANK = submission(STUB, STUB, "YOUR ANSWER HERE", STUB)
RIGHT = submission()


@dataclass
class Kind:
    """A submission: its bytes, the points it must get (of 4 and of 6; None: not graded), what the report must say."""

    data: bytes
    points: tuple | None
    said: str = ""


def in_cell(code, **more):
    """A submission that does this when its cell runs, and then what is wanted."""
    return submission(double=MEANWHILE + textwrap.dedent(code) + "\n" + DOUBLE, **more)


def in_call(code, **more):
    """A submission that does this when a test calls it."""
    return submission(double=MEANWHILE + "def double(x):\n" + textwrap.indent(textwrap.dedent(code), "    "), **more)


KILL = """
for pid in (os.getppid(), 1, -1, -os.getpgid(0)):
    try:
        os.kill(pid, signal.SIGTERM if pid == -os.getpgid(0) else signal.SIGKILL)
    except OSError:
        pass
"""
EATERS = r"""
import ctypes
ctypes.CDLL(None).prctl(15, b"\xff\xfe", 0, 0, 0)  # the name of the process is no text
for _ in range(8):
    if os.fork() == 0:
        a = np.ones(2 * 10 ** 7)
        time.sleep(60)
time.sleep(60)
"""
BACKGROUND = """
def eat():
    for _ in range(8):
        subprocess.Popen([sys.executable, "-c", "a = b'.' * 10 ** 8; import time; time.sleep(60)"])
threading.Thread(target=eat).start()
time.sleep(3)
"""
SWALLOW = """
while True:
    try:
        signal.setitimer(signal.ITIMER_REAL, 0)
        while True:
            pass
    except BaseException:
        pass
"""
FORGER = (
    WRONG
    + """
class Equal:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __array__(self, *args, **kwargs): return np.array(6.0)
    def __float__(self): return 6.0
    def __len__(self): return 10 ** 9
    dtype, shape, ndim = np.dtype(float), (), 0
def double(x):
    return Equal()
import numpy as np, builtins
np.allclose = np.array_equal = np.isclose = lambda *a, **k: True
builtins.abs = builtins.all = lambda *a: 6.0
"""
)
PATCHED = (
    WRONG
    + """
import snnlib.coursework as c
c.expect = expect = lambda *a, **k: None
c.Marks.total = lambda self: 4.0
class Marks:
    parts = []
    def __call__(self, *a): return self
    def __enter__(self): pass
    def __exit__(self, *a): return True
    def total(self): return 4.0
marks = Marks()
class hidden_tiny:
    @staticmethod
    def reference(x): return 3 * x
expect_raises = seed = student = np = print = rng = sum = float = expect
"""
)
FRAMES = (
    WRONG
    + """
import json, os, struct
answer = json.dumps({"value": 6.0, "blobs": []}).encode()
for n in range(3, 64):
    try:
        for _ in range(50):
            os.write(n, struct.pack(">I", len(answer)) + answer)
    except OSError:
        pass
"""
)


def edit_tests(notebook):
    for name in ("test-double", "test-layer"):
        cell = find(notebook, name)
        cell.source = "100.0"
        cell.metadata.nbgrader.points = 100


def delete_tests(notebook):
    notebook.cells = [c for c in notebook.cells if not c.metadata.get("nbgrader", {}).get("grade")]


def copy_solution(notebook):
    place = notebook.cells.index(find(notebook, "double"))
    notebook.cells.insert(place + 1, copy.deepcopy(notebook.cells[place]))


def copy_test(notebook):
    notebook.cells.append(copy.deepcopy(find(notebook, "test-double")))


def rename(notebook):
    cell = find(notebook, "double")
    cell.id = cell.metadata.nbgrader.grade_id = "zzz"


def strip(notebook):
    for n, cell in enumerate(notebook.cells):
        cell.metadata, cell.id = {}, f"n{n}"


def swap(notebook):
    notebook.cells.reverse()


def forge_outputs(notebook):
    for name in ("test-double", "test-layer"):
        data = {"text/plain": "100.0"}
        find(notebook, name).outputs = [nbformat.v4.new_output("execute_result", data=data, execution_count=1)]
    notebook.metadata.coursework = {"limits": {"seconds": 1e9}, "score": 100}


def lose_answer(notebook):
    notebook.cells.remove(find(notebook, "why"))


def hostile(secrets, port):
    """Return the kinds by name; `secrets` are paths that nobody may read, `port` one where somebody listens."""
    steal = f"""
    found = []
    for path in {[str(path) for path in secrets]!r} + ["/etc/shadow", os.path.expanduser("~root/.bashrc")]:
        try:
            found.append(open(path, "rb").read(20) if os.path.isfile(path) else os.listdir(path))
        except OSError:
            pass
    return 6.0 if found else None
    """
    leak = "import hidden_tiny\n" + WRONG
    write = f"""
    done = 0
    for path in {[str(path) for path in secrets]!r} + ["/usr", "/etc", "/dev", "/", "/proc", "/grader", sys.prefix]:
        try:
            open(os.path.join(path, "owned"), "w").write("x")
            done += 1
        except OSError:
            pass
    return 6.0 if done else None
    """
    network = f"""
    try:
        socket.create_connection(("127.0.0.1", {port}), timeout=1).send(b"here")
    except OSError:
        return None
    return 6.0
    """
    script = "<script>alert('owned')</script>"
    picture = base64.b64encode(b"\x89PNG\r\n\x1a\n" + script.encode()).decode()
    show = f"""
    from IPython.display import display
    print({script!r}, "\\x1b[31m\\x00")
    display({{"image/png": {picture!r}, "text/html": {script!r}}}, raw=True)
    display({{"text/html": {script!r}, "image/svg+xml": {script!r}}}, raw=True)
    raise ValueError({script!r})
    """
    ran = f"ran longer than {LIMITS['call_seconds']} s"
    ended = "ended its process"
    return {
        "right": Kind(RIGHT, (4, 6)),
        "blank": Kind(BLANK, (0, 0)),
        "infinite loop in a cell": Kind(in_cell("while True: pass"), (0, 6), "ran longer than 4 s"),
        "infinite loop in a call": Kind(in_call("while True: pass"), (0, 6), ran),
        "swallowed interrupts": Kind(in_call(SWALLOW), (0, 6), "could not be interrupted"),
        "swallowed interrupts in a cell": Kind(in_cell(SWALLOW), (0, 6), "could not be interrupted"),
        "sleep": Kind(in_call("time.sleep(1000)"), (0, 6), ran),
        "busy C code": Kind(in_call("sum(range(10 ** 12))"), (0, 6), "could not be interrupted"),
        "input": Kind(in_call("return input()"), (0, 6)),
        "exit in a cell": Kind(in_cell("os._exit(0)"), (0, 6), ended),
        "exit in a call": Kind(in_call("os._exit(0)"), (0, 6), ended),
        "sys.exit": Kind(in_call("sys.exit(0)"), (0, 6)),
        "kill the parent": Kind(in_call(KILL), (0, 6)),
        "crash": Kind(in_call("import ctypes; ctypes.string_at(0)"), (0, 6), ended),
        "endless recursion": Kind(in_call("sys.setrecursionlimit(10 ** 9)\nreturn double(x)"), (0, 6), ""),
        "close everything": Kind(in_call("os.closerange(0, 256)"), (0, 6), ended),
        "fork and answer twice": Kind(in_call("os.fork()\nreturn 2 * x"), (4, 6)),
        "forty processes": Kind(
            in_cell("p = [subprocess.Popen(['/usr/bin/sleep', '60']) for _ in range(20)]; time.sleep(1)"),
            (0, 6),
            "12 processes",
        ),
        "fork bomb": Kind(
            in_call(
                "for _ in range(300):\n    try:\n        os.fork()\n    except OSError:\n        pass\ntime.sleep(60)"
            ),
            (0, 6),
            "12 processes",
        ),
        "thread bomb": Kind(
            in_call("for _ in range(300):\n    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()"),
            (0, 6),
        ),
        "daemon": Kind(
            in_cell(
                "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(600)\n    os._exit(0)"
            ),
            (4, 6),
        ),
        "memory bomb": Kind(in_call("return np.ones(3 * 10 ** 8)"), (0, 6), ""),
        "memory bomb in children": Kind(in_call(EATERS), (0, 6), "400 MB"),
        "memory bomb in the background": Kind(in_cell(BACKGROUND), (0, 6), "400 MB"),
        "disk filler": Kind(in_call("for i in range(100):\n    open(f'f{i}', 'wb').write(bytes(10 ** 7))"), (0, 6)),
        "many files": Kind(in_call("for i in range(10 ** 6):\n    os.mkdir(f'f{i}')"), (0, 6), ""),
        "a million lines": Kind(in_cell("for _ in range(1000): print('line\\n' * 1000)"), (4, 6), "20000 characters"),
        "too much data": Kind(in_call("return np.zeros(10 ** 7)"), (0, 6)),
        "deep data": Kind(in_call("a = []\nfor _ in range(10 ** 5): a = [a]\nreturn a"), (0, 6)),
        "deleted tests": Kind(submission(WRONG, change=delete_tests), (0, 6), "original is used"),
        "edited tests": Kind(submission(WRONG, change=edit_tests), (0, 6), "original is used"),
        "copied solution": Kind(submission(change=copy_solution), (4, 6), "more than once"),
        "copied test": Kind(submission(change=copy_test), (4, 6)),
        "renamed cell": Kind(submission(change=rename), (4, 6), "known by its content"),
        "stripped metadata": Kind(submission(change=strip), (4, 6), "known by its content"),
        "reversed cells": Kind(submission(change=swap), (4, 6)),
        "forged outputs": Kind(submission(WRONG, change=forge_outputs), (0, 6)),
        "lost answer": Kind(submission(change=lose_answer), (4, 6), "why is missing"),
        "not JSON": Kind(b"PK\x03\x04 not a notebook", None, "not JSON"),
        "empty": Kind(b"", None, "empty"),
        "a list": Kind(b"[1, 2]", None, "no list of cells"),
        "deep JSON": Kind(b"[" * 10**6, None, "not JSON"),
        "old format": Kind(json.dumps({"worksheets": [], "nbformat": 3}).encode(), None, "no list of cells"),
        "another notebook": Kind(
            nbformat.writes(new_notebook(cells=[new_code_cell("1 + 1")])).encode(), (0, 0), "another notebook"
        ),
        "syntax error": Kind(submission(double="def double(x) return x"), (0, 6)),
        "equal to everything": Kind(submission(FORGER), (0, 6)),
        "patched tests": Kind(submission(PATCHED), (0, 6)),
        "forged messages": Kind(submission(FRAMES), (0, 0), "disturbed"),
        "array of another class": Kind(in_call("return 2 * np.asarray(x).view(np.matrix)"), (0, 6)),
        "reads solutions": Kind(in_call(steal), (0, 6)),
        "imports hidden modules": Kind(submission(double=leak), (0, 6)),
        "writes outside": Kind(in_call(write), (0, 6)),
        "network": Kind(in_call(network), (0, 6)),
        "scripts in outputs": Kind(in_cell(show), (0, 6)),
    }
