"""Sphinx extension: the package's functions on pages of their own, from their docstrings, and links to them.

    ```{api} snnlib.moments
    ```

shows everything public in a module by autodoc. The docstrings are written to be read in an editor; here they become
what Sphinx reads: "name : what it is" a definition, `name` a link or code, an indented formula a block, "eq-..." and
"book/..." links into the book. What a chapter names for the first time in its text, `moments.moment_map` or
`FixedPoint`, becomes a link to its entry, and at its end a chapter lists what its code takes from the package.
"""

import ast
import functools
import itertools
import json
import re
import textwrap

import packageapi
from chapters import ROOT, notebooks
from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

PAGES = "book/reference/api"
HEADING = re.compile(r"^-{3,}$")
DEFINITION = re.compile(r"^(\*{0,2}\w[\w.]*(?:, \*{0,2}\w[\w.]*)*) : (.*)$")
BORDER = re.compile(r"^ *=+(?: +=+)+$")
ITEM = r"^(-|\d+\.) "
LITERAL = re.compile(r"``(.+?)``|`([^`]+)`", re.DOTALL)
PLACES = re.compile(r"\b(?:book/[\w-]+/[\w-]+|(?:eq|thm|def|lem|ass)-[a-z0-9]+(?:-[a-z0-9]+)*)\b")
CODE = re.compile(r"\b(?:[A-Z]\w*Error|Mistake|Interrupted)\b|\$[A-Z][A-Z_]+\b")  # errors, and what the shell knows
DIRECTIVE = re.compile(r"^```\{api\} ([\w.]+)\n```$", re.MULTILINE)
ROLES = {"eq": "eq", **dict.fromkeys(("thm", "def", "lem", "ass"), "prf:ref")}
LONGEST_VALUE = 60
NAME = re.compile(r"^[A-Za-z_]\w*(?:\.\w+)*$")


# --- names ------------------------------------------------------------------------------------------------------------


def page_of(module):
    """Return the page of a module: parts of a package stand on the page of the package."""
    return f"{PAGES}/{module.split('.')[1]}"


def full_name(text, module=""):
    """Return the full name of what a text such as `moments.jacobian` or `Network.forward()` names, or None.

    A name without its module counts in `module` itself, and where one module alone has it, common words apart.
    """
    name = text.removesuffix("()")
    if not NAME.match(name):
        return None
    if name.isalpha() and name.islower():
        return f"{module}.{name}" if f"{module}.{name}" in packageapi.index() else None
    known, short = packageapi.index(), packageapi.short_names()
    whole = name if name.startswith(f"{packageapi.PACKAGE}.") else f"{packageapi.PACKAGE}.{name}"
    for candidate in (f"{module}.{name}", whole, short.get(name), short.get(whole.rpartition(".")[2])):
        if candidate in known and (candidate == whole or "." not in name or candidate.endswith(f".{name}")):
            return candidate
    if whole in known or (whole in packageapi.modules() and whole != packageapi.PACKAGE):
        return whole
    last = short.get(whole.rpartition(".")[2], "")
    return last if last.startswith(whole.rpartition(".")[0] + ".") else None


# --- docstrings -------------------------------------------------------------------------------------------------------


def escaped(text):
    """Return plain text in which nothing is markup, **strong** words excepted."""
    parts = re.split(r"(\*\*[^*\s][^*]*\*\*)", text)
    return "".join(part if i % 2 else re.sub(r"([\\*|_`<>])", r"\\\1", part) for i, part in enumerate(parts))


def linked(text, module):
    """Return text, markup escaped, with links to places of the book; errors and variables of the shell are code."""
    result, end = [], 0
    for match in re.finditer(f"{PLACES.pattern}|{CODE.pattern}", text):
        found = match.group()
        role = ROLES.get(found.partition("-")[0])
        if found.startswith("book/"):
            if not (ROOT / f"{found}.ipynb").exists():
                continue
            markup = f":doc:`{short_title(found)} </{found}>`"
        elif role:
            markup = f":{role}:`{found}`"
        else:
            name = full_name(found, module)
            markup = f":py:obj:`{found} <{name}>`" if name else f"``{found}``"
        result += [escaped(text[end : match.start()]), "\\ ", markup, "\\ "]
        end = match.end()
    return "".join([*result, escaped(text[end:])])


def inline(text, module):
    """Return a piece of a docstring's prose as reStructuredText."""
    result, end = [], 0
    for match in LITERAL.finditer(text):
        code = " ".join((match.group(1) or match.group(2)).split())
        name = None if match.group(1) else full_name(code, module)
        markup = f":py:obj:`{code} <{name}>`" if name in packageapi.index() else f"``{code}``"
        result += [linked(text[end : match.start()], module), "\\ ", markup, "\\ "]
        end = match.end()
    return "".join([*result, linked(text[end:], module)])


def blocks(lines):
    """Split lines at empty ones, yield the pieces; a piece with deeper lines behind it keeps its indentation."""
    piece = []
    for line in [*lines, ""]:
        if line.strip():
            piece.append(line)
        elif piece:
            yield piece
            piece = []


def table(lines, module):
    """Return a simple table of reStructuredText as a list of definitions."""
    columns = [match.span() for match in re.finditer("=+", lines[0])]
    rows = []
    for line in lines[1:-1]:
        first, second = line[slice(*columns[0])].strip(), line[columns[1][0] :].strip()
        if len(columns) > 1 and len(line[: columns[1][0]].rstrip()) > columns[0][1]:  # a name that is too long
            first, _, second = line.strip().partition("  ")
        if first:
            rows.append([first, second.strip()])
        else:
            rows[-1][1] += " " + second
    return [line for first, second in rows for line in (inline(first, module), "    " + inline(second, module), "")]


def definition(lines, module):
    """Return the items of a section "name : what it is" as a list of definitions."""
    result = []
    while lines:
        names, text = DEFINITION.match(lines.pop(0)).groups()
        body = []
        while lines and (not lines[0].strip() or lines[0].startswith(" ")):
            body.append(lines.pop(0))
        described = [text, *textwrap.dedent("\n".join(body)).splitlines()] if text else body
        result.append(", ".join(f"``{name}``" for name in names.split(", ")))
        result += textwrap.indent("\n".join(converted(described, module)), "    ").splitlines()
        result.append("")
    return result


def listing(lines, module):
    """Return a list with dashes or numbers."""
    parts = re.split(ITEM, "\n".join(lines), flags=re.MULTILINE)[1:]
    marks = zip(parts[::2], parts[1::2], strict=True)
    return [f"{mark} {inline(' '.join(item.split()), module)}" for mark, item in marks]


def converted(lines, module):
    """Return the lines of a docstring, or of a part of one, as reStructuredText."""
    result, lines = [], list(lines)
    while lines:
        line = lines[0]
        if not line.strip():
            lines.pop(0)
        elif len(lines) > 1 and HEADING.match(lines[1]):
            result += [f".. rubric:: {lines[0]}", ""]
            del lines[:2]
        elif BORDER.match(line):
            end = next(i for i, other in enumerate(lines) if i and BORDER.match(other)) + 1
            result += table(lines[:end], module)
            del lines[:end]
        elif line.startswith(">>>"):
            piece = next(blocks(lines))
            result += [".. code-block:: pycon", "", *("    " + part for part in piece), ""]
            del lines[: len(piece)]
        elif line.startswith(" "):
            end = next((i for i, other in enumerate(lines) if other.strip() and not other.startswith(" ")), len(lines))
            deep = textwrap.dedent("\n".join(lines[:end])).splitlines()
            if BORDER.match(deep[0]):
                result += table([part for part in deep if part.strip()], module)
            else:
                result += [".. code-block:: text", "", *("    " + part for part in deep), ""]
            del lines[:end]
        elif line.strip() == "::":
            lines.pop(0)
        elif DEFINITION.match(line) and (len(lines) == 1 or not lines[1].strip() or is_item(lines)):
            end = next((i for i, other in enumerate(lines) if ends_items(lines, i)), len(lines))
            result += definition(lines[:end], module)
            del lines[:end]
        else:
            piece = next(blocks(lines))
            cut = next((i for i, other in enumerate(piece) if other.startswith((" ", ">>>")) and i), len(piece))
            if re.match(ITEM, line):
                result += [*listing(piece, module), ""]
                cut = len(piece)
            else:
                result += [inline("\n".join(piece[:cut]), module), ""]
            del lines[:cut]
    return result


def is_item(lines):
    """Whether the lines that begin with a name and a colon are the items of a section."""
    return lines[1].startswith(" ") or bool(DEFINITION.match(lines[1]))


def ends_items(lines, i):
    """Whether the items of a section end before line i."""
    line = lines[i]
    return i > 0 and bool(line.strip()) and not line.startswith(" ") and not DEFINITION.match(line)


def process_docstring(app, what, name, obj, options, lines):
    """Let autodoc read what the package's docstrings say."""
    lines[:] = converted(lines, name if what == "module" else module_of(name))


def module_of(name):
    """Return the module that something public stands in."""
    return max((module for module in packageapi.modules() if name.startswith(f"{module}.")), key=len, default="")


# --- the pages --------------------------------------------------------------------------------------------------------


@functools.cache
def short_title(page):
    """Return the title of a chapter up to its question."""
    path = ROOT / f"{page}.ipynb"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    title = next(line for line in "".join(cells[0]["source"]).splitlines() if line.startswith("# "))
    return title.removeprefix("# ").partition(":")[0].rstrip("?")


def chapters_of(module):
    """Return the chapters whose code imports a module, or one in it."""
    return [
        path.relative_to(ROOT).with_suffix("").as_posix()
        for path in notebooks()
        if any(name == module or name.startswith(f"{module}.") for name in taken(path))
    ]


def is_written_out(node):
    """Whether an expression consists of numbers and texts."""
    try:
        ast.literal_eval(node)
    except ValueError:
        return False
    return True


def process_signature(app, what, name, obj, options, signature, returns):
    """Show the fields of a record, or the state of a figure, as the source has them, the private ones left out."""
    item = packageapi.index().get(name)
    if what != "class" or not item:
        return None
    if not packageapi.is_record(item.node):
        assigned = [node for node in item.node.body if isinstance(node, ast.Assign) and is_trait(node.value)]
        traits = [trait(node) for node in assigned if not node.targets[0].id.startswith("_")]
        return (f"(*, {', '.join(traits)})", returns) if traits else None
    annotated = [part for part in item.node.body if isinstance(part, ast.AnnAssign)]
    shown = [part for part in annotated if not part.target.id.startswith("_")]
    return f"({', '.join(map(field, shown))})", returns


def is_trait(node):
    """Whether an expression makes a part of the state of a figure that one can move."""
    return isinstance(node, ast.Call) and ("Real(" in ast.unparse(node) or "tag(sync=True)" in ast.unparse(node))


def trait(node):
    """Return one part of the state as an argument with its default."""
    made = node.value
    while isinstance(made.func, ast.Attribute) and isinstance(made.func.value, ast.Call):
        made = made.func.value  # what is tagged
    given = {keyword.arg: keyword.value for keyword in made.keywords}
    first = (
        1 if ast.unparse(made.func).endswith((".Enum", ".List")) else 0
    )  # before the default: the values that may be
    default = given.get("default_value") or (made.args[first] if len(made.args) > first else None)
    name = node.targets[0].id
    return f"{name} = {ast.unparse(default)}" if default is not None else name


def field(node):
    """Return one field of a record as an argument."""
    default = node.value
    if isinstance(default, ast.Call) and ast.unparse(default.func) == "field":
        made = {keyword.arg: ast.unparse(keyword.value) for keyword in default.keywords}
        default = made.get("default") or (f"{made['default_factory']}()" if "default_factory" in made else None)
    elif default is not None:
        default = ast.unparse(default)
    text = f"{node.target.id}: {ast.unparse(node.annotation)}"
    return text if default is None else f"{text} = {default}"


def entry(item):
    """Return the directive of one public thing, as lines of reStructuredText."""
    if item.kind == "constant":
        short = len(ast.unparse(item.node.value)) <= LONGEST_VALUE and is_written_out(item.node.value)
        return [f".. autodata:: {item.path}", *([] if short else ["   :no-value:"]), ""]
    if item.kind == "function":
        return [f".. autofunction:: {item.path}", ""]
    own = [
        other.name.split(".")[1] for other in packageapi.items(item.module) if other.name.startswith(item.name + ".")
    ]
    options = [f"   :members: {', '.join(own)}"] if own else []
    options += ["   :special-members: __call__"] if "__call__" in own else []
    return [f".. autoclass:: {item.path}", *options, "   :member-order: bysource", ""]


def shown(module):
    """Return the text of a module's part of a page, in MyST."""
    lines = ["```{eval-rst}", f".. automodule:: {module}", ""]
    for item in packageapi.items(module):
        if "." not in item.name:
            lines += entry(item)
    return "\n".join([*lines, "```", ""])


def expand(app, docname, text):
    """Put the entries of a module in the place of the directive that names it."""

    def page(match):
        module = match.group(1)
        inner = [name for name in packageapi.modules() if name.startswith(f"{module}.")]
        chapters = ", ".join(f"{{doc}}`{short_title(page)} </{page}>`" for page in chapters_of(module))
        parts = [f"*Chapters that use it:* {chapters}.\n" if chapters else "", shown(module)]
        parts += [f"## `{name.removeprefix(packageapi.PACKAGE + '.')}`\n\n{shown(name)}" for name in inner]
        return "\n".join(parts)

    if docname.startswith(f"{PAGES}/"):
        text[0] = DIRECTIVE.sub(page, text[0])


def outdated(app, env, added, changed, removed):
    """Return the pages whose list of chapters is no longer right."""
    tops = [module for module in packageapi.modules() if module.count(".") == 1]
    now = {page_of(module): chapters_of(module) for module in tops}
    before, env.snn_chapters = getattr(env, "snn_chapters", {}), now
    return [page for page in now if page in env.found_docs and before.get(page) != now[page]]


# --- links from the chapters ------------------------------------------------------------------------------------------


@functools.cache
def code_of(path):
    """Return the syntax trees of a notebook's code cells."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [ast.parse("".join(cell["source"])) for cell in cells if cell["cell_type"] == "code"]


def imports(path):
    """Return {name in a notebook: full name} of what it imports from the package."""
    found = {}
    for node in itertools.chain.from_iterable(ast.walk(part) for part in code_of(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == packageapi.PACKAGE:
            found.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
        elif isinstance(node, ast.Import):
            found.update({alias.asname: alias.name for alias in node.names if alias.asname and "snnlib" in alias.name})
    return found


@functools.cache
def taken(path):
    """Return the full names of what a notebook's code takes from the package, sorted."""
    found, names = imports(path), set()
    for node in itertools.chain.from_iterable(ast.walk(part) for part in code_of(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in found:
            names.add(full_name(f"{found[node.value.id]}.{node.attr}"))
        elif isinstance(node, ast.Name) and node.id in found:
            names.add(full_name(found[node.id]))
    return sorted(name for name in names if name in packageapi.index())


def defined_in(path):
    """Return the names that a notebook gives to things of its own."""
    walked = itertools.chain.from_iterable(ast.walk(part) for part in code_of(path))
    nodes_of_interest = [node for node in walked if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Name)]
    return {
        node.id if isinstance(node, ast.Name) else node.name
        for node in nodes_of_interest
        if not isinstance(node, ast.Name) or isinstance(node.ctx, ast.Store)
    }


def reference(name, content):
    """Return a link to something public around a node."""
    kind = "mod" if name in packageapi.modules() else "obj"
    link = addnodes.pending_xref(
        "", content, refdomain="py", reftype=kind, reftarget=name, refexplicit=True, refwarn=True
    )
    link["classes"].append("snn-api")
    return link


class Links(SphinxTransform):
    """Link what a page names in its text for the first time; list at its end what its code takes from the package."""

    default_priority = 400

    def apply(self, **kwargs):
        """Change the page."""
        if self.env.docname.startswith(PAGES):
            return
        path = ROOT / f"{self.env.docname}.ipynb"
        own = defined_in(path) if path.exists() else set()
        seen = set()
        for literal in list(self.document.findall(nodes.literal)):
            name = self.named(literal.astext(), own)
            if name and name not in seen and not self.is_fixed(literal):
                seen.add(name)
                literal.replace_self(reference(name, literal.deepcopy()))
        taken_here = taken(path) if path.exists() else []
        names = [name for name in taken_here if packageapi.index()[name].kind != "constant"]
        sections = [child for child in self.document.findall(nodes.section) if isinstance(child.parent, nodes.section)]
        if names and sections:
            [child for child in sections if child.parent is sections[0].parent][-1].append(self.closing(names))

    def named(self, text, own):
        """Return the full name of what a piece of code names beyond doubt, or None."""
        name = text.removesuffix("()")
        found = full_name(name) if name not in own else None
        return found if found in packageapi.index() or found in packageapi.modules() else None

    def is_fixed(self, node):
        """Whether a node stands where no link may be."""
        while node is not None:
            if isinstance(node, nodes.title | nodes.reference | addnodes.pending_xref):
                return True
            node = node.parent
        return False

    def closing(self, names):
        """Return the paragraph on what a chapter takes from the package."""
        paragraph = nodes.paragraph("", "", nodes.emphasis("", "From the package:"), classes=["snn-used"])
        for name in names:
            text = f"{name.split('.')[1]}.{name.rpartition('.')[2]}"
            paragraph += [nodes.Text(" " if len(paragraph) == 1 else ", "), reference(name, nodes.literal(text, text))]
        paragraph += nodes.Text(".")
        return paragraph


def setup(app):
    """Connect the steps to Sphinx."""
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("source-read", expand)
    app.connect("env-get-outdated", outdated)
    app.connect("autodoc-process-docstring", process_docstring)
    app.connect("autodoc-process-signature", process_signature)
    app.add_transform(Links)
    return {
        "version": "1",
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
