"""The look of the course's figures, and the drawings that several chapters share.

Ground transparent, axes in a mid-tone grey, lines in the four colours of the Okabe-Ito palette that stand out on white
and on black alike (the blue a little lighter than theirs); line styles change with the colours, so that nothing hangs
on colour alone.
"""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Sequence

import matplotlib.pyplot as plt
from cycler import cycler
from IPython.display import publish_display_data
from matplotlib.axes import Axes
from matplotlib.figure import Figure

#: The colours of lines, from the Okabe-Ito palette; the blue is a little lighter than theirs.
BLUE, VERMILLION, GREEN, PURPLE = "#1F82BF", "#D55E00", "#009E73", "#CC79A7"
GREY = "#7A7A7A"  #: Of axes and texts: about 4.3 : 1 against white and against the dark theme's ground

MAX_WIDTH = 6.5  #: Inches; what a page holds beside its margin.
_DPI = 200

#: The settings of matplotlib that `use_style` makes the default.
STYLE = {
    "figure.figsize": (6.5, 3.2),
    "figure.constrained_layout.use": True,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.facecolor": "none",
    "legend.frameon": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": GREY,
    "axes.titlecolor": GREY,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=[BLUE, VERMILLION, GREEN, PURPLE]) + cycler(linestyle=["-", "--", "-.", ":"]),
    "text.color": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "grid.color": GREY,
    "grid.alpha": 0.25,
    "font.size": 10,
    "lines.linewidth": 2.0,
    "lines.markersize": 5,
    "mathtext.fontset": "cm",
}


def use_style() -> None:
    """Make the course's style the default of matplotlib; each chapter calls it once."""
    plt.rcParams.update(STYLE)


def show(fig: Figure, *, name: str, alt: str, caption: str) -> None:
    """Show a figure, with what the book needs to set it: a label, an alternative text, a caption.

    Parameters
    ----------
    fig : at most 6.5 inches wide; it is closed afterwards.
    name : the label, "fig-..." in lower case with hyphens; the text refers to it by the role `numref`.
    alt : what a reader who cannot see the figure should know; at least 20 characters.
    caption : what the figure shows, in a sentence or two; MyST markup is allowed.

    The picture is a PNG with these three as output metadata; `make execute` copies them to where Jupyter Book looks.

    Raises ValueError when one of them is missing or malformed, or the figure is too wide.
    """
    picture, about = png(fig, name=name, alt=alt, caption=caption)
    publish_display_data({"image/png": picture}, metadata=metadata(about))


def png(fig: Figure, *, name: str, alt: str, caption: str) -> tuple[bytes, dict[str, str]]:
    """Check and close a figure; return its picture, a PNG, and what the book needs to set it.

    fig, name, alt and caption as in `show`, which publishes both; raises ValueError as it does.
    """
    if not re.fullmatch(r"fig-[a-z0-9]+(-[a-z0-9]+)*", name):
        raise ValueError(f"name must look like 'fig-loss-curve', got {name!r}")
    if len(alt.strip()) < 20:
        raise ValueError(f"alt must describe the figure in at least 20 characters, got {alt!r}")
    if not caption.strip():
        raise ValueError("caption must not be empty: say what the figure shows")
    width = fig.get_figwidth()
    if width > MAX_WIDTH:
        raise ValueError(f"a figure is at most {MAX_WIDTH} inches wide, got {width:g}")
    stream = io.BytesIO()
    fig.savefig(stream, format="png", dpi=_DPI, transparent=True)
    plt.close(fig)
    return stream.getvalue(), {"name": name, "alt": alt, "caption": caption, "width": f"{96 * width:.0f}px"}


def metadata(about: dict[str, str]) -> dict:
    """Return the metadata of an output with a picture, from what `png` says about it."""
    return {"snn_figure": about, "image/png": {"width": int(about["width"].removesuffix("px"))}}


def draw_network(ax: Axes, widths: Sequence[int], *, names: Sequence[str] | None = None, most: int = 6) -> list[list]:
    """Draw a fully connected network from left to right; returns the positions [[(x, y), ...], ...] of the drawn units.

    Parameters
    ----------
    ax : where to draw.
    widths : number of units of each column.
    names : what is written under the columns.
    most : a layer of more than so many units is drawn as that many, with a gap.
    """
    columns = []
    for i, width in enumerate(widths):
        drawn = min(width, most)
        ys = [(drawn - 1) / 2 - k for k in range(drawn)]
        if width > most:  # leave room for the dots
            ys = [y + 0.35 if k < drawn - 1 else y - 0.35 for k, y in enumerate(ys)]
            ax.text(1.8 * i, (ys[-1] + ys[-2]) / 2, "⋮", ha="center", va="center", fontsize=14)
        columns.append([(1.8 * i, y) for y in ys])
    for left, right in itertools.pairwise(columns):
        for a in left:
            for b in right:
                ax.plot(*zip(a, b, strict=True), color=GREY, linewidth=0.8, linestyle="-", alpha=0.7, zorder=1)
    for i, column in enumerate(columns):
        color = GREEN if i == 0 else VERMILLION if i == len(columns) - 1 else BLUE
        ax.scatter(*zip(*column, strict=True), s=260, color=color, zorder=2)
    bottom = min(y for column in columns for _, y in column) - 0.75
    for i, text in enumerate(names or []):
        ax.text(1.8 * i, bottom, text, ha="center", va="top")
    ax.set_aspect("equal")
    ax.margins(0.12, 0.1)
    ax.axis("off")
    return columns
