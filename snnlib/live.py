"""Experiments with controls, which a running kernel repeats whenever one of them is moved.

In Jupyter the reader sees the controls above a picture; the stored output, which the book shows, is the picture alone,
for the values at which the controls start.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator

import ipywidgets
import matplotlib.pyplot as plt
from IPython.display import publish_display_data
from matplotlib.figure import Figure

from . import figures

_VIEW = "application/vnd.jupyter.widget-view+json"
_PAUSE = 0.02  # seconds between two figures, in which the kernel hears of clicks


def show(draw: Callable, *, name: str, alt: str, caption: str, **controls: ipywidgets.ValueWidget) -> None:
    """Show what `draw` makes of the controls, now and whenever one of them is moved.

    Parameters
    ----------
    draw : is called with the value of each control, by name, and returns a matplotlib figure; or it yields figures
        while the experiment goes on. Between two of these the kernel is free: a button stops the experiment, and moving
        a control starts it anew.
    name, alt, caption : as for `figures.show`; they describe the first picture, the last figure of a whole run.
    controls : sliders and the like, one for each argument of `draw`. A slider reports its value when it is let go.

    What `draw` raises at first is raised here, as is the ValueError of `figures.show`; what it raises later is written
    beside the controls.
    """
    about = {"name": name, "alt": alt, "caption": caption}
    data, about = Experiment(draw, controls, about).output()
    publish_display_data(data, metadata=figures.metadata(about))


class Experiment:
    """The controls, the picture, and the run that is going on; `show` shows one.

    Parameters
    ----------
    draw, controls : as for `show`, the controls by name.
    about : name, alternative text and caption of the picture.

    Attributes
    ----------
    view : everything together, as Jupyter shows it.
    picture, message, stop : the parts of the view: the picture, what is said beside it, and the button that stops.
    """

    def __init__(self, draw: Callable, controls: dict[str, ipywidgets.ValueWidget], about: dict[str, str]):
        self._draw, self._controls, self._about = draw, controls, about
        self._task = None
        self.picture = ipywidgets.Image(format="png")
        self.message = ipywidgets.Label()
        self.stop = ipywidgets.Button(description="Stop", disabled=True)
        self.stop.on_click(lambda _: self._task.cancel())
        for control in controls.values():
            control.style.description_width = "initial"
            if control.has_trait("continuous_update"):
                control.continuous_update = False
            control.observe(self._start, "value")
        buttons = [self.stop] if inspect.isgeneratorfunction(draw) else []
        self.view = ipywidgets.VBox([ipywidgets.HBox([*controls.values(), *buttons, self.message]), self.picture])

    def output(self) -> tuple[dict, dict[str, str]]:
        """Run to the end; return the output's forms (a live view, a picture) and what the book needs to set it."""
        for last in self._figures():
            plt.close(last)  # or Jupyter would show those on the way, too
        picture, about = figures.png(last, **self._about)
        self.picture.value, self.picture.layout.width = picture, about["width"]
        view = {"version_major": 2, "version_minor": 0, "model_id": self.view.model_id}  # ipywidgets 7 makes no bundle
        return {_VIEW: view, "image/png": picture}, about

    def _figures(self) -> Iterator[Figure]:
        drawn = self._draw(**{name: control.value for name, control in self._controls.items()})
        yield from drawn if inspect.isgenerator(drawn) else [drawn]

    def _start(self, change: dict) -> None:
        if self._task:
            self._task.cancel()
        self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        self.stop.disabled, self.message.value = False, "running …"
        try:
            await asyncio.sleep(_PAUSE)
            for figure in self._figures():
                self.picture.value, _ = figures.png(figure, **self._about)
                await asyncio.sleep(_PAUSE)
            self.message.value = ""
        except asyncio.CancelledError:
            self.message.value = "stopped"
        except Exception as error:
            self.message.value = f"{type(error).__name__}: {error}"
        finally:
            self.stop.disabled = True
