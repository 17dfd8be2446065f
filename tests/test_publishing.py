"""What publishes the course says what is true: workflows, Binder, the development container, citation, licences."""

import datetime
import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet

from snnlib import __version__

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHONS = SpecifierSet(PROJECT["requires-python"])
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
WRITES = {("pages.yml", "deploy"): {"pages": "write", "id-token": "write"}}
# Commands of the machine, not of the repository.
SYSTEM = {"sudo", "apt-get", "sysctl"}


def workflow(path):
    """Return a workflow; YAML 1.1 reads its key `on` as true."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {("on" if key is True else key): value for key, value in content.items()}


def jobs():
    """Yield (file, name, job) of every job."""
    for path in WORKFLOWS:
        for name, job in workflow(path)["jobs"].items():
            yield path.name, name, job


def missing(command):
    """Return what a shell command names and the repository does not have: make's targets, scripts, tests."""
    lacks = []
    for part in re.split(r"&&|\|\||;|\n", command):
        words = part.split()
        if not words or words[0] in SYSTEM:
            continue
        if words[0] == "make":
            lacks += [f"make {word}" for word in words[1:] if "=" not in word and word not in TARGETS]
        else:
            files = [word for word in words if "/" in word and not word.startswith((".venv/", "-", "$"))]
            lacks += [word for word in files if not (ROOT / word).exists()]
            if not files and words[0] not in ("echo", "for", "do", "done"):
                lacks.append(part.strip())
    return lacks


# --- workflows -------------------------------------------------------------------------------------------------------


def test_a_command_that_the_repository_lacks_is_noticed():
    assert missing("make book nonsense && .ci/gone && python tests/newcomer.py --full") == ["make nonsense", ".ci/gone"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_command_of_a_workflow_exists(path):
    commands = [step["run"] for job in workflow(path)["jobs"].values() for step in job["steps"] if "run" in step]
    assert commands and [lack for command in commands for lack in missing(command)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_their_major_version_and_come_from_github_itself(path):
    used = [step["uses"] for job in workflow(path)["jobs"].values() for step in job["steps"] if "uses" in step]
    assert used and [name for name in used if not re.fullmatch(r"actions/[a-z-]+@v\d+", name)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_only_read_where_a_job_does_not_say_otherwise(path):
    assert workflow(path)["permissions"] == {"contents": "read"}
    for name, job in workflow(path)["jobs"].items():
        assert job.get("permissions") == WRITES.get((path.name, name))
        assert job["timeout-minutes"] <= 150


def test_the_site_is_published_by_one_run_at_a_time_and_from_the_default_branch_alone():
    pages = workflow(ROOT / ".github" / "workflows" / "pages.yml")
    branch = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]["branch"]
    assert pages["concurrency"]["cancel-in-progress"] is False
    assert set(pages["on"]) == {"push", "workflow_dispatch"} and pages["on"]["push"] == {"branches": [branch]}
    assert pages["jobs"]["deploy"]["needs"] == "build"
    (upload,) = [step for step in pages["jobs"]["build"]["steps"] if "upload-pages" in step.get("uses", "")]
    assert upload["with"]["path"] == "_build/html"


def test_the_tests_run_on_two_pythons_that_the_package_admits():
    matrix = {
        version for _, _, job in jobs() for version in job.get("strategy", {}).get("matrix", {}).get("python", [])
    }
    single = {
        step["with"]["python-version"]
        for _, _, job in jobs()
        for step in job["steps"]
        if "python-version" in step.get("with", {})
    }
    assert len(matrix) == 2
    assert all(PYTHONS.contains(version) for version in matrix | {name for name in single if "matrix" not in name})


def test_the_weekly_run_asks_for_links_and_follows_the_readme_in_full():
    weekly = workflow(ROOT / ".github" / "workflows" / "weekly.yml")
    commands = [step.get("run", "") for job in weekly["jobs"].values() for step in job["steps"]]
    assert "make links" in commands and "python tests/newcomer.py --full" in commands
    assert re.fullmatch(r"\d+ \d+ \* \* [0-7]", weekly["on"]["schedule"][0]["cron"])


# --- Binder and the development container ----------------------------------------------------------------------------


def test_binder_installs_the_package_for_chapters_in_the_tested_versions():
    lines = (ROOT / "binder" / "requirements.txt").read_text().splitlines()
    constraints, package = [line for line in lines if not line.startswith("#")]
    assert (ROOT / "binder" / constraints.removeprefix("-c ")).samefile(ROOT / "constraints.txt")
    assert package == ".[chapters]" and "chapters" in PROJECT["optional-dependencies"]
    assert PYTHONS.contains((ROOT / "binder" / "runtime.txt").read_text().strip().removeprefix("python-"))


def test_binder_fetches_sets_of_pictures_that_exist_and_goes_on_without():
    from snnlib import __main__

    script = ROOT / "binder" / "postBuild"
    text = script.read_text()
    (names,) = re.findall(r"for name in (.*); do", text)
    assert set(names.split()) <= {name for name in re.findall(r'"([a-z0-9-]+)"', Path(__main__.__file__).read_text())}
    assert script.stat().st_mode & 0o100 and text.startswith("#!/bin/bash") and "||" in text


def test_the_container_sets_up_by_the_course_s_own_commands():
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert missing(container["updateContentCommand"]) == []
    assert PYTHONS.contains(container["image"].rpartition(":")[2])
    python = container["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"]
    assert python == "${containerWorkspaceFolder}/.venv/bin/python"
    assert 8000 in container["forwardPorts"] and "PORT ?= 8000" in (ROOT / "Makefile").read_text()


# --- citation and licences -------------------------------------------------------------------------------------------


def test_the_citation_agrees_with_the_package_and_the_book():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    assert cited["title"] == config["title"] and cited["license"] == PROJECT["license"]
    assert cited["version"] == PROJECT["version"] == __version__
    assert [author["name"] for author in cited["authors"]] == [author["name"] for author in PROJECT["authors"]]
    assert isinstance(cited["date-released"], datetime.date)


def test_the_two_licences_are_those_that_they_are_said_to_be():
    code = " ".join((ROOT / "LICENSE").read_text(encoding="utf-8").split())
    text = (ROOT / "LICENSE-text").read_text(encoding="utf-8")
    assert code.startswith("BSD 3-Clause License Copyright (c)") and code.endswith("POSSIBILITY OF SUCH DAMAGE.")
    assert all(f" {number}. " in code for number in (1, 2, 3)) and "Neither the name of the copyright holder" in code
    assert "Creative Commons Attribution 4.0 International" in text
    assert "https://creativecommons.org/licenses/by/4.0/" in text
    assert all(re.search(rf"^Section {number} – ", text, re.MULTILINE) for number in range(1, 9)), "not the whole text"


# Whose files lie in `_static` of the built book, by how their names begin; "" is the course itself.
EMBEDDED = {
    "mathjax/": "MathJax",
    "scripts/bootstrap": "Bootstrap",
    "scripts/fontawesome": "Font Awesome",
    "scripts/pydata": "pydata-sphinx-theme",
    "scripts/sphinx-book": "sphinx-book-theme",
    "styles/pydata": "pydata-sphinx-theme",
    "styles/sphinx-book": "sphinx-book-theme",
    "styles/theme": "pydata-sphinx-theme",
    "vendor/fontawesome": "Font Awesome",
    "images/logo_": "sphinx-book-theme",
    "locales/": "sphinx-book-theme",
    "sbt-webpack": "sphinx-book-theme",
    "webpack-macros": "pydata-sphinx-theme",
    "clipboard": "clipboard.js",
    **dict.fromkeys(("copy", "check-solid"), "sphinx-copybutton"),
    **dict.fromkeys(("sphinx-design", "design-"), "sphinx-design"),
    **dict.fromkeys(("sphinx-thebe", "play-solid"), "sphinx-thebe"),
    "togglebutton": "sphinx-togglebutton",
    "proof": "sphinx-proof",
    "exercise": "sphinx-exercise",
    "mystnb": "MyST-NB",
    "pygments": "Pygments",
    **dict.fromkeys(
        ("basic.css", "doctools", "documentation_options", "language_data", "searchtools", "sphinx_highlight"), "Sphinx"
    ),
    **dict.fromkeys(("file.png", "minus.png", "plus.png"), "Sphinx"),
    "explorables/": "",
}


def test_every_part_that_the_site_embeds_is_named_with_its_licence():
    folder, own = ROOT / "_build" / "html" / "_static", ROOT / "book" / "_static"
    if not folder.is_dir():
        pytest.skip("no built book: run `make book`")
    text = (own / "licences.txt").read_text(encoding="utf-8")
    strange = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        owner = next((owner for start, owner in EMBEDDED.items() if name.startswith(start)), None)
        if not (own / name).exists() and (owner is None or (owner and f"  {owner}" not in text)):
            strange.append(name)
    assert strange == [], "say in book/_static/licences.txt whose files these are, and here"


@pytest.mark.parametrize(
    "licence", ["MIT License", "BSD 3-Clause License", "BSD 2-Clause License", "Apache License 2.0"]
)
def test_a_licence_that_embedded_parts_are_under_is_there_in_full(licence):
    text = (ROOT / "book" / "_static" / "licences.txt").read_text(encoding="utf-8")
    named, full = re.findall(rf"^{re.escape(licence)}\b.*$", text, re.MULTILINE), text.split("-" * 79)
    assert named and any(
        part.strip() == licence and len(full[place + 1]) > 1000 for place, part in enumerate(full[:-1])
    )


# --- links -----------------------------------------------------------------------------------------------------------


def test_a_page_that_is_gone_is_named_with_its_place_and_one_that_moved_is_no_fault():
    import links

    def line(status, uri, **more):
        return json.dumps({"filename": "book/a.md", "lineno": 3, "status": status, "uri": uri, "info": "why", **more})

    sound = [line("working", "https://a"), line("unchecked", "here"), line("redirected", "https://b", code=302)]
    moved = line("redirected", "https://c", code=301)
    assert links.report(sound) == ("2 addresses, 0 gone.", 0)
    assert links.report([*sound, moved]) == ("book/a.md:3: moved: https://c to why\n3 addresses, 0 gone.", 0)
    text, status = links.report([line("broken", "https://d"), line("broken", "https://d"), *sound])
    assert (
        status == 1 and text.startswith("book/a.md:3: gone: https://d (why)") and text.endswith("3 addresses, 1 gone.")
    )
