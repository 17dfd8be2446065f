"""How long it takes to grade 60 submissions of the first assignment on two cores; the goal is 4 seconds each.

Each is the reference solution, so that all tests run to their end. Where the assignment is not there, a small one takes
its place.
"""

import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy is loaded: graders share the cores

from coursework import batch, sandbox
from coursework.intake import Submission
from coursework.notebooks import Source
from coursework_submissions import write_source

COUNT, WORKERS, GOAL = 60, 2, 4.0
FIRST = Path(__file__).parents[2] / "book" / "coursework" / "source" / "backpropagation-by-hand"


def main():
    with tempfile.TemporaryDirectory() as folder:
        source = Source.read(FIRST if FIRST.is_dir() else write_source(folder))
        data = (source.folder / f"{source.name}.ipynb").read_bytes()
        submissions = [Submission(f"student-{n:02d}", data, "") for n in range(COUNT)]
        course = Path(folder) / "course"
        with batch.alone(course):
            backend = sandbox.choose([source.folder, course])
            begin = time.perf_counter()
            results = batch.grade_all(submissions, source, course, backend, WORKERS, say=lambda line: None)
            seconds = time.perf_counter() - begin
    assert all(result["state"] == "graded" for result in results)
    median = statistics.median(result["seconds"] for result in results)
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{COUNT} submissions of {source.name}, {WORKERS} workers, sandbox by {backend.name}")
    print(f"  {seconds / COUNT:.2f} s for each (goal: at most {GOAL:g} s); {median:.2f} s from start to end (median)")
    print(f"  largest process: {largest:.0f} MB")
    return seconds / COUNT > GOAL


if __name__ == "__main__":
    sys.exit(main())
