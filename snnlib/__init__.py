"""snnlib: the package behind the course on deep networks and self-normalization.

The NumPy modules (`activations`, `gaussian`, `moments`, `meanfield`, `initialization`, `backprop`), `datasets`,
`coursework`, and `contraction`, which needs python-flint, import without torch.
"""

__version__ = "0.1.0"
