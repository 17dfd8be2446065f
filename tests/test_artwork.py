"""The book's own pictures: what the code draws is what is stored, and it shows what is true."""

import io
from xml.etree import ElementTree

import artwork
import numpy as np
import pytest
from matplotlib import image

PICTURES = artwork.pictures()


@pytest.mark.parametrize("name", [name for name in PICTURES if name.endswith(".svg")])
def test_a_drawing_is_stored_as_it_is_drawn(name):
    ElementTree.fromstring(PICTURES[name])
    assert (artwork.FOLDER / name).read_bytes() == PICTURES[name], "run `python tools/artwork.py`"


def test_the_card_is_stored_as_it_is_drawn():
    stored = image.imread(artwork.FOLDER / "card.png")
    drawn = image.imread(io.BytesIO(PICTURES["card.png"]), format="png")
    assert stored.shape == drawn.shape and stored.shape[:2] == (630, 1200)
    # Another release of matplotlib may draw the edges of letters a little differently.
    assert np.abs(stored - drawn).mean() < 0.01


def test_the_gradient_vanishes_with_sigmoid_and_not_with_selu():
    sigmoid, selu = artwork.arriving("sigmoid"), artwork.arriving("selu")
    assert len(sigmoid) == len(selu) == 40
    assert sigmoid[0] < 1e-20 and sigmoid.argmax() == 39
    assert selu.min() > 0.1


def test_the_first_page_shows_the_picture_and_describes_what_it_shows():
    text = (artwork.ROOT / "book" / "intro.md").read_text(encoding="utf-8")
    exponent = int(np.floor(np.log10(artwork.arriving("sigmoid")[0])))
    assert "_static/forty-layers.svg" in text and f"ten to the power of minus {-exponent} " in text
    assert artwork.arriving("selu").max() / artwork.arriving("selu").min() < 4
