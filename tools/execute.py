"""Run chapters and store their outputs in a form that stays the same where nothing changed.

    python tools/execute.py                    every chapter of the table of contents
    python tools/execute.py one-layer          one chapter, by its name or by its path

A chapter whose cell fails is left as it was; the others still run. A figure that `snnlib.figures.show` publishes
carries its name, caption and alternative text in the output; they are copied to where the book looks for them.
"""

import copy
import re
import sys
import time
from pathlib import Path

import nbformat
from chapters import ROOT, notebooks
from kernels import isolate

CELL_TIMEOUT = 600
NOTEBOOK_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
KEPT_CELL_METADATA = ("mystnb", "nbgrader", "tags")
FIGURE_KEYS = ("name", "caption")
IMAGE_KEYS = ("alt", "width")
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"  # names a model of the kernel that ran, and is random
ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}")
WARNING = re.compile(r"^.*\b\w*Warning: .*$", re.MULTILINE)


class ChapterError(Exception):
    """A chapter could not be run; the message says where and why."""


# --- normal form -----------------------------------------------------------------------------------------------------


def text_of(value):
    """Return notebook text, which is stored as one string or as a list of lines, as one string."""
    return "".join(value) if isinstance(value, list) else str(value)


def merged_streams(outputs):
    """Return the outputs with neighbouring texts of the same stream joined into one."""
    merged = []
    for output in outputs:
        last = merged[-1] if merged else None
        if last and output["output_type"] == last["output_type"] == "stream" and output["name"] == last["name"]:
            last["text"] = text_of(last["text"]) + text_of(output["text"])
        else:
            merged.append(output)
    return merged


def figures_of(cell):
    """Return what the cell's outputs say about the figures that they show."""
    return [
        output["metadata"]["snn_figure"] for output in cell["outputs"] if "snn_figure" in output.get("metadata", {})
    ]


def figure_metadata(figure):
    """Return the cell metadata by which the book gives a figure its number, caption, label and text."""
    return {
        "figure": {key: figure[key] for key in FIGURE_KEYS if figure.get(key)},
        "image": {key: figure[key] for key in IMAGE_KEYS if figure.get(key)},
    }


def normal_cell_metadata(cell):
    """Return the cell's metadata without what editors and runs leave there, and with its figure's description."""
    metadata = {key: cell["metadata"][key] for key in KEPT_CELL_METADATA if cell["metadata"].get(key)}
    if cell["cell_type"] != "code":
        return metadata
    mystnb = {key: value for key, value in metadata.pop("mystnb", {}).items() if key not in ("figure", "image")}
    for figure in figures_of(cell):
        mystnb.update(figure_metadata(figure))
    if mystnb:
        metadata["mystnb"] = mystnb
    return metadata


def normalized(notebook):
    """Return a copy of the notebook in the form in which chapters are stored."""
    notebook = copy.deepcopy(notebook)
    notebook["metadata"] = nbformat.from_dict(NOTEBOOK_METADATA)
    notebook["nbformat"], notebook["nbformat_minor"] = 4, 5
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = merged_streams(cell["outputs"])
            for output in cell["outputs"]:
                output.pop("transient", None)
                output.get("data", {}).pop(WIDGET_VIEW, None)
        cell["metadata"] = nbformat.from_dict(normal_cell_metadata(cell))
    return notebook


def serialized(notebook):
    """Return the notebook's text: sorted keys, one line per line of source, a newline at the end."""
    return nbformat.writes(notebook, version=nbformat.NO_CONVERT).rstrip("\n") + "\n"


# --- what should not be stored ---------------------------------------------------------------------------------------


def shown_text(output):
    """Return all text that an output shows to the reader."""
    if output["output_type"] == "stream":
        return text_of(output["text"])
    if output["output_type"] == "error":
        return "\n".join(output["traceback"])
    return "\n".join(text_of(value) for mime, value in output["data"].items() if mime.startswith("text/"))


def output_problems(output, may_fail):
    """Yield what is wrong with one stored output."""
    text = shown_text(output)
    if output["output_type"] == "stream" and output["name"] == "stderr":
        yield f"writes to stderr: {text.strip().splitlines()[0] if text.strip() else ''}"
    elif output["output_type"] == "error" and not may_fail:
        yield f"stores an error: {output['ename']}: {output['evalue']}"
    elif warning := WARNING.search(text):
        yield f"shows a warning: {warning.group().strip()}"
    if address := ADDRESS.search(text):
        yield f"shows the address of an object: {address.group()}"


def cell_problems(cell):
    """Yield what is wrong with the stored outputs of one code cell."""
    may_fail = "raises-exception" in cell["metadata"].get("tags", [])
    for output in cell["outputs"]:
        yield from output_problems(output, may_fail)
    rich = [output for output in cell["outputs"] if output["output_type"] in ("display_data", "execute_result")]
    if figures_of(cell) and len(rich) > 1:
        yield f"shows a figure and {len(rich) - 1} more: the book captions one per cell, so split the cell"


def problems(notebook):
    """Return one line for each stored output that a reader should not see."""
    return [
        f"cell {number} {problem}"
        for number, cell in enumerate(notebook["cells"], 1)
        if cell["cell_type"] == "code"
        for problem in cell_problems(cell)
    ]


# --- running ---------------------------------------------------------------------------------------------------------


def failing_cell(notebook):
    """Return (number, first line) of the cell that the run stopped in, or (0, "") where none shows it."""
    ran = [number for number, cell in enumerate(notebook["cells"], 1) if cell.get("execution_count")]
    with_error = [
        number
        for number, cell in enumerate(notebook["cells"], 1)
        if any(output["output_type"] == "error" for output in cell.get("outputs", []))
        and "raises-exception" not in cell["metadata"].get("tags", [])
    ]
    number = (with_error or ran or [0])[-1]
    lines = notebook["cells"][number - 1]["source"].strip().splitlines() if number else []
    return number, lines[0] if lines else ""


def run(notebook, folder):
    """Execute the notebook in place with a fresh kernel whose working folder is `folder`."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=CELL_TIMEOUT,
        resources={"metadata": {"path": str(folder)}},
        store_widget_state=False,
        record_timing=False,
        shutdown_kernel="immediate",
    )
    try:
        client.execute()
    except CellExecutionError as error:
        number, line = failing_cell(notebook)
        raise ChapterError(f"cell {number} (`{line}`) fails with {error.ename}: {error.evalue}") from error
    except CellTimeoutError as error:
        raise ChapterError(f"a cell ran longer than {CELL_TIMEOUT} s and was stopped") from error
    except DeadKernelError as error:
        raise ChapterError("the kernel died, perhaps for lack of memory") from error


def execute(path):
    """Run one chapter and store it; return the problems of its outputs. A ChapterError leaves it as it was."""
    try:
        text = path.read_text(encoding="utf-8")
        notebook = nbformat.reads(text, as_version=4)
    except (OSError, ValueError, nbformat.reader.NotJSONError) as error:
        raise ChapterError(f"cannot be read: {error}") from error
    run(notebook, path.parent)
    notebook = normalized(notebook)
    result = serialized(notebook)
    if result != text:
        partial = path.with_suffix(".partial")
        partial.write_text(result, encoding="utf-8")
        partial.replace(path)
    return problems(notebook)


def chosen(names):
    """Return the paths of the chapters that the command line names: by path, or by the name of the file alone."""
    known = sorted(path for path in (ROOT / "book").rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
    paths = []
    for name in names:
        found = [path for path in known if path.stem == Path(name).stem] if "/" not in name else [Path(name).resolve()]
        if len(found) != 1 or not found[0].is_file():
            choices = ", ".join(path.stem for path in known) or "none yet"
            raise ChapterError(f"there is no chapter {name!r}; the chapters are: {choices}")
        paths += found
    return paths or notebooks()


def report(path):
    """Run one chapter and print its line; return whether all went well."""
    start = time.perf_counter()
    name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    try:
        faults = execute(path)
    except ChapterError as error:
        print(f"{name}: {error}; the stored chapter is unchanged", file=sys.stderr)
        return False
    print(f"{time.perf_counter() - start:6.1f} s  {name}", flush=True)
    for fault in faults:
        print(f"{name}: {fault}", file=sys.stderr)
    return not faults


def main(names):
    """Run the named chapters, or all; return the exit status."""
    isolate(ROOT / "_build")
    try:
        results = [report(path) for path in chosen(names)]
    except ChapterError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: the chapter that was running is unchanged", file=sys.stderr)
        return 130
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
