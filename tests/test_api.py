"""The pages on the package: everything public is there, and its docstring says what one needs to call it."""

import ast
import doctest
import importlib.util
import re
import subprocess
import sys

import packageapi
import pytest
from chapters import ROOT, pages

HTML = ROOT / "_build" / "html"
INDEX = packageapi.index()
CALLED = [item for item in INDEX.values() if item.kind != "constant"]
# What other parts of the course rely on: each shows an example.
PROMISED = (
    *("activations.get", "activations.names", "activations.selu", "activations.Activation", "gaussian.expectation"),
    *("moments.moment_map", "moments.jacobian", "moments.iterate", "moments.fixed_point", "moments.selu_constants"),
    *("moments.alpha_dropout_affine", "contraction.Domain", "contraction.certify", "backprop.Network"),
    *("backprop.Network.forward", "backprop.Network.backward", "backprop.softmax_cross_entropy"),
    *("backprop.check_gradients", "meanfield.variance_fixed_point", "meanfield.chi", "meanfield.depth_scale"),
    *("meanfield.critical_sigma_w", "propagation.jacobian_singular_values", "propagation.lyapunov_exponents"),
    *("propagation.layer_statistics", "initialization.initialize", "networks.fully_connected"),
    *("datasets.fashion_mnist", "datasets.bacteria", "datasets.tabular", "datasets.read_idx"),
    *("training.fit", "training.evaluate"),
)
WITHOUT_TORCH = ("activations", "gaussian", "moments", "meanfield", "initialization", "backprop", "contraction")
NO_EXAMPLES = ("live", "explorables")  # they need a notebook around them
SECTION = re.compile(r"^(Parameters|Attributes)\n-{3,}\n(.*?)(?=^\w+\n-{3,}\n|\Z)", re.MULTILINE | re.DOTALL)
ENTRY = re.compile(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*) : ", re.MULTILINE)


def each(items):
    """Run the test once for every item, under its name."""
    return pytest.mark.parametrize("item", items, ids=lambda item: item.path.removeprefix("snnlib."))


def words(text):
    """The words of a text, names with underscores whole."""
    return set(re.findall(r"\w+", text))


def owner(item):
    """The class of a method, or None."""
    return INDEX.get(f"{item.module}.{item.name.rpartition('.')[0]}")


def texts(item):
    """The docstring of an item, of its class, and of what it refers to ("as in `fit`", "those of `chi`")."""
    found = [item.doc, *([owner(item).doc] if owner(item) else [])]
    pattern = r"\b(?:as in|as for|those of|does|as)\s+`([\w.]+)`|`([\w.]+)`(?: and `([\w.]+)`)?\s+does?\b"
    for name in filter(None, (name for groups in re.findall(pattern, item.doc) for name in groups)):
        place = [other for other in INDEX if other.endswith(f".{name}")]
        found += [INDEX[other].doc for other in sorted(place, key=lambda other: not other.startswith(item.module))[:1]]
    return found


def own_nodes(node):
    """What a function's body consists of, without the functions in it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            yield child
            yield from own_nodes(child)


def raised(node):
    """The names of the exceptions that a function's own body raises; what it passes on is not counted."""
    found = set()
    for part in own_nodes(node):
        if isinstance(part, ast.Raise) and part.exc is not None:
            error = part.exc.func if isinstance(part.exc, ast.Call) else part.exc
            name = ast.unparse(error).rpartition(".")[2]
            if name[0].isupper() and name != "NotImplementedError":
                found.add(name)
    return found


def undocumented(item):
    """The parameters that no docstring mentions."""
    mentioned = words("\n".join(texts(item)))
    return [name for name in packageapi.parameters(item) if not name.startswith("_") and name not in mentioned]


def invented(item):
    """The names that a docstring describes and that do not exist."""
    found = []
    for title, body in SECTION.findall(item.doc):
        names = [name.lstrip("*") for group in ENTRY.findall(body) for name in group.split(", ")]
        known = set(packageapi.parameters(item))
        if item.kind == "class":
            known |= set(packageapi.fields(item)) | properties(item)
        found += [f"{title}: {name}" for name in names if name not in known]
    return found


def properties(item):
    """The names of the properties of a class."""
    return {
        other.name.rpartition(".")[2]
        for other in packageapi.items(item.module)
        if other.kind == "property" and owner(other) is item
    }


def unannounced(item):
    """The exceptions that an item raises itself and does not name."""
    methods = [item.node]
    if item.kind == "class":
        methods = [
            part for part in item.node.body if getattr(part, "name", "") in ("__init__", "__post_init__", "__new__")
        ]
    errors = set().union(*(raised(method) for method in methods)) if methods else set()
    return sorted(error for error in errors if error not in words("\n".join(texts(item))))


@each(list(INDEX.values()))
def test_everything_public_is_documented(item):
    assert item.doc.strip(), f"{item.path} has no docstring (a constant: no comment that begins with #:)"


@pytest.mark.parametrize("module", packageapi.modules())
def test_every_module_says_what_it_is_for(module):
    assert ast.get_docstring(packageapi.tree(module))


@each(CALLED)
def test_every_parameter_is_mentioned(item):
    assert undocumented(item) == []


@each(CALLED)
def test_a_docstring_describes_nothing_that_does_not_exist(item):
    assert invented(item) == []


@each(CALLED)
def test_a_docstring_names_every_error_that_its_function_raises(item):
    assert unannounced(item) == []


@pytest.mark.parametrize("name", PROMISED)
def test_what_others_rely_on_shows_an_example(name):
    item = INDEX[f"snnlib.{name}"]
    assert ">>> " in item.doc or (owner(item) and ">>> " in owner(item).doc)


def test_the_examples_of_the_numpy_modules_need_no_torch():
    code = (
        "import doctest, importlib, sys; sys.modules['torch'] = None; "
        f"found = [doctest.testmod(importlib.import_module('snnlib.' + name)) for name in {WITHOUT_TORCH}]; "
        "print(sum(one.attempted for one in found), sum(one.failed for one in found))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    attempted, failed = map(int, ran.stdout.split()[-2:])
    assert attempted > 20 and failed == 0, ran.stdout


@pytest.mark.parametrize("module", [name for name in packageapi.modules() if name.count(".") == 1])
def test_a_module_has_its_page(module):
    page = f"book/reference/api/{module.removeprefix('snnlib.')}"
    assert page in pages()
    assert f"```{{api}} {module}\n```" in (ROOT / f"{page}.md").read_text(encoding="utf-8")


@each(list(INDEX.values()))
def test_the_built_page_has_an_entry_for_everything_public(item):
    page = HTML / "book" / "reference" / "api" / f"{item.module.split('.')[1]}.html"
    assert page.exists(), "run `make book` first"
    assert f'id="{item.path}"' in page.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def extension():
    """The Sphinx extension that makes the pages."""
    spec = importlib.util.spec_from_file_location("api_pages", ROOT / "book" / "_ext" / "api.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("moments.jacobian", "snnlib.moments.jacobian"),
        ("snnlib.propagation.jacobian", "snnlib.propagation.jacobian"),
        ("moment_map()", "snnlib.moments.moment_map"),
        ("Network.forward", "snnlib.backprop.Network.forward"),
        ("snnlib.explorables.Chain", "snnlib.explorables.chain.Chain"),
        ("snnlib.backprop", "snnlib.backprop"),
        ("jacobian", None),  # two modules have one
        ("seed", None),  # a word that many functions take
        ("plt.show", None),
        ("moments.no_such_name", None),
        ("a + b", None),
    ],
)
def test_a_piece_of_code_is_linked_where_it_names_something_public_beyond_doubt(extension, text, name):
    assert extension.full_name(text) == name


def test_a_docstring_becomes_what_sphinx_reads(extension):
    lines = [
        "Of `iterate` and x|y; eq-chi.",
        "",
        "Parameters",
        "----------",
        "mu, nu : two",
        "    numbers.",
        ">>> 1",
        "1",
    ]
    text = "\n".join(extension.converted(lines, "snnlib.moments"))
    assert ":py:obj:`iterate <snnlib.moments.iterate>`" in text
    assert "x\\|y" in text and ":eq:`eq-chi`" in text
    assert ".. rubric:: Parameters\n\n``mu``, ``nu``\n    two\n    numbers.\n" in text
    assert ".. code-block:: pycon\n\n    >>> 1\n    1" in text


def test_the_signature_of_a_record_shows_its_public_fields(extension):
    shown, _ = extension.process_signature(None, "class", "snnlib.activations.Activation", None, None, "", None)
    assert shown.startswith("(name: str, f: Callable[[ArrayLike], Array], ") and "_module" not in shown


def test_the_signature_of_a_figure_shows_its_state(extension):
    shown, _ = extension.process_signature(
        None, "class", "snnlib.explorables.train_here.TrainHere", None, None, "", None
    )
    assert shown.startswith("(*, activation = 'sigmoid', initialization = 'lecun', depth = 30, ")


def test_a_chapter_links_to_what_it_takes_from_the_package():
    page = (HTML / "book" / "self-normalizing" / "fixed-points.html").read_text(encoding="utf-8")
    assert "reference/api/moments.html#snnlib.moments.fixed_point" in page
    assert 'class="snn-used"' in page


# --- the checks themselves: each kind of fault, planted in a function, is found ---------------------------------------

SOURCE = '''
def stretched(z, factor=2.0):
    """{doc}"""
    if factor < 0:
        raise ValueError("factor must not be negative")
    return factor * z
'''


def planted(doc):
    """A function with this docstring."""
    node = ast.parse(SOURCE.format(doc=doc)).body[0]
    return packageapi.Item("snnlib.planted", "stretched", "function", ast.get_docstring(node), node)


def test_faults_would_be_noticed():
    parameters = "Parameters\n    ----------\n    z : array.\n    factor : 0 or more."
    sound = f"factor times z.\n\n    {parameters}\n\n    Raises ValueError."
    assert (undocumented(planted(sound)), invented(planted(sound)), unannounced(planted(sound))) == ([], [], [])
    assert undocumented(planted(sound.replace("factor : 0", "much : 0").replace("factor times", "much of"))) == [
        "factor"
    ]
    assert invented(planted(sound.replace("z : array", "z, offset : array"))) == ["Parameters: offset"]
    assert unannounced(planted(sound.replace("ValueError", "an error"))) == ["ValueError"]


def test_examples_are_found_where_they_are_and_not_where_they_cannot_run():
    finder = doctest.DocTestFinder(exclude_empty=True)
    for name in NO_EXAMPLES:
        assert not any(test.examples for test in finder.find(importlib.import_module(f"snnlib.{name}")))
