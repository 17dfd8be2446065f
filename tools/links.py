"""Ask every page that the book links to whether it is still there, and say which are not.

    python tools/links.py

Needs the network. A page that has moved for good is named as well, but is no fault. The book is read as for HTML, with
Sphinx's own check in place of the pages.
"""

import json
import sys

from book import run_sphinx
from chapters import ROOT

FOLDER = ROOT / "_build" / "links"
REPORT = FOLDER / "output.json"
GONE = ("broken", "timeout")


def report(lines):
    """Return (text, exit status) for the lines of Sphinx's report: what is gone, what has moved, how many were asked."""
    results = [json.loads(line) for line in lines if line.strip()]
    asked = [result for result in results if result["status"] not in ("local", "unchecked", "ignored")]
    gone = [result for result in asked if result["status"] in GONE]
    moved = [result for result in asked if result["status"] == "redirected" and result.get("code") in (301, 308)]
    text = [f"{result['filename']}:{result['lineno']}: gone: {result['uri']} ({result['info']})" for result in gone]
    text += [f"{result['filename']}:{result['lineno']}: moved: {result['uri']} to {result['info']}" for result in moved]
    text.append(
        f"{len({result['uri'] for result in asked})} addresses, {len({result['uri'] for result in gone})} gone."
    )
    return "\n".join(text), 1 if gone else 0


def main():
    """Check the links of the whole book; return the exit status."""
    REPORT.unlink(missing_ok=True)
    _, messages = run_sphinx(write_all=True, builder="linkcheck", folder=FOLDER)
    if not REPORT.exists():
        print(messages, file=sys.stderr)
        return 1
    text, status = report(REPORT.read_text(encoding="utf-8").splitlines())
    print(text)
    return status


if __name__ == "__main__":
    sys.exit(main())
