"""Sphinx extension: what search engines and messengers are told of a page.

* A description: the first sentences of the page, of 80 to 160 characters, or the field `description` of its front
  matter (`myst: html_meta: description: ...`).
* The tags by which a link to the page is shown with a title, a description and, when the book's address is known
  (`html: baseurl:` in _config.yml), a picture.
* What Sphinx says wrongly of a page: entries of the bibliography, and parameters of a signature, are items of a list.
"""

import html
import re

from docutils import nodes

SHORTEST, LONGEST = 80, 160
# The parameters of a long signature, one a line: a list of definitions without terms.
PARAMETERS = re.compile(r"<dl>((?:\s*<dd><em class=\"sig-param\">.*?</dd>)+\s*)</dl>", re.DOTALL)
FORMULA = "\N{REPLACEMENT CHARACTER}"  # stands for one until its sentence is left out
CARD = ("_static/card.png", 1200, 630, "The gradient in each of forty layers: it vanishes with sigmoid, not with SELU")
# Of pages that are made, not written.
MADE = {
    "search": "Search the chapters, exercises and figures of the course on deep networks, vanishing gradients and "
    "self-normalizing networks.",
    "genindex": "The index of the course on deep networks: names of the package and terms, with links to where the "
    "course explains them.",
}


def opening(doctree):
    """Return the texts of the paragraphs that stand directly in the sections of a page, in order."""
    sections = doctree.findall(nodes.section)
    return [plain(child) for section in sections for child in section if isinstance(child, nodes.paragraph)]


def plain(paragraph):
    """Return the text of a paragraph, with a mark in place of each formula and without citations."""
    parts = []
    for node in paragraph.findall(nodes.Text):
        parts.append(FORMULA if isinstance(node.parent, nodes.math) else node.astext())
    return re.sub(r" *\[[^\]]*\d{4}\]", "", re.sub(r"\s+", " ", "".join(parts)))


def sentences(paragraphs):
    """Yield the sentences without formulas, in order."""
    for paragraph in paragraphs:
        for sentence in re.split(r"(?<=[.?!:])[”\"']?\s+(?=[A-Z“\"])", paragraph):
            if FORMULA not in sentence and len(sentence) > 8:
                yield sentence.strip()


def shortened(text):
    """Return a text that is too long, up to a word, with an ellipsis."""
    if len(text) <= LONGEST:
        return text
    kept = text[:LONGEST].rsplit(" ", 1)[0].rstrip(" ,;:")
    return kept if kept.endswith((".", "?", "!")) else kept[: LONGEST - 1] + "…"


def description(title, paragraphs):
    """Return the first sentences of a page, as many as fit; where its very first holds a formula, after its title."""
    text = title if paragraphs and FORMULA in paragraphs[0].partition(". ")[0] else ""
    for sentence in sentences(paragraphs):
        longer = f"{text} {sentence}".strip()
        if len(longer) > LONGEST:
            if len(text) >= SHORTEST:
                break
            return shortened(longer)
        text = longer
    return text


def tag(name, content, kind="name"):
    """Return one meta tag."""
    return f'<meta {kind}="{name}" content="{html.escape(content, quote=True)}" />\n'


def written(metatags):
    """Return the description that the front matter of a page gives, or nothing."""
    for found in re.findall(r"<meta [^>]*>", metatags):
        if 'name="description"' in found:
            return html.unescape(re.search(r'content="([^"]*)"', found).group(1))
    return ""


def describe(app, pagename, templatename, context, doctree):
    """Add the tags to one page."""
    metatags = context.get("metatags", "")
    given = written(metatags)
    title = re.sub(r"<[^>]+>", "", html.unescape(context.get("title", ""))) or app.config.html_title
    text = given or MADE.get(pagename) or (description(title, opening(doctree)) if doctree is not None else "")
    tags = [] if given or not text else [tag("description", text)]
    tags.append(tag("og:title", title, "property"))
    tags.append(tag("og:type", "website" if pagename == app.config.root_doc else "article", "property"))
    tags.append(tag("og:site_name", app.config.html_title, "property"))
    if text:
        tags.append(tag("og:description", text, "property"))
    tags += addresses(app.config.html_baseurl, pagename)
    context["metatags"] = metatags + "\n" + "".join(tags)
    if pagename == app.config.root_doc:
        context["docstitle"] = ""  # its own title says all
    context["body"] = corrected(context.get("body", ""))


def corrected(body):
    """Return the text of a page with the lists as lists that Sphinx writes otherwise: references, parameters."""
    body = body.replace('role="doc-biblioentry"', 'role="listitem"')
    return PARAMETERS.sub(
        lambda found: '<dl role="list">' + found.group(1).replace("<dd>", '<dd role="listitem">') + "</dl>", body
    )


def addresses(base, pagename):
    """Return the tags that need the book's address: where the page stands, and its picture."""
    if not base:
        return [tag("twitter:card", "summary")]
    base = base.rstrip("/") + "/"
    path, width, height, alternative = CARD
    return [
        tag("og:url", f"{base}{pagename}.html", "property"),
        tag("og:image", base + path, "property"),
        tag("og:image:width", str(width), "property"),
        tag("og:image:height", str(height), "property"),
        tag("og:image:alt", alternative, "property"),
        tag("twitter:card", "summary_large_image"),
    ]


def setup(app):
    """Connect the step to Sphinx."""
    app.connect("html-page-context", describe)
    return {
        "version": "1",
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
