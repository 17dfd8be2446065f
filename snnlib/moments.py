"""What one layer makes of the mean and the variance of its inputs, where it leaves them alone, and SELU's constants.

Chapter: book/self-normalizing/moments. The inputs of a unit are independent of one another, each with mean mu and
variance nu. Of its weights w only two sums matter, omega = sum_i w_i and tau = sum_i w_i^2. (The lecture calls omega
the mean of the weights; it is their number times the mean.) With many inputs z = sum_i w_i x_i is normal by the central
limit theorem, with mean m = mu omega and variance v = nu tau, and the activations f(z) have

    mu~ = E[f(Z)],  nu~ = Var[f(Z)],  Z ~ N(m, v)        the lecture's map g; Klambauer et al. (2017), equation 3

For f(z) = lam z (z > 0), lam alpha (e^z - 1) (z <= 0), of which SELU is one, the two integrals are known: Klambauer et
al. (2017), equations 4 and 5. Those are sums of large terms that cancel. Here the terms are sorted by the sign of z.
Let p and q be the probabilities of z > 0 and z <= 0, E+ and V+ the mean and the variance of z where z > 0, and E- and
V- those of 1 - e^z where z <= 0. Then

    mu~ = lam (p E+ - q alpha E-),  nu~ = lam^2 (p V+ + q alpha^2 V- + p q (E+ + alpha E-)^2)

and nu~, the variance within the halves plus that between them, is a sum of positive terms (see `_Halves`). Every other
activation goes by quadrature, centred before it is squared.

Activations are given by name or as an `activations.Activation`; scalars and arrays broadcast, scalars in, scalars out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import mpmath
import numpy as np
from numpy.polynomial import legendre
from numpy.typing import ArrayLike
from scipy import special

from snnlib import activations
from snnlib.activations import SELU_ALPHA, SELU_LAMBDA, Activation
from snnlib.gaussian import _NODES, _OFFSETS, _UNIFORM, _WEIGHTS, _density

_CHUNK = 16_000  # points handled at once, so that the arrays stay in the cache
_SMALLEST, _LARGEST = 1e-10, 1e10  # a variance below has died out, one above (or such a mean) grows without bound
_LAYERS = 1000  # how long iteration is followed to say what it does
_SETTLED = 1e-12  # how well a fixed point must reproduce itself
_NEUTRAL = 1e-9  # an eigenvalue so near to 1 leaves open whether there is a fixed point


class NoFixedPointError(ValueError):
    """There is no fixed point to be found; the message says what happens to the moments instead.

    >>> try:
    ...     fixed_point("relu")
    ... except NoFixedPointError as error:
    ...     print(str(error).split(": ")[1].split(" (")[0])
    the variance dies out
    """


@dataclass(frozen=True)
class FixedPoint:
    """A mean and a variance that a layer leaves as they are.

    Attributes
    ----------
    mu, nu : the fixed point; nu > 0.
    jacobian : (2, 2), the derivative of the map there.
    spectral_radius : the largest absolute value of the Jacobian's eigenvalues, by which small deviations are
        multiplied per layer in the long run.
    attracting : whether that is below 1, so that iteration from nearby leads here.
    """

    mu: float
    nu: float
    jacobian: np.ndarray
    spectral_radius: float
    attracting: bool


def moment_map(
    activation: str | Activation, mu: ArrayLike, nu: ArrayLike, omega: ArrayLike = 0.0, tau: ArrayLike = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """(mu~, nu~), the mean and the variance of f(Z) for Z ~ N(mu omega, nu tau); eq-moment-map.

    Parameters
    ----------
    activation : name or `Activation`.
    mu, nu : mean and variance of the inputs.
    omega, tau : sum and sum of squares of the weights.

    Returns
    -------
    Two arrays of the shape to which mu, nu, omega and tau broadcast. Where nu tau = 0, Z is one number and the results
    are f(mu omega) and 0.

    For relu, elu and selu, with any constants, the relative error of nu~ is below 1e-11, however small nu~ is, and so
    is that of mu~, unless mu~ is within sqrt(nu~) / 1000 of 0: there it is the error relative to that which is. For
    other activations the bound is 1e-9; their quadrature takes f to vary on a scale of 1 or slower, fastest around 0
    and the kinks. These hold for |mu| <= 10, |omega| <= 1, 1e-6 <= nu <= 100, 0.1 <= tau <= 10.

    Raises ValueError where nu or tau is negative, or something is not finite.

    >>> mean, variance = moment_map("selu", 0.0, [0.5, 1.0, 2.0])
    >>> variance.round(4)
    array([0.5775, 1.    , 1.7145])
    """
    a, m, v, _ = _pre_activation(activation, mu, nu, omega, tau)
    moments = np.empty((2, m.size))
    for part in _chunks(a, m.size):
        moments[:, part] = _moments(a, m.flat[part], v.flat[part])
    mean, variance = moments.reshape(2, *m.shape)
    return mean[()], variance[()]


def jacobian(
    activation: str | Activation, mu: ArrayLike, nu: ArrayLike, omega: ArrayLike = 0.0, tau: ArrayLike = 1.0
) -> np.ndarray:
    """The derivative of (mu~, nu~) with respect to (mu, nu); shape (..., 2, 2).

    activation, mu, nu, omega and tau as in `moment_map`; the four numbers broadcast to the leading axes. This is H of
    Klambauer et al. (2017), eq-jacobian-g; with m = mu omega and v = nu tau,

        d mu~ / d mu = omega E[f'],          d mu~ / d nu = tau E[f''] / 2,
        d nu~ / d mu = 2 omega Cov[f, f'],   d nu~ / d nu = tau (E[f'^2] + Cov[f, f''])

    where f'' has at a kink a point mass as large as the jump of f'. The relative errors are those of `moment_map`, for
    entries that are not close to a zero compared with the terms whose sum they are.

    Raises ValueError where nu or tau is not positive (at a kink there is no derivative for nu tau = 0), or something is
    not finite.

    >>> jacobian("selu", 0.0, 1.0).round(4)
    array([[0.    , 0.0888],
           [0.    , 0.7826]])
    """
    a, m, v, (omega, tau) = _pre_activation(activation, mu, nu, omega, tau)
    if not (v > 0).all():
        raise ValueError("the Jacobian needs nu tau > 0, got nu tau = 0: choose nu > 0 and tau > 0")
    slopes = np.empty((2, 2, m.size))
    for part in _chunks(a, m.size):
        slopes[..., part] = _slopes(a, m.flat[part], v.flat[part])
    with np.errstate(under="ignore"):
        slopes = slopes.reshape(2, 2, *m.shape) * np.stack([omega, tau])
    return np.moveaxis(slopes, (0, 1), (-2, -1))


def iterate(
    activation: str | Activation,
    mu: ArrayLike,
    nu: ArrayLike,
    steps: int,
    omega: ArrayLike = 0.0,
    tau: ArrayLike = 1.0,
) -> np.ndarray:
    """(mu, nu) and what `steps` layers make of them; shape (steps + 1, ..., 2).

    activation, mu, nu, omega and tau as in `moment_map`; the four numbers broadcast to the axes in the middle. Raises
    ValueError as `moment_map` does, and for a negative number of steps.

    >>> iterate("selu", 0.0, 3.0, steps=2).round(4)
    array([[0.    , 3.    ],
           [0.175 , 2.3491],
           [0.1201, 1.9424]])
    """
    if steps < 0:
        raise ValueError(f"steps must be at least 0, got {steps}")
    mu, nu, omega, tau = np.broadcast_arrays(*_checked(mu, nu, omega, tau))
    path = [(mu, nu)]
    for _ in range(steps):
        path.append(moment_map(activation, *path[-1], omega, tau))
    return np.moveaxis(np.array(path), 1, -1)


def fixed_point(
    activation: str | Activation,
    omega: float = 0.0,
    tau: float = 1.0,
    start: tuple[float, float] = (0.0, 1.0),
) -> FixedPoint:
    """The fixed point with nu > 0 that Newton's method finds from `start` = (mu, nu).

    Parameters
    ----------
    activation : name or `Activation`.
    omega, tau : sum and sum of squares of the weights, two numbers.
    start : mean and variance from which to search.

    Newton's method goes to fixed points that iteration runs away from, too: see `attracting`. Where it fails from
    `start`, it is tried again from where iteration leads, and from wherever the variance would stay as it is at the
    mean of `start`. Where every variance is fixed (relu, omega = 0, tau = 2 / (1 - 1 / pi)) the fixed point near
    `start` is returned; it does not attract.

    Raises NoFixedPointError, saying what iteration does, where none is found. A variance below 1e-10 has died out:
    nu = 0 is no fixed point here. Mean and variance beyond 1e10 have no bound. Raises ValueError where omega, tau or
    start is not finite, tau is negative, or the variance in start is not positive.

    >>> level = fixed_point("tanh", tau=2.0)
    >>> round(level.nu, 4), round(level.spectral_radius, 4), level.attracting
    (0.309, 0.5525, True)
    """
    a = activations.get(activation)
    mu, nu, omega, tau = (float(x) for x in _checked(*start, omega, tau))
    if not nu > 0:
        raise ValueError(f"start must have a positive variance, got nu = {nu}")
    led, fate = _follow(a, omega, tau, mu, nu)
    for guess in [(mu, nu), led, *_crossings(a, omega, tau, mu)]:
        found = _newton(a, omega, tau, *guess)
        if found is None:
            continue
        H = jacobian(a, *found, omega, tau)
        eigenvalues = np.linalg.eigvals(H)
        # With an eigenvalue 1 a small residual proves little (relu with omega = tau = 1 creeps upwards for ever).
        if not fate or np.abs(eigenvalues - 1).min() > _NEUTRAL:
            radius = float(np.abs(eigenvalues).max())
            return FixedPoint(*found, H, radius, radius < 1 - _SETTLED)
    raise NoFixedPointError(
        f"no fixed point of {a.name} with omega = {omega:g}, tau = {tau:g} is found from (mu, nu) = "
        f"({start[0]:g}, {start[1]:g}): {fate or 'iteration settles where the search does not'}"
    )


def selu_constants(
    mu: float | str | Fraction = 0.0,
    nu: float | str | Fraction = 1.0,
    digits: int = 16,
    omega: float | str | Fraction = 0.0,
    tau: float | str | Fraction = 1.0,
) -> tuple:
    """(alpha, lam) with which the exponential linear unit has the fixed point (mu, nu).

    With P = E[z; z > 0], S = E[z^2; z > 0], Q = E[1 - e^z; z <= 0] and T = E[(1 - e^z)^2; z <= 0] two equations hold,

        lam (P - alpha Q) = mu,   lam^2 (S + alpha^2 T) = nu + mu^2

    For mu = 0, alpha = P / Q. Otherwise lam is eliminated; (P - alpha Q)^2 / (S + alpha^2 T) = mu^2 / (nu + mu^2) is a
    quadratic equation for alpha (eq-targets). Its left side falls from P^2 / S at alpha = 0 to 0 at alpha = P / Q,
    where mu = 0, and rises towards Q^2 / T beyond; so there is at most one solution with alpha > 0 and lam > 0 on the
    side that the sign of mu wants.

    Parameters
    ----------
    mu, nu, omega, tau : numbers; a float is the binary number that it is, a string such as "0.1" the decimal number.
    digits : up to 16 gives the correctly rounded floats; more gives mpmath numbers correct to at least as many digits,
        to be printed with mpmath.nstr(alpha, digits).

    Raises ValueError for a target that no alpha > 0 and lam > 0 reach, nu or tau not positive, or digits < 1.

    >>> selu_constants()
    (1.6732632423543772, 1.0507009873554805)
    >>> alpha, lam = selu_constants(nu="0.5", digits=30)
    >>> print(mpmath.nstr(alpha, 20))
    1.4680598705305052804
    """
    if digits < 1:
        raise ValueError(f"digits must be at least 1, got {digits}")
    target = [_exact(label, x) for label, x in (("mu", mu), ("nu", nu), ("omega", omega), ("tau", tau))]
    guard, before = 20 + _cancelling(*target), None
    while True:  # until more digits change nothing
        with mpmath.workdps(digits + guard):
            found = _constants(*target)
            if before and all(
                abs(x / y - 1) < mpmath.mpf(10) ** (-digits - 10) for x, y in zip(found, before, strict=True)
            ):
                break
        guard, before = 2 * guard, found
    if digits <= 16:
        return float(found[0]), float(found[1])
    with mpmath.workdps(digits + 5):
        return +found[0], +found[1]


def alpha_dropout_affine(
    rate: ArrayLike,
    mu: ArrayLike = 0.0,
    nu: ArrayLike = 1.0,
    alpha: ArrayLike = SELU_ALPHA,
    lam: ArrayLike = SELU_LAMBDA,
) -> tuple[np.ndarray, np.ndarray]:
    """(a, b) such that a x + b has mean mu and variance nu again after alpha dropout.

    Alpha dropout sets a unit to alpha' = -lam alpha, the value at which SELU saturates, with probability `rate`, and
    leaves it with probability q = 1 - rate. That makes the mean q mu + (1 - q) alpha' and the variance
    q ((1 - q) (alpha' - mu)^2 + nu). Klambauer et al. (2017), section "New dropout technique"; eq-affine.

    rate, mu, nu, alpha and lam broadcast. Raises ValueError where rate is not in [0, 1), nu is not positive, or
    something is not finite.

    >>> a, b = alpha_dropout_affine(0.1)
    >>> print(f"{a:.4f} {b:.4f}")
    0.9213 0.1620
    """
    rate, mu, nu, alpha, lam = (np.asarray(x, np.float64) for x in (rate, mu, nu, alpha, lam))
    if not ((rate >= 0) & (rate < 1)).all():
        raise ValueError(f"rate must be in [0, 1), got {rate[~((rate >= 0) & (rate < 1))].flat[0]}")
    for label, values in (("mu", mu), ("nu", nu), ("alpha", alpha), ("lam", lam)):
        if not np.isfinite(values).all():
            raise ValueError(f"{label} must be finite, got {values[~np.isfinite(values)].flat[0]}")
    if not (nu > 0).all():
        raise ValueError(f"nu must be positive, got {nu.min()}: it is a variance")
    saturated = -lam * alpha
    a = np.sqrt(nu / ((1 - rate) * (rate * (saturated - mu) ** 2 + nu)))
    b = mu - a * ((1 - rate) * mu + rate * saturated)
    return a, b


# --- arguments -------------------------------------------------------------------------------------------------------


def _checked(mu: ArrayLike, nu: ArrayLike, omega: ArrayLike, tau: ArrayLike) -> list[np.ndarray]:
    """The four as float64 arrays, or ValueError where one is not finite, or a variance or a sum of squares negative."""
    arrays = []
    for label, value in (("mu", mu), ("nu", nu), ("omega", omega), ("tau", tau)):
        array = np.asarray(value, np.float64)
        finite = np.isfinite(array)
        if not finite.all():
            raise ValueError(f"{label} must be finite, got {array[~finite].flat[0]}")
        if label in ("nu", "tau") and (array < 0).any():
            meaning = "variance" if label == "nu" else "sum of squares"
            raise ValueError(f"{label} must not be negative, got {array[array < 0].flat[0]}: it is a {meaning}")
        arrays.append(array)
    return arrays


def _pre_activation(activation, mu, nu, omega, tau):
    """The activation, the mean and the variance of Z as contiguous arrays of the common shape, and (omega, tau)."""
    a = activations.get(activation)
    mu, nu, omega, tau = _checked(mu, nu, omega, tau)
    with np.errstate(over="ignore", under="ignore"):
        m, v = np.broadcast_arrays(mu * omega, nu * tau)
    for label, values in (("mu omega", m), ("nu tau", v)):
        if not np.isfinite(values).all():
            raise ValueError(f"{label} must be finite, got inf: it is larger than any float64")
    return a, np.array(m), np.array(v), np.broadcast_arrays(omega, tau, m)[:2]


def _chunks(a: Activation, size: int) -> Iterator[slice]:
    step = _CHUNK if a.exponential_linear else _CHUNK // 32
    return (slice(start, start + step) for start in range(0, size, step))


def _moments(a: Activation, m: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """mu~ and nu~ for m and v of shape (E,)."""
    with np.errstate(under="ignore", over="ignore"):
        if a.exponential_linear is None:
            return _moments_by_quadrature(a, m, v)
        alpha, lam = a.exponential_linear
        h = _halves(m, v)
        between = h.mean_right + alpha * h.mean_left
        mean = lam * (h.p * h.mean_right - alpha * (h.q * h.mean_left))
        variance = h.p * h.variance_right + alpha**2 * (h.q * h.variance_left) + (h.p * between) * (h.q * between)
        return mean, lam**2 * variance


def _slopes(a: Activation, m: np.ndarray, v: np.ndarray) -> tuple[tuple, tuple]:
    """The derivatives of mu~ and nu~ with respect to m and v, for m and v of shape (E,)."""
    with np.errstate(under="ignore", over="ignore"):
        if a.exponential_linear is None:
            return _slopes_by_quadrature(a, m, v)
        alpha, lam = a.exponential_linear
        h = _halves(m, v)
        p, q, power = h.p, h.q, h.power
        between, jump = h.mean_right + alpha * h.mean_left, (1 - alpha) * h.density
        mean = p * h.mean_right - alpha * (q * h.mean_left)
        within = alpha**2 * (q * h.variance_left)
        mean_by_m = p + alpha * (q * power)
        mean_by_v = (alpha * (q * power) + jump) / 2
        variance_by_m = 2 * (within + (p * between) * q * ((1 - alpha) + alpha * h.mean_left))
        square = p + alpha**2 * (q * power**2) + within  # E[f'^2] / lam^2
        variance_by_v = square + within - alpha * (p * between) * (q * power) - mean * jump
        return (lam * mean_by_m, lam * mean_by_v), (lam**2 * variance_by_m, lam**2 * variance_by_v)


# --- the exponential linear family in closed form --------------------------------------------------------------------
#
# Everything follows from Mills' ratio R(x) = Phi(-x) / phi(x) = sqrt(pi / 2) erfcx(x / sqrt(2)): with a = m / s and
# s = sqrt(v), E[e^(jz); z <= 0] = phi(a) R(a + j s). Where a + j s < 0 this is e^(jm + j^2 v / 2) less the same for -z.

_KINK_FAR = 10.0  # standard deviations; what lies beyond the kink has a probability of 1e-23, and matters only alone
_REACH = 40.0  # standard deviations; what lies beyond the kink has a probability of less than the smallest float64
_CANCELS = 1e-3  # for v < _CANCELS (1 + a^2) the left half goes by series: differences of R would lose 3 digits or more
_FAR_TAIL = 5.0  # from here on the excess over x is computed by a continued fraction
_TAYLOR, _MOMENTS = 10, 14  # terms of the two series
_TINY = 1e-160  # stands for a standard deviation of 0


class _Halves(NamedTuple):
    """What there is to know of z ~ N(m, v) on either side of 0."""

    p: np.ndarray  # P(z > 0)
    q: np.ndarray  # P(z <= 0)
    mean_right: np.ndarray  # E[z | z > 0]
    mean_left: np.ndarray  # E[1 - e^z | z <= 0]
    power: np.ndarray  # E[e^z | z <= 0]
    variance_right: np.ndarray  # Var[z | z > 0]
    variance_left: np.ndarray  # Var[e^z | z <= 0]
    density: np.ndarray  # of z at 0


def _mills(x: np.ndarray) -> np.ndarray:
    """R(x) = Phi(-x) / phi(x)."""
    return np.sqrt(np.pi / 2) * special.erfcx(x / np.sqrt(2))


def _excess(x: np.ndarray, hazard: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the variance of X - x given X > x, for a standard normal X; hazard = phi(x) / Phi(-x)."""
    mean = hazard - x
    variance = 1 - hazard * mean
    far = x > _FAR_TAIL
    if far.any():
        mean[far], variance[far] = _excess_far(x[far])
    return mean, variance


def _excess_far(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same where those differences cancel."""
    first, second = _moment_ratios(x, 2)
    return first, first * (second - first)


def _moment_ratios(x: np.ndarray, count: int) -> list[np.ndarray]:
    """M_n / M_(n-1) for n = 1, ..., count, where M_n = E[(X - x)^n; X > x], X is standard normal, and x > 5.

    Integration by parts gives M_(n+1) = n M_(n-1) - x M_n, so that M_n / M_(n-1) = n / (x + M_(n+1) / M_n): a continued
    fraction, which 24 terms settle. It starts from the root of r = n / (x + r), to which M_n / M_(n-1) tends.
    """
    ratios = [50 / (x + np.sqrt(x * x + 100))]
    for n in range(24, 0, -1):
        ratios.append(n / (x + ratios[-1]))
    return ratios[: -count - 1 : -1]


def _halves(m: np.ndarray, v: np.ndarray) -> _Halves:
    """The moments of N(m, v) on either side of 0, for m and v of shape (E,); v = 0 is a point mass."""
    s = np.sqrt(v)
    a = np.clip(m / np.maximum(s, _TINY), -_REACH, _REACH)
    phi = np.exp(-a * a / 2) / np.sqrt(2 * np.pi)
    mills = _mills(np.abs(a))
    tail = phi * mills
    p, q = np.where(a > 0, 1 - tail, tail), np.where(a > 0, tail, 1 - tail)
    mean_right, variance_right = _right(m, v, s, a, phi, mills, p)
    mean_left, power, variance_left = _left(m, v, s, a, phi, mills, q)
    density = phi / np.maximum(s, _TINY)
    return _Halves(p, q, mean_right, mean_left, power, variance_right, variance_left, density)


def _right(m, v, s, a, phi, mills, p):
    """E[z | z > 0] and Var[z | z > 0]."""
    hazard = np.where(a > 0, phi / np.maximum(p, 0.5), 1 / mills)
    excess, variance = _excess(-a, hazard)
    return np.where(a > 0, m + s * hazard, s * excess), v * variance


def _left(m, v, s, a, phi, mills, q):
    """E[1 - e^z | z <= 0], E[e^z | z <= 0] and Var[e^z | z <= 0]."""
    far = m + 2 * v <= -_KINK_FAR * s
    narrow = (v < _CANCELS * (1 + np.square(np.maximum(a, 0)))) & (a < _REACH) & ~far
    arguments, results = (m, v, s, a, phi, mills, q), tuple(np.empty((3, len(m))))
    tail, wide = narrow & (a > _FAR_TAIL), ~(far | narrow)
    for chosen, rule in ((far, _left_far), (narrow & ~tail, _left_narrow), (tail, _left_tail), (wide, _left_wide)):
        if chosen.all():
            return rule(*arguments)
        k = np.flatnonzero(chosen)
        if k.size:
            for result, values in zip(results, rule(*(x[k] for x in arguments)), strict=True):
                result[k] = values
    return results


def _left_wide(m, v, s, a, phi, mills, q):
    """The same from E[e^z; z <= 0] and E[e^(2z); z <= 0]; where a > 0 both and q are divided by phi(a)."""
    scale, whole = np.where(a > 0, 1.0, phi), np.where(a > 0, mills, q)

    def exponential(j: int) -> np.ndarray:
        tail = scale * _mills(np.abs(a + j * s))
        return np.where(m + j * v >= 0, tail, np.exp(np.minimum(j * (m + j * v / 2), 0)) - tail)

    power, square = exponential(1) / whole, exponential(2) / whole
    return 1 - power, power, square - power * power


def _left_far(m, v, s, a, phi, mills, q):
    """The same where the kink is so far above the mean that it does not matter: e^z is log-normal."""
    return -np.expm1(m + v / 2), np.exp(m + v / 2), -np.exp(2 * (m + v)) * np.expm1(-v)


def _left_narrow(m, v, s, a, phi, mills, q):
    """The same where z is so narrow that e^z hardly varies: from the Taylor series of ln R, in which nothing cancels.

    E[e^(jz) | z <= 0] = R(a + j s) / R(a). The derivative of ln R(x) is -e, with the mean excess e = h - x, and that of
    h = 1 / R is h e. So the coefficients of h and e at a follow one from another, and

        -ln E[e^z] = sum_k e_k s^(k+1) / (k + 1)
        ln E[e^(2z)] - 2 ln E[e^z] = -sum_k e_k (2^(k+1) - 2) s^(k+1) / (k + 1)
    """
    mean, variance = _excess(a, phi / q)
    h, e = [phi / q, 1 - variance], [mean, -variance]
    for k in range(2, _TAYLOR):
        h.append(sum(h[i] * e[k - 1 - i] for i in range(k)) / k)
        e.append(h[k])
    log_power, spread = np.zeros_like(s), np.zeros_like(s)
    for k in range(_TAYLOR - 1, -1, -1):
        log_power = s * (log_power - e[k] / (k + 1))
        spread = s * (spread - e[k] * ((2 ** (k + 1) - 2) / (k + 1)))
    power = np.exp(log_power)
    return -np.expm1(log_power), power, power * power * np.expm1(spread)


def _left_tail(m, v, s, a, phi, mills, q):
    """The same where z is narrow and z <= 0 lies far out in its tail: from the moments of z given z <= 0.

    With 1 - e^z = -sum_k z^k / k!, and its square, sum_k (2^k - 2) z^k / k!.
    """
    term, mean, square = 1.0, 0.0, 0.0
    for k, ratio in enumerate(_moment_ratios(a, _MOMENTS), start=1):
        term = term * ratio * s / -k
        mean = mean - term
        square = square + (2**k - 2) * term
    return mean, 1 - mean, square - mean * mean


# --- every other activation by quadrature ----------------------------------------------------------------------------
#
# With the nodes and the cuts of `gaussian.expectation`, but row by row, because each is centred by its own f(m).

_NARROW = 0.1  # standard deviation up to which a smooth f is integrated by the trapezoidal rule
_TRAPEZOIDAL = np.arange(-20, 21) / 2
_INNER_NODES, _INNER_WEIGHTS = (legendre.leggauss(6)[0] + 1) / 2, legendre.leggauss(6)[1] / 2

# f(z) less its limits at -inf and at inf, exact where f is close to them.
_FROM_LIMITS: dict[Activation, tuple[Callable, Callable]] = {
    activations.get("sigmoid"): (special.expit, lambda z: -special.expit(-z)),
    activations.get("tanh"): (lambda z: 2 * special.expit(2 * z), lambda z: -2 * special.expit(-2 * z)),
}


def _moments_by_quadrature(a: Activation, m: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean, variance = np.empty_like(m), np.empty_like(m)
    for part, _, weights, difference, _ in _rules(a, m, v):
        shift = (weights * difference).sum(axis=1)
        mean[part] = a.f(m[part]) + shift
        variance[part] = (weights * (difference - shift[:, None]) ** 2).sum(axis=1)
    return mean, variance


def _slopes_by_quadrature(a: Activation, m: np.ndarray, v: np.ndarray) -> tuple[tuple, tuple]:
    """By Stein's identity: d E[h(Z)] / dv = E[h'(Z) (Z - m)] / (2v)."""
    result = np.empty((2, 2, len(m)))
    for part, x, weights, difference, z in _rules(a, m, v):
        s = np.sqrt(v[part])
        slope, centre = a.derivative(z), a.derivative(m[part])[:, None]
        deviation = difference - (weights * difference).sum(axis=1)[:, None]
        change = weights * (slope - centre)
        result[0, 0, part] = (weights * slope).sum(axis=1)
        result[0, 1, part] = (change * x).sum(axis=1) / (2 * s)
        result[1, 0, part] = 2 * (change * deviation).sum(axis=1)
        result[1, 1, part] = (weights * slope * deviation * x).sum(axis=1) / s
    return result


def _rules(a: Activation, m: np.ndarray, v: np.ndarray) -> Iterator[tuple]:
    """(part, x, weights, f(z) - f(m), z) for the narrow and for the other Gaussians.

    x = (z - m) / s are the nodes, one row for each of the points in `part`, and the weights include the density.
    """
    s = np.sqrt(v)
    kinks = np.asarray(a.kinks, np.float64)
    smooth = (s <= _NARROW) & (np.abs(np.subtract.outer(kinks, m)) > _UNIFORM[-1] * s).all(axis=0)
    rules = (smooth, _trapezoidal, _narrow_difference), (~smooth, _panels, _wide_difference)
    for chosen, rule, difference in rules:
        part = np.flatnonzero(chosen)
        if part.size:
            x, weights = rule(m[part], s[part], kinks)
            centre, step = m[part][:, None], s[part][:, None] * x
            yield part, x, weights, difference(a, centre, step), centre + step


def _narrow_difference(a: Activation, m: np.ndarray, step: np.ndarray) -> np.ndarray:
    """f(m + step) - f(m) as the integral of the slope."""
    return step * sum(w * a.derivative(m + u * step) for u, w in zip(_INNER_NODES, _INNER_WEIGHTS, strict=True))


def _wide_difference(a: Activation, m: np.ndarray, step: np.ndarray) -> np.ndarray:
    """f(m + step) - f(m), with its digits also where f is close to a limit."""
    z = m + step
    if a not in _FROM_LIMITS:
        return a.f(z) - a.f(m)
    from_below, from_above = _FROM_LIMITS[a]
    return np.where(m < 0, from_below(z) - from_below(m), from_above(z) - from_above(m))


def _trapezoidal(m: np.ndarray, s: np.ndarray, kinks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights where f varies slowly over all of the Gaussian."""
    x = np.broadcast_to(_TRAPEZOIDAL, (len(m), len(_TRAPEZOIDAL)))
    return x, _density(x) / 2


def _panels(m: np.ndarray, s: np.ndarray, kinks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of Gauss-Legendre on panels between cuts; some panels have no width."""
    points = np.unique(np.append(kinks, 0.0))
    cuts = np.append(points, np.add.outer(points, _OFFSETS))
    scaled = np.clip((cuts - m[:, None]) / np.maximum(s, _TINY)[:, None], -_UNIFORM[-1], _UNIFORM[-1])
    edges = np.sort(np.concatenate([np.broadcast_to(_UNIFORM, (len(m), len(_UNIFORM))), scaled], axis=1), axis=1)
    half = np.diff(edges, axis=1)[..., None] / 2
    x = (edges[:, :-1, None] + half + half * _NODES).reshape(len(m), -1)
    weights = (half * _WEIGHTS).reshape(len(m), -1)
    return x, weights * _density(x)


# --- fixed points ----------------------------------------------------------------------------------------------------

_NEWTON_STEPS, _HALVINGS = 100, 12


def _newton(a: Activation, omega: float, tau: float, mu: float, nu: float) -> tuple[float, float] | None:
    """A root of (mu~ - mu, ln(nu~ / nu)) by Newton's method in mu and ln nu; None where it finds none.

    A step changes nu by a factor of at most e^2, and is halved until it is one towards the root.
    """

    def residual(mu: float, nu: float) -> tuple[float, float, float]:
        mean, variance = moment_map(a, mu, nu, omega, tau)
        return mean - mu, variance / nu, _distance(mean - mu, variance / nu, mu, nu)

    change, ratio, error = residual(mu, nu)
    for _ in range(_NEWTON_STEPS):
        if error < 1e-15 or not np.isfinite(error):
            break
        H = jacobian(a, mu, nu, omega, tau)
        slopes = np.array([[H[0, 0] - 1, H[0, 1] * nu], [H[1, 0] / (ratio * nu), H[1, 1] / ratio - 1]])
        step = np.linalg.lstsq(slopes, [-change, -np.log(ratio)], rcond=_SETTLED)[0]
        step *= min(1.0, 2 / max(abs(step[0]) / np.sqrt(mu * mu + nu), abs(step[1]), 1.0))
        for halvings in range(_HALVINGS):
            trial = mu + step[0] / 2**halvings, nu * np.exp(step[1] / 2**halvings)
            if not (_SMALLEST < trial[1] < _LARGEST and abs(trial[0]) < _LARGEST):
                return None
            following = residual(*trial)
            if following[-1] < error:
                break
        else:
            break  # rounding is reached, or a minimum that is no root
        (mu, nu), (change, ratio, error) = trial, following
    return (float(mu), float(nu)) if error < _SETTLED else None


def _follow(a: Activation, omega: float, tau: float, mu: float, nu: float) -> tuple[tuple[float, float], str]:
    """Where iteration leads, (mu, nu), and what happens on the way in words, "" if it settles."""
    path = [(mu, nu)]
    for layer in range(1, _LAYERS + 1):
        before, (mu, nu) = path[-1], (float(x) for x in moment_map(a, *path[-1], omega, tau))
        path.append((mu, nu))
        if nu < _SMALLEST:
            return before, f"the variance dies out (nu = {nu:.1e} after {layer} layers)"
        if max(nu, abs(mu)) > _LARGEST:
            return before, f"the moments grow without bound (mu = {mu:.1e}, nu = {nu:.1e} after {layer} layers)"
        if _distance(mu - before[0], nu / before[1], mu, nu) < _SETTLED:
            return (mu, nu), ""
    growth = nu / path[_LAYERS // 2][1]
    slowly = "the variance dies out slowly" if growth < 0.7 else "the variance grows slowly"
    fate = slowly if not 0.7 <= growth <= 1.4 else "iteration has not settled"
    return (mu, nu), f"{fate} (mu = {mu:.1e}, nu = {nu:.1e} after {_LAYERS} layers)"


def _distance(change: float, ratio: float, mu: float, nu: float) -> float:
    """How far a layer moves (mu, nu), if it adds `change` to mu and multiplies nu by `ratio`."""
    return float(np.hypot(change / np.sqrt(mu * mu + nu), np.log(ratio))) if ratio > 0 else np.inf


def _crossings(a: Activation, omega: float, tau: float, mu: float) -> Iterator[tuple[float, float]]:
    """(mu~, nu) on either side of which the variance grows and shrinks, at the mean mu."""
    nu = np.geomspace(_SMALLEST, _LARGEST, 201)
    mean, variance = moment_map(a, mu, nu, omega, tau)
    for k in np.flatnonzero((variance[1:] > nu[1:]) != (variance[:-1] > nu[:-1])):
        yield float(mean[k]), float(nu[k])


# --- the constants ---------------------------------------------------------------------------------------------------


def _exact(label: str, value: float | str | Fraction) -> Fraction:
    """The value as an exact rational number, checked."""
    try:
        number = Fraction(*mpmath.libmp.to_rational(value._mpf_)) if isinstance(value, mpmath.mpf) else Fraction(value)
    except (ValueError, OverflowError, TypeError, ZeroDivisionError):
        raise ValueError(f"{label} must be a finite number, got {value!r}") from None
    if label in ("nu", "tau") and number <= 0:
        raise ValueError(f"{label} must be positive, got {value}")
    return number


def _cancelling(mu: Fraction, nu: Fraction, omega: Fraction, tau: Fraction) -> int:
    """How many digits the differences in `_constants` may lose: more, the narrower z or the farther the kink."""
    return sum(abs(mpmath.mag(mpmath.mpf(x.numerator) / x.denominator)) for x in (mu * omega, nu * tau) if x)


def _constants(mu: Fraction, nu: Fraction, omega: Fraction, tau: Fraction) -> tuple[mpmath.mpf, mpmath.mpf]:
    """alpha and lam at the working precision of mpmath; see `selu_constants`."""
    mu, nu, m, v = (mpmath.mpf(x.numerator) / x.denominator for x in (mu, nu, mu * omega, nu * tau))
    s = mpmath.sqrt(v)

    def power(j: int) -> mpmath.mpf:
        """E[e^(jz); z <= 0]."""
        return mpmath.exp(j * m + j * j * v / 2) * mpmath.erfc((m + j * v) / (s * mpmath.sqrt(2))) / 2

    p, density = mpmath.erfc(-m / (s * mpmath.sqrt(2))) / 2, s * mpmath.npdf(m / s)
    P, S = m * p + density, (m * m + v) * p + m * density
    Q, T = power(0) - power(1), power(0) - 2 * power(1) + power(2)
    share = mu * mu / (nu + mu * mu)
    limit = P * P / S if mu > 0 else Q * Q / T
    if mu != 0 and share >= limit:
        bound = mpmath.nstr(mpmath.sqrt(limit / (1 - limit)), 6)
        raise ValueError(
            f"no alpha > 0 and lam > 0 give the fixed point mu = {mpmath.nstr(mu, 6)}, nu = {mpmath.nstr(nu, 6)}: with "
            f"mu omega = {mpmath.nstr(m, 6)} and nu tau = {mpmath.nstr(v, 6)}, |mu| / sqrt(nu) must be below {bound} "
            f"for a {'positive' if mu > 0 else 'negative'} mean"
        )
    if mu == 0:
        alpha = P / Q
    else:
        A, B, C = Q * Q - share * T, P * Q, P * P - share * S
        root = mpmath.sqrt(B * B - A * C)
        alpha = C / (B + root) if mu > 0 else (B + root) / A
    return alpha, mpmath.sqrt((nu + mu * mu) / (S + alpha * alpha * T))
