"""What all figures that one can move have in common: state, limits, and the forms in which they are shown."""

from __future__ import annotations

import base64
import html
import json
import math
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import traitlets
from IPython.display import publish_display_data
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from .. import figures
from . import _bundle

STYLE = Path(__file__).parent / "style.css"


class Real(traitlets.Float):
    """A number between `low` and `high`, both included, that the browser shares; at first it is `default`."""

    def __init__(self, default: float, low: float, high: float):
        super().__init__(default, min=low, max=high)
        self.tag(sync=True)

    def validate(self, obj: Any, value: Any) -> float:
        """Return value as a float for the figure obj; raises TraitError for no number within the bounds, NaN too."""
        number = super().validate(obj, value)
        if math.isnan(number):
            raise traitlets.TraitError(f"the trait {self.name!r} must be a number, got nan")
        return number


class Explorable(anywidget.AnyWidget):
    """A figure that one can move. Its traits, tagged `sync=True`, are its state; the browser changes them too.

    A subclass names its script (`module`, a file of `js/`) and draws its state for paper (`picture`); the docstring of
    `snnlib.explorables` says how to add one.
    """

    module: ClassVar[str]
    version: ClassVar[int] = 1  # raise it when stored state changes its meaning

    _limits = traitlets.Dict(read_only=True).tag(sync=True)

    def __init_subclass__(cls, **kwargs: Any):
        if "module" in vars(cls):  # anywidget derives a class for every instance, which has traits of these names
            cls._esm = _bundle.module(cls.module)
            cls._css = STYLE
        super().__init_subclass__(**kwargs)

    @traitlets.default("_limits")
    def _default_limits(self) -> dict:
        return self.limits()

    @classmethod
    def limits(cls) -> dict[str, dict]:
        """Return what values each part of the state may take, {name: {"kind": ..., ...}}, in JSON's terms."""
        traits = cls.class_traits(sync=True)
        names = sorted(name for name in set(traits) - set(Explorable.class_traits()) if not name.startswith("_"))
        return {name: _limit(traits[name]) for name in names}

    def state(self) -> dict[str, Any]:
        """Return the state, {name: value}, sorted by name."""
        return {name: getattr(self, name) for name in self.limits()}

    def picture(self) -> Figure:
        """Draw the state with matplotlib, at most 6.5 inches wide."""
        raise NotImplementedError(f"{type(self).__name__} has no picture()")

    def show(self, *, name: str, alt: str, caption: str) -> None:
        """Show the figure with its label, the alternative text of its picture and its caption.

        The arguments are those of `figures.show`, which says what each must be. Raises ValueError as that does.
        """
        png, about = self._png(name=name, alt=alt, caption=caption)
        publish_display_data(self._bundle(png, alt), metadata={"snn_figure": about})

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.state().items())})"

    def _png(self, **about: str) -> tuple[bytes, dict]:
        with plt.rc_context(figures.STYLE):
            return figures.png(self.picture(), **about)

    def _bundle(self, png: bytes, alt: str) -> dict:
        """Return the forms of the output: a live view for Jupyter, HTML for the book, one line of text."""
        view, _ = super()._repr_mimebundle_()
        state = html.escape(json.dumps(self.state(), allow_nan=False))
        source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
        return {
            **view,
            "text/html": f'<div class="snn-explorable" data-module="{self.module}" data-version="{self.version}" '
            f'data-state="{state}"><img src="{source}" alt="{html.escape(alt)}"></div>',
            "text/plain": repr(self),
        }

    def _repr_mimebundle_(self, **kwargs: Any) -> dict:
        """Show the figure as the last expression of a cell, without number and caption."""
        alt = f"The figure {self!r}."
        png, _ = self._png(name="fig-explorable", alt=alt, caption=alt)
        return self._bundle(png, alt)


def _limit(trait: traitlets.TraitType) -> dict:
    """Return the limits of one trait; raises TypeError for a kind of trait that figures do not use."""
    if isinstance(trait, traitlets.Bool):
        return {"kind": "flag"}
    if isinstance(trait, traitlets.Int | traitlets.Float):
        if trait.min is None or trait.max is None or not math.isfinite(trait.max - trait.min):
            raise TypeError(f"the trait {trait.name!r} needs bounds")
        return {"kind": "whole" if isinstance(trait, traitlets.Int) else "real", "min": trait.min, "max": trait.max}
    if isinstance(trait, traitlets.Enum):
        return {"kind": "choice", "choices": list(trait.values)}
    if isinstance(trait, traitlets.List):
        return {"kind": "list", "min": trait._minlen, "max": trait._maxlen, "of": _limit(trait._trait)}
    raise TypeError(f"the trait {trait.name!r} is a {type(trait).__name__}, which figures do not use")
