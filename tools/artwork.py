"""Draw the book's own pictures from the mathematics that it teaches, into `book/_static`.

* `logo.svg`, `favicon.svg`: the curve of SELU;
* `forty-layers.svg`: what the first backward pass brings to each of forty layers, with sigmoid and with SELU;
* `card.png`: the same beside the title, which is what a link to the book is shown with (1200 by 630 pixels).

Run as a script it writes them; the files are committed, and tests/test_artwork.py draws them again.
"""

import io
import sys

import numpy as np
from chapters import ROOT

from snnlib import activations, figures
from snnlib.backprop import Network, softmax_cross_entropy

FOLDER = ROOT / "book" / "_static"
DEEP_BLUE = "#1f5f99"  # the accent of the light theme in course.css
DEPTH, WIDTH, EXAMPLES, CLASSES = 40, 64, 64, 10


def curve(function, low, high, box, span):
    """Return the points of a graph as a path of SVG: z from `low` to `high`, values `span`, into `box` (x, y, w, h)."""
    x, y, width, height = box
    z = np.linspace(low, high, 49)
    across = x + width * (z - low) / (high - low)
    down = y + height * (span[1] - function(z)) / (span[1] - span[0])
    return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(across, down, strict=True))


def icon(size):
    """Return the curve of SELU on a blue tile of `size` by `size` pixels."""
    unit = size / 32
    path = curve(activations.selu().f, -4.0, 3.4, (3.5 * unit, 5 * unit, 25 * unit, 22 * unit), (-1.9, 3.5))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" role="img" '
        'aria-label="The curve of SELU">\n'
        f'<rect width="{size}" height="{size}" rx="{6 * unit:.0f}" fill="{DEEP_BLUE}"/>\n'
        f'<path d="{path}" fill="none" stroke="#fff" stroke-width="{3.2 * unit:.1f}" '
        'stroke-linecap="round" stroke-linejoin="round"/>\n</svg>\n'
    )


def arriving(activation):
    """Return the norm of dL/dW in each layer at the first backward pass, as a share of the largest one.

    Weights are LeCun's, inputs are standard normal, and the classes are drawn at random.
    """
    rng = np.random.default_rng(0)
    x = rng.standard_normal((EXAMPLES, WIDTH))
    labels = rng.integers(CLASSES, size=EXAMPLES)
    network = Network([WIDTH] * (DEPTH + 1) + [CLASSES], activation=activation, weights="lecun", seed=0)
    _, derivative = softmax_cross_entropy(network.forward(x), labels)
    _, gradients = network.backward(derivative)
    norms = np.array([np.linalg.norm(gradient) for gradient in gradients[0 : 2 * DEPTH : 2]])
    return norms / norms.max()


def power(value):
    """Return a small number as text: its power of ten, 10⁻²⁵, or one digit where it is not that small, 0.7."""
    exponent = int(np.floor(np.log10(value)))
    digits = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{digits}" if exponent < -2 else f"{value:.1g}"


def forty_layers():
    """Return the picture of what arrives at each of forty layers, in colours that both themes can show."""
    step, bar, tall = 11, 7, 66
    parts = []
    rows = (("sigmoid", figures.VERMILLION, 30), ("selu", figures.BLUE, 156))
    titles = {"sigmoid": "sigmoid", "selu": "SELU"}
    for name, colour, top in rows:
        shares = arriving(name)
        base = top + tall
        parts.append(
            f'<text x="2" y="{top - 12}" font-size="16" font-weight="600" fill="{colour}">{titles[name]}</text>'
        )
        for layer, share in enumerate(shares):
            x = 2 + step * layer
            parts.append(f'<rect x="{x}" y="{base}" width="{bar}" height="1.5" fill="{figures.GREY}" opacity="0.6"/>')
            if tall * share >= 0.05:
                y, high = f"{base - tall * share:.1f}", f"{tall * share:.1f}"
                parts.append(f'<rect x="{x}" y="{y}" width="{bar}" height="{high}" rx="1.5" fill="{colour}"/>')
        said = f"the first layer gets {power(shares[0])} of the largest"
        parts.append(f'<text x="2" y="{base + 20}" font-size="15" fill="{figures.GREY}">{said}</text>')
        parts.append(
            f'<text x="{2 + step * (DEPTH - 1) + bar}" y="{base + 20}" font-size="15" text-anchor="end" '
            f'fill="{figures.GREY}">layer {DEPTH}</text>'
        )
    width, height = 4 + step * (DEPTH - 1) + bar, 248
    size = f'viewBox="0 0 {width} {height}" width="{width * 1.2:.0f}" height="{height * 1.2:.0f}"'
    fonts = "system-ui, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif"
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{fonts}">', *parts, "</svg>", ""])


def card():
    """Return the picture that a link to the book is shown with, as the bytes of a PNG of 1200 by 630 pixels."""
    from matplotlib import pyplot as plt

    with plt.rc_context({**figures.STYLE, "font.family": "DejaVu Sans", "figure.constrained_layout.use": False}):
        fig = plt.figure(figsize=(12, 6.3), dpi=100, facecolor="#14181d")
        fig.text(
            0.055, 0.80, "Why deep networks\nare hard to train,", size=34, weight="bold", color="#ffffff", va="center"
        )
        fig.text(0.055, 0.52, "and how self-normalizing\nnetworks fix it", size=26, color="#84b8e8", va="center")
        fig.text(
            0.055,
            0.15,
            "A course in book form, every number\nof which is computed",
            size=17,
            color="#a2abb5",
            va="center",
        )
        rows = (("sigmoid", "sigmoid", "#f0914a", 0.56), ("selu", "SELU", "#6ab7ea", 0.14))
        for name, title, colour, bottom in rows:
            ax = fig.add_axes((0.56, bottom, 0.385, 0.26))
            ax.bar(np.arange(1, DEPTH + 1), arriving(name), width=0.65, color=colour)
            ax.set(xlim=(0.4, DEPTH + 0.6), ylim=(0, 1), xticks=[1, DEPTH], yticks=[])
            ax.tick_params(length=0, labelsize=15, labelcolor="#a2abb5")
            ax.spines["left"].set_visible(False)
            ax.set_title(title, loc="left", size=21, color=colour, pad=10)
        stream = io.BytesIO()
        fig.savefig(stream, format="png", facecolor=fig.get_facecolor(), metadata={"Software": None})
        plt.close(fig)
    return stream.getvalue()


def pictures():
    """Return {file name: contents} of all pictures, as bytes."""
    texts = {"logo.svg": icon(64), "favicon.svg": icon(32), "forty-layers.svg": forty_layers()}
    return {**{name: text.encode() for name, text in texts.items()}, "card.png": card()}


def main():
    """Write the pictures; return the exit status."""
    for name, contents in pictures().items():
        (FOLDER / name).write_bytes(contents)
        print(f"{(FOLDER / name).relative_to(ROOT)}: {len(contents)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
