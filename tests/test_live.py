"""Experiments with controls: a picture in the book, repeated by a kernel when a control is moved."""

import asyncio

import ipywidgets
import matplotlib.pyplot as plt
import pytest

from snnlib import live

ABOUT = {"name": "fig-line", "alt": "A straight line from the lower left to the upper right.", "caption": "A line."}
VIEW = "application/vnd.jupyter.widget-view+json"
runs = []


@pytest.fixture(autouse=True)
def no_runs_yet():
    runs.clear()
    yield
    plt.close("all")


def line(slope):
    if slope > 2:
        raise ArithmeticError("too steep")
    runs.append(slope)
    fig, ax = plt.subplots(figsize=(2, 1))
    ax.plot([0, slope])
    return fig


def growing(slope):
    for k in range(1, 4):
        yield line(k * slope)


def experiment(draw):
    slider = ipywidgets.FloatSlider(0.5, min=0, max=3, description="slope")
    found = live.Experiment(draw, {"slope": slider}, ABOUT)
    data, about = found.output()
    return found, slider, data, about


async def until(condition):
    """Let the kernel's loop go on, for two seconds at most."""
    for _ in range(200):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not happen")


def test_the_output_is_a_live_view_and_a_picture_that_the_book_can_set():
    plt.close("all")  # what other tests left
    found, _, data, about = experiment(line)
    assert set(data) == {VIEW, "image/png"} and data["image/png"].startswith(b"\x89PNG")
    assert data[VIEW]["model_id"] == found.view.model_id
    assert about == {**ABOUT, "width": "192px"} and not plt.get_fignums()


def test_it_is_shown_with_its_description(monkeypatch):
    calls = []
    monkeypatch.setattr(live, "publish_display_data", lambda data, metadata: calls.append((data, metadata)))
    live.show(line, slope=ipywidgets.FloatSlider(0.5), **ABOUT)
    [(data, metadata)] = calls
    assert "image/png" in data and metadata["snn_figure"]["caption"] == "A line."


def test_what_is_wrong_at_first_is_raised():
    with pytest.raises(ArithmeticError):
        live.show(line, slope=ipywidgets.FloatSlider(3.0), **ABOUT)
    with pytest.raises(ValueError, match="alt must describe"):
        live.show(line, slope=ipywidgets.FloatSlider(0.5), **{**ABOUT, "alt": ""})


def test_the_book_shows_where_an_experiment_ends():
    experiment(growing)
    assert runs == [0.5, 1.0, 1.5] and not plt.get_fignums()


def test_moving_a_control_draws_anew():
    async def scene():
        found, slider, data, _ = experiment(line)
        assert not slider.continuous_update
        slider.value = 2.0
        await until(lambda: found.picture.value != data["image/png"] and not found.message.value)
        assert runs == [0.5, 2.0]

    asyncio.run(scene())


def test_an_experiment_can_be_stopped():
    async def scene():
        found, slider, _, _ = experiment(growing)
        assert found.stop.disabled
        slider.value = 0.25
        await until(lambda: len(runs) == 4)
        assert not found.stop.disabled and found.message.value == "running …"
        found.stop.click()
        await until(lambda: found.stop.disabled)
        assert runs == [0.5, 1.0, 1.5, 0.25] and found.message.value == "stopped"

    asyncio.run(scene())


def test_moving_a_control_meanwhile_starts_anew():
    async def scene():
        found, slider, _, _ = experiment(growing)
        slider.value = 0.25
        await until(lambda: len(runs) == 4)
        slider.value = 0.5
        await until(lambda: len(runs) == 7 and not found.message.value)
        assert runs[3:] == [0.25, 0.5, 1.0, 1.5] and found.stop.disabled

    asyncio.run(scene())


def test_a_failure_is_said_and_the_next_value_works():
    async def scene():
        found, slider, _, _ = experiment(line)
        slider.value = 2.5
        await until(lambda: found.message.value == "ArithmeticError: too steep")
        slider.value = 1.0
        await until(lambda: not found.message.value)
        assert runs == [0.5, 1.0]

    asyncio.run(scene())
