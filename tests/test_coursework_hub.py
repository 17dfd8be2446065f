"""A JupyterHub with three students: they fetch an assignment, hand it in, and what is collected is what they wrote.

Runs where .venv-grading has jupyterhub and configurable-http-proxy (of npm) is on PATH.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from coursework import intake

ROOT = Path(__file__).resolve().parents[1]
PYTHON = ROOT / ".venv-grading" / "bin" / "python"
PROXY = shutil.which("configurable-http-proxy")
STUDENTS = ("ada", "bob", "eve")
NAME = "vanishing-gradients"
TOKEN = "a-token-for-the-test-alone"
START = 120  # seconds that the hub, or a student's server, may take
HUB = """\
c.JupyterHub.bind_url = "http://127.0.0.1:{0}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{1}"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{2}"
c.ConfigurableHTTPProxy.command = [{proxy!r}]
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = {homes!r} + "/{{username}}"
c.Spawner.cmd = [{python!r}, "-m", "jupyterhub.singleuser", "--allow-root"]
c.Spawner.environment = {{"JUPYTER_CONFIG_DIR": {settings!r}, "JUPYTER_PREFER_ENV_PATH": "1"}}
c.Spawner.start_timeout = c.Spawner.http_timeout = 120
c.JupyterHub.services = [{{"name": "test", "api_token": {token!r}}}]
c.JupyterHub.load_roles = [
    {{"name": "test", "services": ["test"], "scopes": ["admin:users", "admin:servers", "access:servers"]}}
]
"""
# As the instructor's guide has it for a hub whose users share one account of the system.
NBGRADER = """\
import os
c = get_config()
c.CourseDirectory.course_id = "snn"
c.Exchange.root = {exchange!r}
c.ExchangeCollect.check_owner = False
if "JUPYTERHUB_USER" in os.environ:
    c.CourseDirectory.student_id = os.environ["JUPYTERHUB_USER"]
"""


def ask(address, method="GET", body=None):
    """Send a request as the test's service; return the status and the answer, which is JSON or empty."""
    headers = {"Authorization": f"token {TOKEN}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=START) as answer:
        text = answer.read()
        return answer.status, json.loads(text) if text else None


def wait_for(condition, log):
    """Wait until condition() is true; a server that does not answer yet is no reason to stop."""
    end = time.monotonic() + START
    while time.monotonic() < end:
        try:
            if condition():
                return
        except OSError:
            pass
        time.sleep(0.2)
    pytest.fail(f"the hub does not get ready:\n{log.read_text()[-4000:]}")


def free_ports(count):
    """Ports that are free now."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the course, its assignment released, and nbgrader's settings for all."""
    if not PYTHON.exists():
        pytest.skip("no nbgrader: `make coursework` installs it")
    if subprocess.run([PYTHON, "-c", "import jupyterhub"], capture_output=True).returncode:
        pytest.skip("no JupyterHub: `.venv-grading/bin/pip install jupyterhub` installs it")
    if PROXY is None:
        pytest.skip("no configurable-http-proxy: `npm install -g configurable-http-proxy` installs it")
    place = tmp_path_factory.mktemp("hub")
    for name in ("settings", "exchange", "homes", *(f"homes/{student}" for student in STUDENTS)):
        (place / name).mkdir()
    (place / "exchange").chmod(0o777)
    (place / "settings" / "nbgrader_config.py").write_text(NBGRADER.format(exchange=str(place / "exchange")))
    environ = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tools'}"}
    command = [PYTHON, "-m", "coursework.release", NAME, "--course", place / "course"]
    subprocess.run([*command, "--python", sys.executable], env=environ, check=True)
    nbgrader(place, "release_assignment")
    return place


def nbgrader(place, command):
    """Run a command of nbgrader's in the course folder, as the instructor does."""
    environ = {**os.environ, "JUPYTER_CONFIG_DIR": str(place / "settings")}
    environ["PATH"] = f"{PYTHON.parent}{os.pathsep}{environ['PATH']}"
    subprocess.run([PYTHON, "-m", "nbgrader", command, NAME], cwd=place / "course", env=environ, check=True)


@pytest.fixture(scope="module")
def hub(place):
    """The address of a running hub."""
    settings = {"proxy": PROXY, "homes": str(place / "homes"), "python": str(PYTHON), "token": TOKEN}
    ports = free_ports(3)
    (place / "jupyterhub_config.py").write_text(HUB.format(*ports, settings=str(place / "settings"), **settings))
    log = place / "hub.log"
    with log.open("w") as stream:
        server = subprocess.Popen([PYTHON, "-m", "jupyterhub"], cwd=place, stdout=stream, stderr=stream)
    try:
        address = f"http://127.0.0.1:{ports[0]}"
        wait_for(lambda: ask(f"{address}/hub/api/")[0] == 200, log)
        yield address
    finally:
        server.terminate()
        server.wait(60)


def handed_in(hub, place, student):
    """Let a student fetch the assignment, write into it and hand it in; return the bytes of the file."""
    ask(f"{hub}/hub/api/users/{student}", "POST")
    ask(f"{hub}/hub/api/users/{student}/server", "POST")
    wait_for(lambda: ask(f"{hub}/hub/api/users/{student}")[1]["servers"].get("", {}).get("ready"), place / "hub.log")
    server, course = f"{hub}/user/{student}", {"assignment_id": NAME, "course_id": "snn"}
    ask(f"{server}/assignments/fetch", "POST", course)
    notebook = place / "homes" / student / NAME / f"{NAME}.ipynb"
    content = json.loads(notebook.read_text())
    content["cells"][-1]["source"] = f"# by {student}"
    notebook.write_text(json.dumps(content))
    _, answer = ask(f"{server}/assignments/submit", "POST", course)
    assert answer["success"], answer
    ask(f"{hub}/hub/api/users/{student}/server", "DELETE")
    return notebook.read_bytes()


@pytest.mark.timeout(600)
def test_three_students_fetch_and_hand_in_and_all_is_collected(hub, place):
    expected = {student: handed_in(hub, place, student) for student in STUDENTS}
    nbgrader(place, "collect")
    submissions, left_out = intake.collect(place / "course" / "submitted", NAME)
    assert left_out == []
    assert {submission.student: submission.data for submission in submissions} == expected
