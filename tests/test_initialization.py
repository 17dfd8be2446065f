"""What each scheme promises of its entries and rows."""

import numpy as np
import pytest
import torch

from snnlib.initialization import initialize

M, N = 400, 900


@pytest.mark.parametrize("scheme, variance", [("lecun", 1 / N), ("xavier", 2 / (M + N)), ("he", 2 / N)])
def test_gaussian_schemes_have_their_mean_and_variance(scheme, variance):
    w = initialize(np.empty((M, N)), scheme, seed=0)
    # 360,000 draws: the mean is known to 5 standard errors, the variance to 5 sqrt(2 / 360000) = 1.2 %
    assert abs(w.mean()) < 5 * np.sqrt(variance / w.size)
    assert w.var() == pytest.approx(variance, rel=0.012)
    assert np.mean((w / np.sqrt(variance)) ** 4) == pytest.approx(3, rel=0.05)  # Gaussian, not uniform


@pytest.mark.parametrize("m, n", [(30, 30), (20, 50), (50, 20)])
def test_orthogonal_has_orthonormal_rows_or_columns(m, n):
    w = initialize(np.empty((m, n)), "orthogonal", seed=1)
    gram = w @ w.T if m <= n else w.T @ w
    np.testing.assert_allclose(gram, np.eye(min(m, n)), atol=1e-13)


def test_orthogonal_has_no_preferred_sign():
    """QR alone would give diagonals of one sign; the correction makes the distribution uniform."""
    diagonals = [initialize(np.empty((3, 3)), "orthogonal", seed=s)[0, 0] for s in range(400)]
    assert 140 < sum(d > 0 for d in diagonals) < 260


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-14), (np.float32, 1e-6)])
def test_normalized_rows_have_sum_zero_and_sum_of_squares_one(dtype, tolerance):
    w = initialize(np.empty((M, N), dtype), "normalized_rows", seed=2)
    np.testing.assert_allclose(w.sum(axis=1, dtype=np.float64), 0, atol=30 * tolerance)
    np.testing.assert_allclose((w.astype(np.float64) ** 2).sum(axis=1), 1, atol=tolerance)


@pytest.mark.parametrize("scheme", ["lecun", "xavier", "he", "orthogonal", "normalized_rows"])
def test_arrays_and_tensors_are_filled_in_place_with_the_same_numbers(scheme):
    array, tensor = np.empty((4, 6), np.float32), torch.nn.Parameter(torch.empty(4, 6))
    assert initialize(array, scheme, seed=3) is array
    assert initialize(tensor, scheme, seed=3) is tensor
    np.testing.assert_array_equal(array, tensor.detach())
    assert not np.array_equal(array, initialize(np.empty((4, 6), np.float32), scheme, seed=4))


@pytest.mark.parametrize(
    "target, scheme, message",
    [
        (np.empty((2, 3)), "kaiming", "unknown scheme 'kaiming'; choose one of lecun, xavier, he"),
        (np.empty(3), "he", r"shape \(3,\)"),
        (np.empty((0, 3)), "he", r"shape \(0, 3\)"),
        ([[1.0, 2.0]], "he", "shape"),
        (np.empty((2, 3), int), "he", "int64"),
        (torch.empty(2, 3, dtype=torch.int32), "he", "int32"),
        (np.empty((2, 1)), "normalized_rows", "n = 1"),
    ],
)
def test_impossible_targets_are_refused(target, scheme, message):
    with pytest.raises(ValueError, match=message):
        initialize(target, scheme)
