"""Print the built book as one PDF, `_build/course.pdf`: a title page, a table of contents with page numbers, all pages
in the order of `_toc.yml`, solutions unfolded, the code of drawings left out, links and an outline that lead within it.

The pages' articles are put into one document, which Chromium typesets and prints twice: the first print tells on which
page each heading stands, the second has those numbers in its table of contents.
"""

import functools
import posixpath
import re
import sys
import time

import yaml
from browsers import MISSING, chromium_path
from bs4 import BeautifulSoup
from chapters import ROOT, files, pages

BUILD = ROOT / "_build"
HTML = BUILD / "html"
FOLDER = BUILD / "pdf"
PDF = BUILD / "course.pdf"
STYLE = ROOT / "tools" / "pdf.css"
ARGUMENTS = ("--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND")
TEXT_WIDTH = 643  # px: A4 without the margins of pdf.css, 170 mm
LIMIT = 600_000  # ms: to typeset some thousand formulas
# What has no use on paper: buttons, anchors, scripts, and the folded code of drawings.
USELESS = "a.headerlink, script, style, button, .toggle-button, details.hide, .snn-explorable noscript"
NUMERALS = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X")

# Hidden MathML beside each formula would make the file three times as large; the formula's source is read out instead.
PLAINER = "<script>MathJax.options = { ...MathJax.options, enableAssistiveMml: false };</script>"
SETTLED = """async () => {
  await MathJax.startup.promise;
  for (const item of MathJax.startup.document.math) {
    item.typesetRoot.setAttribute("role", "img");
    item.typesetRoot.setAttribute("aria-label", item.math);
  }
  await Promise.all([...document.images].map(picture => picture.decode().catch(() => null)));
  await document.fonts.ready;
}"""
FAULTS = """() => [
  ...[...document.querySelectorAll(".math")].filter(node => !node.querySelector("mjx-container")),
  ...document.querySelectorAll("mjx-merror, [data-mml-node=merror]"),
  ...[...document.images].filter(picture => !picture.naturalWidth),
].map(node => (node.getAttribute("src") || node.textContent).trim().slice(0, 80))"""
# What is wider than the text is made smaller, for paper does not scroll.
FIT = """() => {
  const shrink = (box, node) => {
    const ratio = box.clientWidth / box.scrollWidth;
    if (ratio < 0.999) node.style.zoom = ratio * 0.995;
  };
  document.querySelectorAll("mjx-container[display='true']").forEach(box => shrink(box, box.firstElementChild));
  document.querySelectorAll(".pst-scrollable-table-container").forEach(box => shrink(box, box.firstElementChild));
}"""
NUMBER = """numbers => {
  for (const link of document.querySelectorAll(".contents a"))
    link.querySelector(".number").textContent = numbers[decodeURIComponent(link.hash.slice(1))] ?? "";
}"""


class PrintError(Exception):
    """A reason for printing nothing, which is told in one line."""


def parts():
    """Return (title, pages) of each part of the table of contents; the first, without title, is the opening page."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    listed = [(part["caption"], list(files(part["chapters"]))) for part in toc["parts"]]
    return [("", [toc["root"]]), *listed]


def soup(page):
    """Return the parsed HTML of a page of the book."""
    path = HTML / f"{page}.html"
    if not path.exists():
        raise PrintError(f"{path.relative_to(ROOT)} is missing: run `make book` first")
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


@functools.cache
def slugs():
    """Return {page: what its names begin with in the one document}: p3, by its place in the table of contents."""
    return {page: f"p{number}" for number, page in enumerate(pages())}


def slug(page):
    """Return what the names of a page begin with in the one document."""
    return slugs()[page]


def target(page, link):
    """Return where a link of a page leads to in the one document."""
    if re.match(r"[a-z]+:", link):
        return link
    path, _, anchor = link.partition("#")
    found = posixpath.normpath(posixpath.join(posixpath.dirname(page), path)) if path else f"{page}.html"
    if found.removesuffix(".html") in slugs():
        other = slug(found.removesuffix(".html"))
        return f"#{other}--{anchor}" if anchor else f"#{other}"
    return posixpath.relpath(posixpath.join("html", found), "pdf")


def article(page):
    """Return the text of a page with names that no other page has, links within the document, and one heading lower."""
    text = soup(page).select_one("article.bd-article")
    for node in text.select(USELESS):
        node.decompose()
    for node in text.select("a.image-reference"):
        node.unwrap()
    for node in text.find_all(True):
        if node.get("id"):
            node["id"] = f"{slug(page)}--{node['id']}"
        if node.name == "a" and node.get("href"):
            node["href"] = target(page, node["href"])
        if node.name == "img" and not node["src"].startswith("data:"):
            node["src"] = target(page, node["src"])
            node.attrs.pop("loading", None)
        if node.name == "details":
            node["open"] = ""
    for level in (5, 4, 3, 2, 1):
        for node in text.find_all(f"h{level}"):
            node.name = f"h{level + 1}"
    title = text.find("h2")
    title["class"], title["id"] = "chapter", slug(page)
    return text


def words(heading):
    """Return the inner HTML of a heading."""
    return heading.decode_contents().strip()


def running_head(heading):
    """Return a heading as the plain text of a CSS string, up to a question that follows a colon."""
    text = heading.get_text().strip().partition(":")[0]
    return text.replace("\\", "\\\\").replace('"', '\\"')


def line(anchor, text):
    """Return one line of the table of contents, its page number still unknown."""
    return f'<a href="#{anchor}"><span>{text}</span><span class="dots"></span><span class="number">000</span></a>'


def entries(text):
    """Return the lines of a chapter: its title and those of its sections, which get names of their own.

    The name of a section may stand on the page before, where its first line did not fit.
    """
    sections = [node for node in text.find_all("h3") if node.text]
    for node in sections:
        node["id"] = f"{node.find_parent('section')['id']}--title"
    below = "".join(f"<li>{line(node['id'], words(node))}</li>" for node in sections)
    chapter = text.find("h2")
    return f"<li>{line(chapter['id'], words(chapter))}<ul>{below}</ul></li>"


def head():
    """Return the style sheets and the settings of MathJax, as the book's first page has them."""
    first = pages()[0]
    found = soup(first)
    tags = [
        f'<link rel="stylesheet" href="{target(first, node["href"])}">' for node in found.select("link[rel=stylesheet]")
    ]
    for node in found.select("script"):
        source = node.get("src", "")
        if "mathjax" in source.lower():
            tags.append(f'<script defer src="{target(first, source)}"></script>')
        elif "window.MathJax" in node.text:
            tags += [str(node), PLAINER]
    return "\n".join([*tags, f"<style>{STYLE.read_text(encoding='utf-8')}</style>"])


def document():
    """Return the whole book as one HTML document."""
    title = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["title"]
    body, contents, heads = [], [], []
    for count, (caption, names) in enumerate(parts()):
        label = f"Part {NUMERALS[count - 1]}. {caption}" if caption else ""
        lines = []
        for position, page in enumerate(names):
            text = article(page)
            lines.append(entries(text))
            name = running_head(text.find("h2"))
            heads.append(f'@page {slug(page)} {{ @top-left {{ content: "{name}"; {HEAD} }} }}')
            part = f'<h1 class="part" id="part-{count}">{label}</h1>' if label and not position else ""
            body.append(f'<div class="pdf-page" style="page: {slug(page)}">{part}{text.decode_contents()}</div>')
        contents.append(f"<li>{label}<ul>{''.join(lines)}</ul></li>")
    logo = HTML / "_static" / "logo.svg"
    picture = f'<img src="../html/_static/{logo.name}" alt="">' if logo.exists() else ""
    return PAGE.format(
        title=title, head=head(), heads="\n".join(heads), logo=picture, contents="".join(contents), body="".join(body)
    )


HEAD = 'font: 9pt "Liberation Sans", sans-serif; color: #57616c;'
PAGE = """<!DOCTYPE html>
<html lang="en" data-theme="light" data-mode="light">
<head><meta charset="utf-8"><title>{title}</title>
{head}
<style>{heads}</style>
</head>
<body><article class="bd-article">
<div class="cover">{logo}<div class="cover-title">{title}</div>
<p>The book as it is built, on paper: exercises are followed by their solutions, figures that one can move stand still,
and the code of drawings, which the pages fold, is left out.</p></div>
<div class="contents" style="page: contents"><h1 class="part">Contents</h1><ul>{contents}</ul></div>
{body}
</article></body></html>
"""


def page_numbers(path):
    """Return the page, counted from one, on which each destination of a PDF stands."""
    from pypdf import PdfReader

    reader = PdfReader(path)
    return {
        name.lstrip("/"): reader.get_destination_page_number(place) + 1
        for name, place in reader.named_destinations.items()
    }


def print_twice(source, result):
    """Print the document at `source`, first to learn the page numbers, then with them in the table of contents."""
    from playwright.sync_api import sync_playwright

    if (chromium := chromium_path()) is None:
        raise PrintError(MISSING)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        page = browser.new_page(viewport={"width": TEXT_WIDTH, "height": 900})
        page.set_default_timeout(LIMIT)
        page.emulate_media(media="print", color_scheme="light")
        page.goto(source.as_uri(), wait_until="load")
        page.evaluate(SETTLED)
        if faults := page.evaluate(FAULTS):
            raise PrintError(f"formulas or pictures that cannot be shown: {'; '.join(faults[:5])}")
        page.evaluate(FIT)
        options = {"prefer_css_page_size": True, "print_background": True, "outline": True, "tagged": True}
        for _ in range(2):
            page.pdf(path=result, **options)
            page.evaluate(NUMBER, page_numbers(result))
        browser.close()


def up_to_date():
    """Tell whether the PDF is younger than the built book and than what prints it."""
    sources = [BUILD / "book.json", STYLE, ROOT / "tools" / "pdf.py"]
    return PDF.exists() and all(path.exists() and path.stat().st_mtime < PDF.stat().st_mtime for path in sources)


def main():
    """Print the book when needed, say where it is; return the exit status."""
    start = time.perf_counter()
    if up_to_date():
        print(f"{PDF.relative_to(ROOT)} is up to date.")
        return 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    source = FOLDER / "book.html"
    draft = FOLDER / "course.pdf"
    try:
        source.write_text(document(), encoding="utf-8")
        print_twice(source, draft)
    except PrintError as error:
        print(error, file=sys.stderr)
        return 1
    draft.replace(PDF)
    size = PDF.stat().st_size / 2**20
    print(f"Printed {PDF.relative_to(ROOT)} ({size:.1f} MB) in {time.perf_counter() - start:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
