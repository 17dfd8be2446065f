"""The addresses of the course stand in one place, and the files that repeat one agree with it; buttons lead there."""

import ast
import dataclasses
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import repository
import smallbook
import yaml
from pagecheck import Site, visit

ROOT = Path(__file__).resolve().parents[1]
KNOWN = repository.Addresses(
    "https://github.com/someone/course",
    "main",
    "https://someone.github.io/course/",
    "https://colab.research.google.com",
    "https://mybinder.org",
)
NOWHERE = repository.Addresses()
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
NAMES = sorted(repository.REPEATED)


def set_addresses(folder, url, book=""):
    """Write two addresses to the configuration in the folder."""
    path = folder / "_config.yml"
    text = re.sub(r"^  url: .*$", f'  url: "{url}"', path.read_text(), flags=re.MULTILINE)
    path.write_text(re.sub(r'^  baseurl: "[^"]*"', f'  baseurl: "{book}"', text, flags=re.MULTILINE))


@pytest.fixture
def configuration(tmp_path):
    """A copy of the configuration alone."""
    shutil.copy(ROOT / "_config.yml", tmp_path)
    return tmp_path


def test_every_file_that_repeats_an_address_agrees_with_the_configuration():
    stale = [path.name for path, text in repository.written() if path.read_text(encoding="utf-8") != text]
    assert stale == [], "run `make repository`"


@pytest.mark.parametrize(
    "url, read",
    [
        ("", ""),
        ("https://github.com/someone/course/", "https://github.com/someone/course"),
        ("https://github.com/someone/course.git", "https://github.com/someone/course"),
        ("file://localhost/srv/course", "file://localhost/srv/course"),
    ],
)
def test_an_address_is_read_without_what_may_follow_it(configuration, url, read):
    set_addresses(configuration, url)
    assert repository.addresses(configuration).repository == read


@pytest.mark.parametrize("url", ["someone/course", "github.com/someone/course", "https://", "ssh://git@host/course"])
def test_what_is_not_an_address_is_refused_with_the_key_and_an_example(configuration, url):
    set_addresses(configuration, url)
    with pytest.raises(repository.AddressError, match=re.escape(f"`repository: url` is {url!r}") + ".*https://HOST"):
        repository.addresses(configuration)


def test_the_first_cell_installs_from_the_address_or_says_that_it_cannot():
    assert 'address = "git+https://github.com/someone/course"\n' in repository.first_cell(KNOWN)
    assert """'install --quiet "snnlib[chapters] @ {address}"'""" in repository.first_cell(KNOWN)
    assert "pip" not in repository.first_cell(NOWHERE) and "raise ImportError" in repository.first_cell(NOWHERE)


@pytest.mark.parametrize("known", [KNOWN, NOWHERE], ids=["known", "nowhere"])
def test_the_first_cell_is_plain_python_in_the_format_of_chapters(tmp_path, known):
    cell = repository.first_cell(known)
    ast.parse(cell)
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell, id="one")], metadata={"kernelspec": KERNEL}
    )
    nbformat.write(notebook, tmp_path / "chapter.ipynb")
    ruff = [sys.executable, "-m", "ruff"]
    rules = ["--config", str(ROOT / "book" / "ruff.toml"), "--no-cache", "chapter.ipynb"]
    for command in (["check"], ["format", "--check"]):
        process = subprocess.run([*ruff, *command, *rules], cwd=tmp_path, capture_output=True, text=True)
        assert process.returncode == 0, process.stdout


def test_a_chapter_has_the_cell_once_before_all_other_code():
    path = ROOT / "book" / "backpropagation" / "one-layer.ipynb"
    notebook = nbformat.read(path, as_version=4)
    before = len(notebook["cells"])
    for known in (KNOWN, KNOWN):
        notebook = repository.with_first_cell(notebook, known)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(notebook["cells"]) == before and code[0]["id"] == repository.CELL_ID
    assert code[0]["metadata"] == {"tags": ["remove-cell"]}
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))


@pytest.mark.parametrize("name", NAMES)
def test_an_address_that_is_taken_away_again_leaves_the_file_as_it_was(name):
    without = repository.REPEATED[name]((ROOT / name).read_text(encoding="utf-8"), NOWHERE)
    known = repository.REPEATED[name](without, KNOWN)
    assert KNOWN.repository in known and KNOWN.book in known and "someone" not in without
    assert repository.REPEATED[name](known, KNOWN) == known
    assert repository.REPEATED[name](known, NOWHERE) == without


def test_the_project_and_the_citation_name_the_addresses_in_their_own_fields():
    table = tomllib.loads(repository.project((ROOT / "pyproject.toml").read_text(), KNOWN))["project"]["urls"]
    assert table == {"Homepage": KNOWN.book, "Repository": KNOWN.repository}
    cited = yaml.safe_load(repository.citation((ROOT / "CITATION.cff").read_text(), KNOWN))
    assert (cited["repository-code"], cited["url"]) == (KNOWN.repository, KNOWN.book)


def test_the_readme_offers_only_what_the_host_of_the_repository_has():
    assert "Colab" in repository.links(KNOWN) and "Binder" in repository.links(KNOWN)
    elsewhere = dataclasses.replace(KNOWN, repository="https://git.example.org/someone/course")
    assert repository.links(elsewhere) == f"**[Read the book]({KNOWN.book})**\n"
    assert repository.links(NOWHERE) == ""


# --- buttons ---------------------------------------------------------------------------------------------------------

LAUNCH = {
    "Colab": "https://colab.research.google.com/github/someone/course/blob/main/book/chapter.ipynb",
    "Binder": "https://mybinder.org/v2/gh/someone/course/main?urlpath=lab/tree/book/chapter.ipynb",
}


@pytest.fixture(scope="module")
def books(tmp_path_factory):
    """A book of one page and one chapter, built for each of several addresses: {address: folder}."""
    built = {}
    for url in ("", "https://github.com/someone/course", "https://git.example.org/someone/course"):
        folder = tmp_path_factory.mktemp("book")
        smallbook.prepare(folder)
        (folder / "_toc.yml").write_text("format: jb-book\nroot: book/intro\nchapters:\n  - file: book/chapter\n")
        (folder / "book" / "intro.md").write_text("# First\n\nText.\n")
        cells = [nbformat.v4.new_markdown_cell("# A chapter", id="title"), nbformat.v4.new_code_cell("1", id="one")]
        notebook = nbformat.v4.new_notebook(cells=cells, metadata=nbformat.from_dict({"kernelspec": KERNEL}))
        nbformat.write(repository.with_first_cell(notebook, repository.Addresses(url)), folder / "book/chapter.ipynb")
        set_addresses(folder, url, f"{url}/pages" if url else "")
        process = subprocess.run(
            [sys.executable, "tools/book.py"], cwd=folder, capture_output=True, text=True, timeout=120
        )
        assert process.returncode == 0, process.stderr
        built[url] = folder / "_build" / "html"
    return built


def links(page):
    """Return the targets of all links of a built page."""
    return re.findall(r'href="([^"]*)"', page.read_text(encoding="utf-8").replace("&amp;", "&"))


def test_a_chapter_can_be_opened_on_colab_and_binder_and_a_page_of_text_cannot(books):
    folder = books["https://github.com/someone/course"] / "book"
    assert set(LAUNCH.values()) <= set(links(folder / "chapter.html"))
    assert not [link for link in links(folder / "intro.html") if "colab" in link or "binder" in link]


@pytest.mark.parametrize("page", ["intro", "chapter"])
def test_every_page_leads_to_its_source_its_issues_and_an_editor(books, page):
    found = links(books["https://github.com/someone/course"] / "book" / f"{page}.html")
    suffix = "md" if page == "intro" else "ipynb"
    assert "https://github.com/someone/course" in found
    assert f"https://github.com/someone/course/edit/main/book/{page}.{suffix}" in found
    assert any(link.startswith("https://github.com/someone/course/issues/new") for link in found)


def test_a_repository_that_the_services_do_not_know_gets_no_buttons(books):
    for url in ("", "https://git.example.org/someone/course"):
        for page in ("intro", "chapter"):
            html = books[url] / "book" / f"{page}.html"
            assert not [link for link in links(html) if re.search(r"colab|binder|issues|edit/|course$", link)]


def test_a_chapter_can_always_be_downloaded_and_shows_no_cell_that_installs(books):
    for folder in books.values():
        page = folder / "book" / "chapter.html"
        assert "../_sources/book/chapter.ipynb" in links(page)
        assert "find_spec" not in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", ["intro", "chapter"])
def test_the_buttons_ask_nothing_of_another_host_while_the_page_is_read(browser, books, page):
    with Site(books["https://github.com/someone/course"]) as site:
        assert visit(browser, site, f"book/{page}.html", "http") == []


# --- licences --------------------------------------------------------------------------------------------------------


def test_the_footer_names_both_licences_and_leads_to_those_of_embedded_parts(books):
    for page in ("intro", "chapter"):
        html = (books[""] / "book" / f"{page}.html").read_text(encoding="utf-8")
        footer = html[html.index('<footer class="bd-footer') :]
        assert "CC BY 4.0" in footer and "BSD 3-Clause" in footer
        assert "../_static/licences.txt" in footer
    assert (books[""] / "_static" / "licences.txt").is_file()
