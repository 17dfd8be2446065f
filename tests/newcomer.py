"""Follow the README as somebody who has just cloned the repository, on a machine that knows nothing of the course.

    python tests/newcomer.py           make book, and a few of the tests
    python tests/newcomer.py --full    make book and make test

The clone lies alone in a new folder, the home is empty, pip has no cache, and of the environment only what leads pip to
its index and a browser to its place is passed on. What the commands print is shown as it comes. Exit status 0 when all
of them succeed and leave the clone as git knows it. Not a test by itself: `make test` would call itself (see
test_newcomer.py).
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PASSED_ON = ("CHROMIUM", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "LANG")
PIP_SETTINGS = ("INDEX_URL", "EXTRA_INDEX_URL", "FIND_LINKS", "CERT", "DEFAULT_TIMEOUT")
FEW_TESTS = ("tests/test_activations.py", "tests/test_notebooks.py")
COMMANDS = {
    False: [["make", "book"], [".venv/bin/python", "-m", "pytest", "-q", *FEW_TESTS]],
    True: [["make", "book"], ["make", "test"]],
}


def pip_settings():
    """Return what leads pip to its index here, as environment variables; its configuration file is left behind."""
    settings = {}
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
    for line in listed.splitlines():
        key, value = line.split("=", 1)
        name = key.partition(".")[2].replace("-", "_").upper()
        if name in PIP_SETTINGS:
            settings[f"PIP_{name}"] = value.strip("'").replace("\\n", " ").strip()
    return settings


def environment(home):
    """Return the environment of a newcomer whose home is the folder `home`."""
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    tools = {str(Path(path).parent) for path in (sys.executable, shutil.which("git"), shutil.which("make")) if path}
    places = ["/usr/local/bin", "/usr/bin", "/bin"]
    path = os.pathsep.join([*sorted(tools - set(places)), *places])
    return {**kept, **pip_settings(), "HOME": str(home), "PATH": path, "PIP_NO_CACHE_DIR": "1", "TMPDIR": str(home)}


def follow(folder, commands, environ):
    """Run the commands one after the other in the folder, up to the first that fails; return what is wrong, or None."""
    for command in commands:
        print(f"$ {' '.join(command)}", flush=True)
        start = time.monotonic()
        status = subprocess.run(command, cwd=folder, env=environ, stderr=subprocess.STDOUT).returncode
        print(f"[exit status {status} after {time.monotonic() - start:.0f} s]\n", flush=True)
        if status:
            return f"`{' '.join(command)}` failed"
    left = subprocess.run(["git", "status", "--short"], cwd=folder, env=environ, capture_output=True, text=True).stdout
    return f"the commands changed what git knows:\n{left}" if left else None


def main(arguments=None):
    """Clone, follow the README, report; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--full", action="store_true", help="make test as well, which takes long")
    full = parser.parse_args(arguments).full
    with tempfile.TemporaryDirectory(prefix="newcomer-", ignore_cleanup_errors=True) as base:
        home, folder = Path(base) / "home", Path(base) / "there" / "course"
        home.mkdir()
        environ = environment(home)
        # an address rather than a path: git would let the clone share the files of this repository
        subprocess.run(["git", "clone", "-q", "--depth=1", ROOT.as_uri(), str(folder)], check=True)
        environ["PYTHON"] = getattr(sys, "_base_executable", sys.executable)  # not of an environment that is active
        wrong = follow(folder, COMMANDS[full], environ)
    print(f"A newcomer is stuck: {wrong}" if wrong else "A newcomer gets through.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
