"""Grade the submissions of an assignment: `PYTHONPATH=tools python -m coursework ASSIGNMENT SUBMISSIONS`."""

import argparse
import os
import sys
from pathlib import Path

from .notebooks import ROOT, SOURCES, BadNotebook, Source


def main(arguments: list[str] | None = None) -> int:
    """Grade; print progress and the report; return 0, or 1 when something needs attention before marks are given."""
    parser = argparse.ArgumentParser(prog="coursework", description="Grade the submissions of an assignment.")
    parser.add_argument("assignment", help="its name, or the folder of its source")
    parser.add_argument("submissions", type=Path, help="a folder or a zip; a download from Moodle or Canvas as it is")
    parser.add_argument("--course", type=Path, default=ROOT / "build" / "coursework", help="where results are kept")
    parser.add_argument("--sources", type=Path, default=SOURCES, help="the folder of the assignments' sources")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="how many are graded at a time")
    parser.add_argument("--roster", type=Path, help="CSV with id, first_name, last_name, lms_user_id")
    parser.add_argument("--again", action="store_true", help="grade anew what has a result")
    parser.add_argument("--unsafe", action="store_true", help="where there is no sandbox, run student code without one")
    options = parser.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy is loaded: graders share the cores
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("MPLBACKEND", "Agg")

    from . import batch, course, intake
    from .sandbox import NoSandbox, choose

    named, place = Path(options.assignment), options.course.resolve()
    try:
        source = Source.read(named) if named.is_dir() else course.chosen(options.sources, [options.assignment])[0]
        with batch.alone(place):
            backend = choose([place, source.folder], options.unsafe)
            submissions, left_out = intake.collect(options.submissions, source.name, options.roster)
            left_out += batch.renamed(submissions, place, source.name)
            results = batch.grade_all(submissions, source, place, backend, options.workers, options.again)
            text = batch.report(results, left_out, backend)
            batch.write_report(place, text)
    except (NoSandbox, batch.Busy, BadNotebook, OSError, ValueError) as error:
        print(f"coursework: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("coursework: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    print(text)
    return int(bool(left_out) or any(result["state"] == "failed" for result in results))


if __name__ == "__main__":
    sys.exit(main())
