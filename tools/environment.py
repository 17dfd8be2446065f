"""Create and renew the virtual environments of the course: `.venv` for the book, `.venv-lab` for JupyterLab,
`.venv-grading` for the coursework's gradebook.

Run by the Makefile with any Python at hand, so this file uses the standard library only and no syntax that an old
Python cannot parse: a wrong version must end in one clear line, not in a SyntaxError. An environment is finished when
it holds a stamp that names what was installed; without the stamp it is taken for half-made and built anew.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys

MINIMUM = (3, 11)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
STAMP = ".complete.json"

ENVIRONMENTS = {
    "book": {
        "folder": ".venv",
        "requirements": "requirements.txt",
        "constraints": "constraints.txt",
        "package": True,
        "log": "setup.log",
    },
    "lab": {
        "folder": ".venv-lab",
        "requirements": "requirements-lab.txt",
        "constraints": None,
        "package": False,
        "log": "setup-lab.log",
    },
    "grading": {
        "folder": ".venv-grading",
        "requirements": "requirements-grading.txt",
        "constraints": "constraints.txt",
        "package": False,
        "log": "setup-grading.log",
    },
}

# What pip writes when something outside it went wrong, and the line that says what to do about it.
KNOWN_FAILURES = (
    ("No space left on device", "the disk is full: free some space, then run the command again"),
    ("Disk quota exceeded", "the disk quota is used up: free some space, then run the command again"),
    ("Permission denied", "a file may not be written: check who owns this folder"),
    ("CERTIFICATE_VERIFY_FAILED", "the package index shows a certificate that is not trusted: see pip's --cert"),
    ("ProxyError", "the proxy refuses: check HTTPS_PROXY"),
    ("NewConnectionError", "the package index cannot be reached: check the network or pip's index settings"),
    ("Temporary failure in name resolution", "the package index cannot be reached: check the network"),
    ("Failed to establish a new connection", "the package index cannot be reached: check the network"),
    ("Read timed out", "the package index answers too slowly: run the command again"),
    ("ResolutionImpossible", "the requirements contradict each other"),
    ("requires a different Python", "a requirement does not support this Python"),
)


class SetupError(Exception):
    """A reason for stopping that the user is told in one line."""


def check_python(version):
    """Refuse a Python that is too old, with the version found and the remedy."""
    if tuple(version[:2]) < MINIMUM:
        found = ".".join(str(part) for part in version[:3])
        raise SetupError(
            "found Python {0}, but the course needs Python {1}.{2} or newer: "
            "install one and name it, for example `make PYTHON=python3.12 book`".format(found, *MINIMUM)
        )


def check_modules():
    """Refuse a Python that cannot make environments (Debian ships those modules apart)."""
    missing = []
    for name in ("venv", "ensurepip"):
        try:
            __import__(name)
        except ImportError:
            missing.append(name)
    if missing:
        raise SetupError(
            "this Python lacks the module {0}: on Debian or Ubuntu `apt-get install python3-venv` brings it".format(
                " and ".join(missing)
            )
        )


def fingerprint(names, extra=""):
    """Return a hash over the contents of the named files (a missing file counts as empty) and `extra`."""
    digest = hashlib.sha256(extra.encode())
    for name in names:
        path = os.path.join(ROOT, name)
        content = b""
        if os.path.exists(path):
            with open(path, "rb") as stream:
                content = stream.read()
        digest.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    return digest.hexdigest()


def expected_stamp(environment):
    """Return what a finished environment's stamp must say."""
    python = "{0} {1}".format(sys.version, ROOT)
    files = [name for name in (environment["requirements"], environment["constraints"]) if name]
    return {
        "python": fingerprint([], python),
        "requirements": fingerprint(files),
        "package": fingerprint(["pyproject.toml"]) if environment["package"] else "",
    }


def read_stamp(folder):
    """Return the stamp of the environment in `folder`, or an empty dictionary where none can be read."""
    try:
        with open(os.path.join(folder, STAMP)) as stream:
            stamp = json.load(stream)
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) and os.path.exists(python_of(folder)) else {}


def write_stamp(folder, stamp):
    """Declare the environment in `folder` finished."""
    partial = os.path.join(folder, STAMP + ".partial")
    with open(partial, "w") as stream:
        json.dump(stamp, stream, indent=1, sort_keys=True)
    os.rename(partial, os.path.join(folder, STAMP))


def python_of(folder):
    """Return the path of the environment's interpreter."""
    parts = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    return os.path.join(folder, *parts)


def site_packages(folder):
    """Return the sorted contents of the environment's package folder, to see whether pip changed anything."""
    found = []
    for base, folders, _ in os.walk(folder):
        if os.path.basename(base) == "site-packages":
            found.extend(os.listdir(base))
            del folders[:]
    return sorted(found)


def explain(log):
    """Return one line on why pip failed, from what it wrote to the log."""
    with open(log, errors="replace") as stream:
        text = stream.read()
    for needle, reason in KNOWN_FAILURES:
        if needle in text:
            return reason
    errors = [line.strip() for line in text.splitlines() if line.strip().upper().startswith("ERROR:")]
    return errors[-1][len("ERROR:") :].strip() if errors else "pip stopped without naming a reason"


def run(command, log):
    """Run one command with its output in the log; its failure is a SetupError of one line."""
    environ = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_NO_INPUT="1", PIP_USER="0")
    for name in ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV"):
        environ.pop(name, None)
    with open(log, "a") as stream:
        stream.write("$ {0}\n".format(" ".join(command)))
        stream.flush()
        status = subprocess.call(
            command, stdout=stream, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environ, cwd=ROOT
        )
    if status:
        raise SetupError("{0} (log: {1})".format(explain(log), os.path.relpath(log, ROOT)))


def create(folder, log):
    """Make an empty environment with pip in it."""
    run([sys.executable, "-m", "venv", "--clear", folder], log)


def install_requirements(folder, environment, log):
    """Install everything in one pip command, so that no later one moves a version behind the first one's back."""
    command = [python_of(folder), "-m", "pip", "install", "--progress-bar", "off", "-r", environment["requirements"]]
    constraints = environment["constraints"]
    if constraints and os.path.exists(os.path.join(ROOT, constraints)):
        command += ["-c", constraints]
    run(command, log)


def install_package(folder, log):
    """Install snnlib editable, with the setuptools of the environment and nothing from the index."""
    if os.path.exists(os.path.join(ROOT, "pyproject.toml")):
        run(
            [python_of(folder), "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index", "-e", "."],
            log,
        )


def write_json(path, content):
    """Write `content` to a file, in folders that are made when they are missing."""
    if not os.path.isdir(os.path.dirname(path)):
        os.makedirs(os.path.dirname(path))
    with open(path, "w") as stream:
        json.dump(content, stream, indent=1)


def configure_jupyter(folder):
    """Make `.venv` the default kernel of the Jupyter in `folder`, and keep JupyterLab from asking for news."""
    kernel = {
        "argv": [
            python_of(os.path.join(ROOT, ENVIRONMENTS["book"]["folder"])),
            "-m",
            "ipykernel_launcher",
            "-f",
            "{connection_file}",
        ],
        "display_name": "Python 3 (course)",
        "language": "python",
        "metadata": {"debugger": True},
    }
    settings = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
    write_json(os.path.join(folder, "share", "jupyter", "kernels", "python3", "kernel.json"), kernel)
    write_json(os.path.join(folder, "etc", "jupyter", "labconfig", "page_config.json"), settings)


def install(name, folder, environment, old, stamp, log):
    """Bring the environment from what the stamp `old` says (empty: from nothing) to what `stamp` says."""
    if not old:
        say(
            "creating {folder} and installing {requirements} (once, some minutes; "
            "what pip says is in _build/{log}) ...".format(**environment)
        )
        shutil.rmtree(folder, ignore_errors=True)
        create(folder, log)
    if old.get("requirements") != stamp["requirements"]:
        if old:
            say("the requirements changed: renewing {folder} ...".format(**environment))
        install_requirements(folder, environment, log)
    if environment["package"] and old.get("package") != stamp["package"]:
        install_package(folder, log)
    if name != "book":
        configure_jupyter(folder)


def renew(name, folder, environment, stamp):
    """Install, and leave behind a finished environment (the old one, if pip did not touch it) or none."""
    log = os.path.join(ROOT, "_build", environment["log"])
    open(log, "w").close()
    old = read_stamp(folder)
    if old.get("python") != stamp["python"]:
        old = {}
    before = site_packages(folder)
    if old:
        os.unlink(os.path.join(folder, STAMP))
    try:
        install(name, folder, environment, old, stamp, log)
    except BaseException:
        if old and site_packages(folder) == before:
            write_stamp(folder, old)
        else:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    write_stamp(folder, stamp)


def say(message):
    """Tell the user what happens, at once."""
    sys.stdout.write(message + "\n")
    sys.stdout.flush()


def lock(path):
    """Let a second make wait until the first one has finished setting up; return the open lock."""
    stream = open(path, "w")
    try:
        import fcntl
    except ImportError:
        return stream
    fcntl.flock(stream, fcntl.LOCK_EX)
    return stream


def ensure(name):
    """Make the named environment match the files that define it."""
    environment = ENVIRONMENTS[name]
    folder = os.path.join(ROOT, environment["folder"])
    check_python(sys.version_info)
    stamp = expected_stamp(environment)
    if read_stamp(folder) == stamp:
        return
    check_modules()
    if not os.path.isdir(os.path.join(ROOT, "_build")):
        os.makedirs(os.path.join(ROOT, "_build"))
    with lock(os.path.join(ROOT, "_build", ".setup.lock")):
        if read_stamp(folder) != stamp:
            renew(name, folder, environment, stamp)


def interrupt(number, frame):
    """Turn a request to end into an exception, so that a half-made environment is removed."""
    raise KeyboardInterrupt


def main(arguments):
    """Ensure the environments named on the command line (by default the book's); return the exit status."""
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), interrupt)
    try:
        for argument in arguments or ["book"]:
            ensure(argument)
    except SetupError as error:
        sys.stderr.write("set-up failed: {0}\n".format(error))
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("set-up interrupted: nothing half-made is left, run the command again\n")
        return 130
    except OSError as error:
        sys.stderr.write("set-up failed: {0}\n".format(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
