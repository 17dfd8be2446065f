"""Run a released notebook as a student who has written nothing does: `python blank.py NOTEBOOK`, in its folder.

Run by the interpreter of the book. Prints one line for each fault: a cell that crashes where it should guide, a test
that gives points for nothing. The status is 0 when there is none.
"""

import ast
import contextlib
import io
import json
import os
import sys
from pathlib import Path

from snnlib.coursework import Marks

STUB = "NotImplementedError"


def faults(cells: list[dict]) -> list[str]:
    """Return what goes wrong when the cells run in order in one namespace."""
    space: dict[str, object] = {"__name__": "__main__"}
    found = []
    for cell in cells:
        if cell["cell_type"] != "code":
            continue
        entry = cell["metadata"].get("nbgrader", {})
        name, is_test = entry.get("grade_id", "a cell without a name"), entry.get("grade") and not entry.get("solution")
        space.pop("marks", None)
        try:
            exec(compile(ast.parse("".join(cell["source"])), f"<{name}>", "exec"), space)
        except Exception as error:
            if is_test or not entry.get("solution") or type(error).__name__ != STUB:
                found.append(f"{name} ends with {type(error).__name__}: {error}")
        marks = space.get("marks")
        if is_test and isinstance(marks, Marks) and marks.total():
            found.append(f"{name} gives {marks.total():g} points for nothing")
    return found


if __name__ == "__main__":
    os.environ["SNN_STUDENT"] = "blank"
    os.environ.setdefault("MPLBACKEND", "Agg")
    with contextlib.redirect_stdout(io.StringIO()):
        lines = faults(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["cells"])
    print("\n".join(lines))
    sys.exit(bool(lines))
