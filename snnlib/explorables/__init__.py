"""Figures that one can move, in Jupyter and in the built book alike.

In Jupyter a figure is an anywidget: Python holds its state, the browser draws it. In the book a small host script
mounts the same drawing on the state that is stored in the page, with no kernel and no network; without scripts and on
paper a picture stands in its place.

To add the figure Example:

1. `example.py`: a subclass of `Explorable`. Its traits are the state, bounded and tagged `sync=True` (`Real` for
   numbers, traitlets' `Int`, `Bool`, `Enum`, `List` for the rest); `module` is the name of its script; `picture()`
   draws the state with matplotlib. Export the class here and add it to `FIGURES`.
2. `js/example.js`: exports `compute(state)`, which returns every number that the figure shows and touches nothing,
   and `render({ model, el })`, which draws with the parts of `common.js`. It may import names from other files of the
   folder, at its top; `js/chain.js` is a short example. (`train` has no `compute`: its numbers take time, and are in
   `js/training.js`.)
3. `tests/explorables_reference.py`: the same numbers as a function of the state, by `snnlib` or another route that
   does not share the script's code.
4. In the chapter, after a question that moving the figure answers: `Example(...).show(name=..., alt=..., caption=...)`;
   then `make execute CHAPTER=...`.

When stored state changes its meaning, raise the class's `version`: pages with the old state then say so.
"""

from ._base import Explorable, Real
from .backward_pass import BackwardPass
from .chain import Chain
from .jacobian_product import JacobianProduct
from .push_forward import PushForward
from .self_normalizing_map import SelfNormalizingMap
from .selu_designer import SeluDesigner
from .signal_through_depth import SignalThroughDepth
from .train_here import TrainHere

#: All figures that one can move, in the order of the book.
FIGURES = (
    BackwardPass,
    Chain,
    JacobianProduct,
    SignalThroughDepth,
    PushForward,
    SelfNormalizingMap,
    SeluDesigner,
    TrainHere,
)

__all__ = ["FIGURES", "Explorable", "Real", *(figure.__name__ for figure in FIGURES)]
