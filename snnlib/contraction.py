"""The certified proof that the map g contracts: ball arithmetic, in which every rounding is accounted for.

Chapter: book/self-normalizing/contraction-proof. Notation of the course: mu and nu are the mean and the variance of a
layer's inputs, omega and tau the sum and the sum of squares of one row of W, m = mu omega and v = nu tau the mean and
the variance of the pre-activation z ~ N(m, v), and g maps (mu, nu) to (mu~, nu~), mean and variance of selu(z).

**From four dimensions to two.** g depends on mu, nu, omega, tau through m and v alone. Its Jacobian is thus

    H = K(m, v) diag(omega, tau),        K = d(mu~, nu~) / d(m, v).

Where |omega| <= w and tau <= t, K diag(omega, tau) = K diag(w, t) D with a diagonal D of entries of at most 1, so that
||K diag(omega, tau)|| <= ||K diag(w, t)||. The largest norm on a domain is therefore the largest ||K(m, v) diag(w, t)||
over (m, v), where w is the largest |omega| and t the largest tau that occur together with m and v:
t = min(tau_max, v / nu_min); `Domain.largest_omega` finds w. Where both intervals are symmetric about 0, w is the
largest |omega| of all, for every m.

**Derivatives.** Where Z ~ N(m, v), the derivative of E[h(Z)] with respect to v is half the second derivative with
respect to m, for every h that grows more slowly than the density falls. All derivatives are thus derivatives with
respect to m, and these are sums of E_k = E[e^(kZ); Z <= 0] and of the density p of Z at 0: dE_k/dm = k E_k - p.

**Bounds over a box.** By the mean value theorem K(m, v) = K(centre) + (m - m_c) K_m + (v - v_c) K_v, with matrices K_m
and K_v whose entries lie in the range of the derivatives over the box. For fixed K_m and K_v the norm of the right-hand
side is a convex function of (m, v), so that it is largest in a corner of the box. Ball arithmetic evaluates the four
corners for all K_m and K_v at once. What is overestimated shrinks with the square of the size of the box; the box with
the largest bound is halved until the bound is good enough.

Nothing that is not proven is claimed: where the search gives up, it says so and shows the box (`Witness`).
"""

from __future__ import annotations

import heapq
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from functools import wraps
from numbers import Rational

try:
    from flint import arb, ctx, fmpq
except ImportError as error:
    raise ImportError('snnlib.contraction needs python-flint: pip install "snnlib[proof]"') from error

#: A number that is what it says: a decimal string such as "0.1" or "1/3", an integer, a `Fraction` or a `Decimal`.
Exact = str | Rational | Decimal
Interval = tuple[Fraction, Fraction]  #: (least, greatest), both included.
Matrix = tuple[tuple[arb, arb], tuple[arb, arb]]  #: A 2 x 2 matrix of balls, row by row.
#: Whether and how a search reports: True, or a function of its name, the boxes looked at, and the bound so far.
Progress = bool | Callable[[str, int, Decimal], None] | None

_BITS = 128  # of every midpoint; with fewer, bounds would be wider, not wrong
_DIGITS = 12  # significant digits of the bounds that are reported, rounded outwards


# --- exact numbers ---------------------------------------------------------------------------------------------------


def _rational(value: Exact, name: str) -> Fraction:
    """The value as a fraction, exactly."""
    if isinstance(value, float) or not isinstance(value, str | Rational | Decimal):
        why = ": a float is not the decimal that it shows (0.1 is not one tenth)" if isinstance(value, float) else ""
        raise TypeError(f"{name} must be a decimal string, an integer, a Fraction or a Decimal, got {value!r}{why}")
    try:
        return Fraction(value)
    except (ValueError, OverflowError, ZeroDivisionError):
        raise ValueError(f"{name} must be a finite number such as '0.1' or '1/3', got {value!r}") from None


def _interval(value: Sequence[Exact], name: str) -> Interval:
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != 2:
        raise TypeError(f"{name} must be an interval, a pair (least, greatest), got {value!r}")
    low, high = (_rational(end, name) for end in value)
    if low > high:
        raise ValueError(f"the interval for {name} is empty: [{_text(low)}, {_text(high)}]; the lesser end comes first")
    return low, high


def _tolerance(value: Exact) -> arb:
    tolerance = _rational(value, "tolerance")
    if tolerance <= 0:
        raise ValueError(f"tolerance must be positive, got {_text(tolerance)}")
    return _exact(tolerance)


def _ball(value, name: str) -> arb:
    """A ball that holds an exact number or an interval; a ball comes back as it is."""
    if isinstance(value, arb):
        if not value.is_finite():
            raise ValueError(f"{name} must be finite, got {value}")
        return value
    if isinstance(value, Sequence) and not isinstance(value, str):
        return _hull(_interval(value, name))
    return _exact(_rational(value, name))


def _exact(value: Fraction | int) -> arb:
    """The ball of a fraction, as narrow as the precision allows."""
    return arb(fmpq(value.numerator, value.denominator))


def _hull(interval: Interval) -> arb:
    return _exact(interval[0]).union(_exact(interval[1]))


def _middle(interval: Interval) -> Fraction:
    return (interval[0] + interval[1]) / 2


def _deviation(ball: arb) -> arb:
    return ball - ball.mid()


def _up(x: arb) -> Decimal:
    return _rounded(x.upper(), ROUND_CEILING)


def _down(x: arb) -> Decimal:
    return _rounded(x.lower(), ROUND_FLOOR)


def _rounded(x: arb, rounding: str) -> Decimal:
    """An exact ball as a decimal, rounded in the direction given."""
    if not x.is_finite():
        return Decimal("Infinity") if x > 0 else Decimal("-Infinity")
    mantissa, exponent = (int(part) for part in x.man_exp())
    value = Fraction(mantissa) * Fraction(2) ** exponent
    context = Context(prec=_DIGITS, rounding=rounding)
    return context.divide(Decimal(value.numerator), Decimal(value.denominator))


def _text(value: Fraction) -> str:
    """As a decimal where that is exact and short, otherwise as a fraction."""
    decimal = Context(prec=28).divide(Decimal(value.numerator), Decimal(value.denominator))
    return f"{decimal.normalize():f}" if Fraction(decimal) == value else str(value)


# --- domains ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Domain:
    """Four closed intervals: which mu, nu, omega and tau are considered. Every combination of them counts.

    Each interval is given as a pair (least, greatest) of decimal strings such as "0.1" or "1/3", integers, `Fraction`s
    or `Decimal`s, and kept as a pair of `Fraction`s, exactly. Floats are refused: 0.1 as a float is not one tenth.

    nu and tau must be positive. At v = nu tau = 0 the layer's output is a constant, and near it, with m = 0, the
    derivative of mu~ with respect to v grows like 1 / sqrt(v) beyond every bound: there is no norm to speak of.

    Raises TypeError for floats and what is no number, ValueError for text that is no number, for a reversed interval,
    and for a variance or a sum of squares that is not positive.

    >>> domain = Domain(mu=("-0.1", "0.1"), nu=("0.8", "1.5"), omega=(0, 0), tau=(1, 1))
    >>> print(domain)
    mu in [-0.1, 0.1], nu in [0.8, 1.5], omega in [0, 0], tau in [1, 1]
    >>> domain.v
    (Fraction(4, 5), Fraction(3, 2))
    """

    mu: Interval
    nu: Interval
    omega: Interval
    tau: Interval

    def __post_init__(self):
        for name in ("mu", "nu", "omega", "tau"):
            interval = _interval(getattr(self, name), name)
            if name in ("nu", "tau") and interval[0] <= 0:
                what = "variances" if name == "nu" else "sums of squares"
                raise ValueError(f"{name} holds {what} and must begin above 0, got {_text(interval[0])}")
            object.__setattr__(self, name, interval)

    def __str__(self) -> str:
        parts = ((name, getattr(self, name)) for name in ("mu", "nu", "omega", "tau"))
        return ", ".join(f"{name} in [{_text(low)}, {_text(high)}]" for name, (low, high) in parts)

    @property
    def m(self) -> Interval:
        """All mu omega, an interval."""
        products = [mu * omega for mu in self.mu for omega in self.omega]
        return min(products), max(products)

    @property
    def v(self) -> Interval:
        """All nu tau, an interval."""
        return self.nu[0] * self.tau[0], self.nu[1] * self.tau[1]

    def largest_omega(self, m: Interval) -> Fraction:
        """The omega of largest magnitude for which some mu of the domain has mu omega in m.

        Raises ValueError where there is none; for m within `self.m` there is one.
        """
        (low, high), (omega_low, omega_high) = m, self.omega
        candidates = []
        if omega_high >= 0:
            candidates.append(_largest_factor(max(omega_low, 0), omega_high, self.mu, low, high))
        if omega_low <= 0:
            factor = _largest_factor(max(-omega_high, 0), -omega_low, self.mu, -high, -low)
            candidates.append(None if factor is None else -factor)
        possible = [omega for omega in candidates if omega is not None]
        if not possible:
            raise ValueError(f"no mu and omega of the domain have a product in [{_text(low)}, {_text(high)}]")
        return max(possible, key=abs)

    def point(
        self, m: Fraction, v: Fraction, largest_tau: bool = True
    ) -> tuple[Fraction, Fraction, Fraction, Fraction]:
        """(mu, nu, omega, tau) in the domain with mu omega = m, nu tau = v and the largest |omega|.

        tau is the largest that occurs there, or, without largest_tau, the least.
        """
        omega = self.largest_omega((m, m))
        mu = m / omega if omega else self.mu[0]
        tau = min(self.tau[1], v / self.nu[0]) if largest_tau else max(self.tau[0], v / self.nu[1])
        return mu, v / tau, omega, tau


def _largest_factor(least, greatest, mu: Interval, low: Fraction, high: Fraction) -> Fraction | None:
    """The largest factor in [least, greatest], which are not negative, that takes some mu into [low, high]."""
    for coefficient, limit in ((mu[0], high), (-mu[1], -low)):  # factor * coefficient <= limit, twice
        if coefficient > 0:
            greatest = min(greatest, limit / coefficient)
        elif coefficient < 0:
            least = max(least, limit / coefficient)
        elif limit < 0:
            return None
    return greatest if least <= greatest else None


#: The domain of Theorem 1 of Klambauer et al. (2017); thm-snn.
THEOREM_1 = Domain(mu=("-0.1", "0.1"), nu=("0.8", "1.5"), omega=("-0.1", "0.1"), tau=("0.95", "1.1"))
#: The domain of Theorem 2; thm-variance.
THEOREM_2 = Domain(mu=(-1, 1), nu=(3, 16), omega=("-0.1", "0.1"), tau=("0.8", "1.25"))
#: The two domains of Theorem 3, D1 and D2; thm-variance.
THEOREM_3 = (
    Domain(mu=("-0.1", "0.1"), nu=("0.02", "0.16"), omega=("-0.1", "0.1"), tau=("0.8", "1.25")),
    Domain(mu=("-0.1", "0.1"), nu=("0.02", "0.24"), omega=("-0.1", "0.1"), tau=("0.9", "1.25")),
)
#: The two domains as the paper's appendix restates them, with nu from 0.05.
THEOREM_3_APPENDIX = tuple(Domain(d.mu, (Fraction(1, 20), d.nu[1]), d.omega, d.tau) for d in THEOREM_3)


# --- what is handed back ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Witness:
    """Where a proof got stuck.

    Attributes
    ----------
    claim : what could not be proven, such as "norm < 1" or "mu~ <= 0.1"; what stands on its left is the quantity.
    m, v : the box of pre-activation means and variances, exact ends.
    bound : no more is known on this box than that the quantity is at most this, or at least this where the claim is >.
    point : (mu, nu, omega, tau) in the box, exact numbers, where the claim is false; None where it is only not proven.
    value : the quantity is at least (or at most) this at that point, which refutes the claim; None without a point.
    """

    claim: str
    m: Interval
    v: Interval
    bound: Decimal
    point: tuple[Fraction, Fraction, Fraction, Fraction] | None = None
    value: Decimal | None = None

    @property
    def refuted(self) -> bool:
        """Whether the claim is false; otherwise it is only not proven."""
        return self.point is not None

    def __str__(self) -> str:
        above = ">" not in self.claim
        if self.refuted:
            names = zip(("mu", "nu", "omega", "tau"), map(_text, self.point), strict=True)
            where = ", ".join(f"{name} = {value}" for name, value in names)
            return f"{self.claim} is false: it is at {'least' if above else 'most'} {self.value} at {where}"
        where = ", ".join(f"{name} in [{_text(x[0])}, {_text(x[1])}]" for name, x in (("m", self.m), ("v", self.v)))
        return f"{self.claim} is not proven: only {'<=' if above else '>='} {self.bound} is known for {where}"


@dataclass(frozen=True)
class Image:
    """An enclosure of g(domain), which `image` finds.

    Attributes
    ----------
    mu, nu : mu~ and nu~ lie in these intervals, whose ends are rounded outwards. They can be put into a `Domain`
        again, which encloses the next layer.
    boxes : how many boxes were looked at.
    """

    mu: tuple[Decimal, Decimal]
    nu: tuple[Decimal, Decimal]
    boxes: int

    def within(self, mu: Sequence[Exact], nu: Sequence[Exact]) -> bool:
        """Whether the enclosure lies in the rectangle mu x nu, given by two intervals.

        Raises TypeError and ValueError for what is no interval.
        """
        (mu_low, mu_high), (nu_low, nu_high) = _interval(mu, "mu"), _interval(nu, "nu")
        inside = mu_low <= Fraction(self.mu[0]) and Fraction(self.mu[1]) <= mu_high
        return inside and nu_low <= Fraction(self.nu[0]) and Fraction(self.nu[1]) <= nu_high


@dataclass(frozen=True)
class Certificate:
    """What `certify` has proven.

    Attributes
    ----------
    contracts : it is proven that the spectral norm of the Jacobian of g is below `bound` on the whole domain.
    maps_into_itself : it is proven that g maps [mu_min, mu_max] x [nu_min, nu_max] into itself, for all omega and tau.
    singular_value_bound : the norm is at most this on the domain, in any case.
    image : an enclosure of g(domain).
    boxes, seconds : how many boxes were looked at, and how long that took.
    witness : where the contraction could not be proven; None where it is.
    escape : where mu~ or nu~ could not be proven to stay inside; None where the domain is mapped into itself.
    """

    contracts: bool
    maps_into_itself: bool
    singular_value_bound: Decimal
    image: Image
    boxes: int
    seconds: float
    witness: Witness | None
    escape: Witness | None


@dataclass(frozen=True)
class VarianceCertificate:
    """What `certify_decrease` or `certify_increase` has proven.

    Attributes
    ----------
    proven : the claim holds on the whole domain.
    margin : nu changes by at least this much everywhere, in the direction claimed; not above 0 where not proven.
    boxes, seconds : how many boxes were looked at, and how long that took.
    witness : where it could not be proven; None where it is. Its quantity is nu~ - nu.
    """

    proven: bool
    margin: Decimal
    boxes: int
    seconds: float
    witness: Witness | None


# --- the constants, and the map over a box ---------------------------------------------------------------------------


def _in_balls(function: Callable) -> Callable:
    """The function, run with balls of _BITS bits."""

    @wraps(function)
    def run(*arguments, **keywords):
        with ctx.workprec(_BITS):
            return function(*arguments, **keywords)

    return run


@_in_balls
def constants(nu: Exact | Sequence[Exact] | arb = 1) -> tuple[arb, arb]:
    """(alpha, lambda) as balls, for which (0, nu) is a fixed point of g when omega = 0 and tau = 1.

    nu = 1 gives the constants of SELU (Klambauer et al., 2017, equation 14). An interval gives balls that hold the
    constants of every nu in it: a family of activations. Raises ValueError where nu is not positive.

    >>> alpha, lam = constants()
    >>> print(alpha.str(10), lam.str(10))
    [1.673263242 +/- 3.55e-10] [1.050700987 +/- 3.56e-10]
    """
    nu = _ball(nu, "nu")
    if not nu > 0:
        raise ValueError(f"nu is a variance and must be positive, got {nu}")
    (alpha, square, *_), (*_, slope, square_slope) = _constants(nu.mid()), _constants(nu)
    return alpha + _deviation(nu) * slope, 1 / (square + _deviation(nu) * square_slope).sqrt()


def _constants(nu: arb) -> tuple[arb, arb, arb, arb]:
    """alpha and 1 / lambda^2, and their derivatives with respect to nu.

    At m = 0 the derivatives of E_k and p with respect to v are (k^2 E_k - k p) / 2 and -p / 2v.
    """
    e0, e1, e2, p = _tails(arb(0), nu)
    below, square = e0 - e1, e2 - 2 * e1 + e0  # E[1 - e^Z; Z <= 0] and E[(1 - e^Z)^2; Z <= 0]
    alpha = nu * p / below  # so that mu~ = 0
    slope = (p / 2 * below - nu * p * (p - e1) / 2) / below**2
    inverse = arb(1) / 2 + alpha**2 * square / nu  # so that xi~ = nu
    return alpha, inverse, slope, alpha * (2 * slope * square + alpha * (2 * e2 - e1) - alpha * square / nu) / nu


@_in_balls
def enclose(m, v, alpha=None, lam=None) -> tuple[arb, arb]:
    """Balls that hold mu~ and nu~ for every pre-activation mean in m and variance in v (paper, equations 4 and 5).

    m, v, alpha and lam may be exact numbers, intervals (pairs of exact numbers) or balls; without alpha or lam, the
    exact constants of SELU are taken. Raises ValueError where v is not positive.

    >>> mean, variance = enclose(0, ("0.9", "1.1"))
    >>> variance.contains(1)
    True
    """
    m, v, alpha, lam = _arguments(m, v, alpha, lam)
    centre = _moments(_derivatives(m.mid(), v.mid(), alpha, lam))
    slopes = _jacobian(_derivatives(m, v, alpha, lam))
    return tuple(c + _deviation(m) * k1 + _deviation(v) * k2 for c, (k1, k2) in zip(centre, slopes, strict=True))


@_in_balls
def jacobian_factor(m, v, alpha=None, lam=None) -> Matrix:
    """Balls that hold the entries of K = d(mu~, nu~) / d(m, v); arguments and errors as in `enclose`."""
    m, v, alpha, lam = _arguments(m, v, alpha, lam)
    centre, box = _derivatives(m.mid(), v.mid(), alpha, lam), _derivatives(m, v, alpha, lam)
    return _combine(_jacobian(centre), (_deviation(m), _slope_m(box)), (_deviation(v), _slope_v(box)))


def _arguments(m, v, alpha, lam) -> tuple[arb, arb, arb, arb]:
    m, v = _ball(m, "m"), _ball(v, "v")
    if not v > 0:
        raise ValueError(f"v is a variance and must be positive, got {v}")
    return m, v, *_activation(alpha, lam)


def _activation(alpha, lam) -> tuple[arb, arb]:
    """The constants as balls; None stands for those of SELU."""
    exact = constants() if alpha is None or lam is None else (None, None)
    return tuple(
        x if given is None else _ball(given, name)
        for name, given, x in zip(("alpha", "lam"), (alpha, lam), exact, strict=True)
    )


def _tails(m: arb, v: arb) -> tuple[arb, arb, arb, arb]:
    """E_k = E[e^(kZ); Z <= 0] for k = 0, 1, 2, and the density p of Z at 0, where Z ~ N(m, v).

    E_k = e^(-m^2/2v) erfcx(x) / 2 = e^(km + k^2 v/2) erfc(x) / 2 with x = (m + kv) / sqrt(2v). The first form suffers
    no overflow for x > 0 and the second none for x < 0, so that their balls stay small.
    """
    s = v.sqrt()
    x = m / s / arb(2).sqrt()
    gauss = _falling(lambda y: (-y * y).exp(), x.abs_lower(), x.abs_upper())  # e^(-m^2/2v)

    def tail(k: int) -> arb:
        y = x + k * s / arb(2).sqrt()
        if y.mid() > 0:
            return gauss * _falling(lambda t: (t * t).exp() * t.erfc(), y.lower(), y.upper()) / 2
        return (k * m + k * k * v / 2).exp() * _falling(arb.erfc, y.lower(), y.upper()) / 2

    return tail(0), tail(1), tail(2), gauss / (s * (2 * arb.pi()).sqrt())


def _falling(function: Callable[[arb], arb], low: arb, high: arb) -> arb:
    """The values of a falling function on [low, high]."""
    return function(low).union(function(high))


def _derivatives(m: arb, v: arb, alpha: arb, lam: arb) -> tuple[list[arb], list[arb]]:
    """(a, b) with a[j] and b[j] the derivatives of order j = 0, ..., 4 with respect to m of E[f(Z)] and E[f(Z)^2]."""
    e0, e1, e2, p = _tails(m, v)
    positive, u = 1 - e0, m / v  # the probability of Z > 0
    p1, p2 = -u * p, (u * u - 1 / v) * p  # derivatives of p
    bend = 1 - alpha  # f' jumps by lambda (1 - alpha) at 0
    a = [
        m * positive + v * p + alpha * (e1 - e0),
        positive + alpha * e1,
        alpha * e1 + bend * p,
        alpha * (e1 - p) + bend * p1,
        alpha * (e1 - p - p1) + bend * p2,
    ]
    square = alpha * alpha
    b = [
        (m * m + v) * positive + m * v * p + square * (e2 - 2 * e1 + e0),
        2 * (m * positive + v * p + square * (e2 - e1)),
        2 * (positive + square * (2 * e2 - e1)),
        2 * (p + square * (4 * e2 - e1 - p)),
        2 * (p1 + square * (8 * e2 - e1 - 3 * p - p1)),
    ]
    return [lam * x for x in a], [lam * lam * x for x in b]


def _moments(derivatives) -> tuple[arb, arb]:
    """(mu~, nu~)."""
    a, b = derivatives
    return a[0], b[0] - a[0] * a[0]


def _jacobian(derivatives) -> Matrix:
    """K; a derivative with respect to v is half the second one with respect to m."""
    a, b = derivatives
    return (a[1], a[2] / 2), (b[1] - 2 * a[0] * a[1], b[2] / 2 - a[0] * a[2])


def _slope_m(derivatives) -> Matrix:
    """dK/dm."""
    a, b = derivatives
    mixed = b[3] / 2 - a[1] * a[2] - a[0] * a[3]
    return (a[2], a[3] / 2), (b[2] - 2 * a[1] * a[1] - 2 * a[0] * a[2], mixed)


def _slope_v(derivatives) -> Matrix:
    """dK/dv."""
    a, b = derivatives
    mixed = b[3] / 2 - a[1] * a[2] - a[0] * a[3]
    return (a[3] / 2, a[4] / 4), (mixed, b[4] / 4 - a[2] * a[2] / 2 - a[0] * a[4] / 2)


# --- small matrices of balls -----------------------------------------------------------------------------------------


def _combine(matrix: Matrix, *terms: tuple[arb, Matrix]) -> Matrix:
    """matrix + sum of factor * other over the terms."""
    for factor, other in terms:
        matrix = tuple(
            tuple(x + factor * y for x, y in zip(*rows, strict=True)) for rows in zip(matrix, other, strict=True)
        )
    return matrix


def _columns(matrix: Matrix, first: arb, second: arb) -> Matrix:
    """matrix diag(first, second)."""
    return tuple((x * first, y * second) for x, y in matrix)


def _norm(matrix: Matrix) -> arb:
    """The spectral norm, of all matrices in the ball (Blinn's formula, as in the paper)."""
    (a, b), (c, d) = matrix
    return (_length(a - d, b + c) + _length(a + d, b - c)) / 2


def _length(x: arb, y: arb) -> arb:
    """sqrt(x^2 + y^2), from the ends of |x| and |y|, because a ball for x^2 may hold negative numbers."""
    low, high = x.abs_lower() ** 2 + y.abs_lower() ** 2, x.abs_upper() ** 2 + y.abs_upper() ** 2
    return low.sqrt().union(high.sqrt())


# --- branch and bound ------------------------------------------------------------------------------------------------

Box = tuple[Interval, Interval]  #: Intervals of m and v.


@dataclass
class _Bound:
    """A quantity on one box: at most `high` there, `centre` in its centre; `axis` is the one to halve next, if any."""

    high: arb
    centre: arb
    axis: int | None


@dataclass
class _Search:
    """A quantity on the domain: at most `high`, the bound of the box `worst`; at least `low` amid the box `best`."""

    goal: arb
    high: arb
    worst: Box
    low: arb
    best: Box
    boxes: int

    @property
    def proven(self) -> bool:
        return self.high < self.goal

    def witness(self, claim: str, domain: Domain, sign: int = 1, largest_tau: bool = True) -> Witness | None:
        """None where the quantity is below its goal; `sign` times the quantity is what the claim is about."""
        if self.proven:
            return None
        bound, value = (_up(self.high), _down(self.low)) if sign > 0 else (_down(-self.high), _up(-self.low))
        if not self.low > self.goal:
            return Witness(claim, *self.worst, bound)
        return Witness(claim, *self.best, bound, domain.point(*map(_middle, self.best), largest_tau), value)


def _search(
    quantity: Callable[[Interval, Interval], _Bound],
    boxes: list[Box],
    goal: arb,
    tolerance: Callable[[arb], arb],
    max_boxes: int,
    report: Callable[[int, arb], None],
) -> _Search:
    """Bound the quantity on the union of the boxes: halve the box with the largest bound until that is good enough.

    It is, when it exceeds the largest value found in a centre by no more than the tolerance, a function of that value,
    and when it is decided whether the quantity is below its goal; `max_boxes` ends the search in any case.
    """
    if max_boxes < 1:
        raise ValueError(f"max_boxes must be at least 1, got {max_boxes}")
    heap, count = [], 0
    low = reference = arb.neg_inf()  # what the quantity reaches at least; likewise up to the width of alpha and lambda
    best = boxes[0]
    while True:
        for box in boxes:
            bound = quantity(*box)
            count += 1
            heapq.heappush(heap, (-bound.high, count, box, bound.axis))
            if bound.centre.lower() > low:
                low, best = bound.centre.lower(), box
            if bound.centre.upper() > reference:
                reference = bound.centre.upper()
        negative, _, box, axis = heap[0]
        high = -negative
        decided = high < goal or reference >= goal
        if count == len(boxes) or count % 64 < len(boxes):
            report(count, high)
        if (decided and high - reference <= tolerance(reference)) or count >= max_boxes or axis is None:
            return _Search(goal, high, box, low, best, count)
        heapq.heappop(heap)
        boxes = _halves(box, axis)


def _halves(box: Box, axis: int) -> list[Box]:
    low, high = box[axis]
    middle = _middle(box[axis])
    return [(*box[:axis], half, *box[axis + 1 :]) for half in ((low, middle), (middle, high))]


def _pieces(domain: Domain, kink: Fraction) -> list[Box]:
    """The domain of (m, v), cut at v = kink if that lies within."""
    low, high = domain.v
    cuts = [low, kink, high] if low < kink < high else [low, high]
    return [(domain.m, (cuts[i], cuts[i + 1])) for i in range(len(cuts) - 1)]


def _place(m: Interval, v: Interval) -> tuple[tuple[arb, arb], tuple[arb, arb]]:
    """The centre of a box and the box itself, as balls."""
    return (_exact(_middle(m)), _exact(_middle(v))), (_hull(m), _hull(v))


def _assess(high: arb, centre: arb, m: Interval, v: Interval, change_m: arb, change_v: arb) -> _Bound:
    """Put a bound together; halve the axis along which the quantity may change more."""
    widths = m[1] - m[0], v[1] - v[0]
    if not high.is_finite():  # v may reach down to 0, up to the rounding of its ball
        return _Bound(arb.pos_inf(), centre, 1 if widths[1] else None)
    axis = 0 if change_m.abs_upper() > change_v.abs_upper() else 1
    if not widths[axis]:
        axis = 1 - axis
    return _Bound(high.upper(), centre, axis if widths[axis] else None)


def _norm_quantity(domain: Domain, alpha: arb, lam: arb) -> Callable[[Interval, Interval], _Bound]:
    """||K(m, v) diag(w, t)||, with the largest w = |omega| and t = tau that occur together with m and v."""
    kink, slope, tau = domain.nu[0] * domain.tau[1], 1 / _exact(domain.nu[0]), _exact(domain.tau[1])

    def quantity(m: Interval, v: Interval) -> _Bound:
        (m0, v0), (m1, v1) = _place(m, v)
        rising = v[1] <= kink  # t = v / nu_min there, otherwise tau_max
        t0, t1 = (v0 * slope, v1 * slope) if rising else (tau, tau)
        w = _exact(abs(domain.largest_omega(m)))
        at, over = _derivatives(m0, v0, alpha, lam), _derivatives(m1, v1, alpha, lam)
        along_m, along_v = _columns(_slope_m(over), w, t1), _columns(_slope_v(over), w, t1)
        if rising:
            along_v = _combine(along_v, (slope, _columns(_jacobian(over), arb(0), arb(1))))
        centre = _jacobian(at)
        start, r, s = _columns(centre, w, t0), (m1 - m0).abs_upper(), (v1 - v0).abs_upper()
        corners = [_norm(_combine(start, (x, along_m), (y, along_v))) for x in (-r, r) for y in (-s, s)]
        high = corners[0].max(corners[1]).max(corners[2]).max(corners[3])
        reached = _norm(_columns(centre, _exact(abs(domain.largest_omega((_middle(m),) * 2))), t0))
        return _assess(high, reached, m, v, r * _norm(along_m), s * _norm(along_v))

    return quantity


def _moment_quantity(
    row: int, sign: int, alpha: arb, lam: arb, line: Callable[[Interval], tuple[arb, arb]] | None = None
) -> Callable[[Interval, Interval], _Bound]:
    """sign * mu~ (row 0) or sign * nu~ (row 1); less sign * (c + d v), where line gives c and d on the box."""

    def quantity(m: Interval, v: Interval) -> _Bound:
        (m0, v0), (m1, v1) = _place(m, v)
        c, d = line(v) if line else (arb(0), arb(0))
        centre = sign * (_moments(_derivatives(m0, v0, alpha, lam))[row] - c - d * v0)
        along_m, along_v = _jacobian(_derivatives(m1, v1, alpha, lam))[row]
        change_m, change_v = (m1 - m0) * along_m, (v1 - v0) * (along_v - d)
        return _assess(centre + change_m + change_v, centre, m, v, change_m, change_v)

    return quantity


# --- certificates ----------------------------------------------------------------------------------------------------


@_in_balls
def certify(
    domain: Domain,
    alpha=None,
    lam=None,
    bound: Exact = 1,
    tolerance: Exact = "0.000001",
    max_boxes: int = 20_000,
    progress: Progress = None,
) -> Certificate:
    """Prove that g contracts on a domain, and that it maps the domain into itself (Theorem 1 of the paper).

    Where both hold, Banach's theorem gives for each omega and tau of the domain one fixed point (mu*, nu*) in
    [mu_min, mu_max] x [nu_min, nu_max], to which the iteration leads from everywhere in there.

    Parameters
    ----------
    alpha, lam : the constants of the activation: exact numbers, intervals (pairs of exact numbers, for which everything
        is proven at once) or balls; None stands for the exact constants of SELU.
    bound : contraction means that the spectral norm of the Jacobian of g is below this.
    tolerance : how far a reported bound may be from the best possible: the norm and mu~ absolutely, nu~ relatively.
        Wide intervals for alpha and lam can make it larger.
    max_boxes : how many boxes a search may look at before it gives up (one search is for the norm, one for each side).
    progress : True to write to stderr if that is a terminal, or a function that is called now and then with the name of
        the search, the number of boxes that it has looked at, and its bound so far.

    Raises TypeError and ValueError for what is no exact number or no interval.

    >>> proof = certify(THEOREM_1)
    >>> proof.contracts, proof.maps_into_itself, round(proof.singular_value_bound, 4)
    (True, True, Decimal('0.8976'))
    """
    start = time.perf_counter()
    alpha, lam = _activation(alpha, lam)
    limit, tol = _rational(bound, "bound"), _tolerance(tolerance)
    with _Reporter(progress) as reporter:
        quantity = _norm_quantity(domain, alpha, lam)
        pieces = _pieces(domain, domain.nu[0] * domain.tau[1])
        norm = _search(quantity, pieces, _exact(limit), lambda x: tol, max_boxes, reporter.of("norm"))
        sides = _sides(domain, alpha, lam, tol, max_boxes, reporter, domain.mu, domain.nu)
    escapes = [witness for side in sides if (witness := side.search.witness(side.claim, domain, side.sign))]
    escape = max(escapes, key=lambda witness: witness.refuted, default=None)
    return Certificate(
        contracts=norm.proven,
        maps_into_itself=escape is None,
        singular_value_bound=_up(norm.high),
        image=_image(sides),
        boxes=norm.boxes + sum(side.search.boxes for side in sides),
        seconds=time.perf_counter() - start,
        witness=norm.witness(f"norm < {_text(limit)}", domain),
        escape=escape,
    )


@_in_balls
def image(
    domain: Domain,
    alpha=None,
    lam=None,
    tolerance: Exact = "0.000001",
    max_boxes: int = 20_000,
    progress: Progress = None,
) -> Image:
    """An enclosure of g(domain): the least rectangle around it, up to the tolerance (arguments as in `certify`).

    mu~ is accurate absolutely, nu~ relatively, unless `max_boxes` ends a search or the constants are wide intervals.

    >>> image(Domain(mu=(0, 0), nu=(1, 1), omega=(0, 0), tau=(1, 1))).within(("-0.01", "0.01"), ("0.99", "1.01"))
    True
    """
    alpha, lam = _activation(alpha, lam)
    with _Reporter(progress) as reporter:
        return _image(_sides(domain, alpha, lam, _tolerance(tolerance), max_boxes, reporter))


@dataclass
class _Side:
    """One side of the rectangle around g(domain): the search for the largest sign * mu~ or sign * nu~."""

    claim: str
    sign: int
    search: _Search


def _sides(
    domain: Domain,
    alpha: arb,
    lam: arb,
    tolerance: arb,
    max_boxes: int,
    reporter: _Reporter,
    mu: Interval | None = None,
    nu: Interval | None = None,
) -> list[_Side]:
    """The sides left, right (mu~), lower, upper (nu~), compared with the intervals mu and nu if they are given."""
    sides = []
    for row, name, target in ((0, "mu~", mu), (1, "nu~", nu)):
        for sign in (-1, 1):
            claim = f"{name} {'<=' if sign > 0 else '>='} "
            goal = arb.pos_inf()
            if target:
                end = target[(sign + 1) // 2]
                claim, goal = claim + _text(end), sign * _exact(end)
            quantity = _moment_quantity(row, sign, alpha, lam)
            accuracy = (lambda x: tolerance * abs(x)) if row else (lambda x: tolerance)
            report = reporter.of(claim)
            search = _search(quantity, [(domain.m, domain.v)], goal, accuracy, max_boxes, report)
            sides.append(_Side(claim, sign, search))
    return sides


def _image(sides: list[_Side]) -> Image:
    left, right, lower, upper = (side.search.high for side in sides)
    boxes = sum(side.search.boxes for side in sides)
    return Image((_down(-left), _up(right)), (_down(-lower), _up(upper)), boxes)


@_in_balls
def certify_decrease(
    domain: Domain,
    alpha=None,
    lam=None,
    tolerance: Exact = "0.000001",
    max_boxes: int = 20_000,
    progress: Progress = None,
) -> VarianceCertificate:
    """Prove that nu~ < nu on the whole domain (Theorem 2 of the paper); arguments and errors as in `certify`.

    Among the points of the domain with the same m and v, the least nu is max(nu_min, v / tau_max).

    >>> certify_decrease(THEOREM_2).proven
    True
    """
    return _certify_variance(1, domain, alpha, lam, tolerance, max_boxes, progress)


@_in_balls
def certify_increase(
    domain: Domain,
    alpha=None,
    lam=None,
    tolerance: Exact = "0.000001",
    max_boxes: int = 20_000,
    progress: Progress = None,
) -> VarianceCertificate:
    """Prove that nu~ > nu on the whole domain (Theorem 3 of the paper); arguments and errors as in `certify`.

    Among the points of the domain with the same m and v, the largest nu is min(nu_max, v / tau_min).

    >>> [certify_increase(domain).proven for domain in THEOREM_3]
    [True, True]
    """
    return _certify_variance(-1, domain, alpha, lam, tolerance, max_boxes, progress)


def _certify_variance(sign, domain, alpha, lam, tolerance, max_boxes, progress):
    """nu~ < nu for sign = 1, compared with the least nu that goes with m and v; nu~ > nu for -1, with the largest."""
    start = time.perf_counter()
    tol = _tolerance(tolerance)
    nu, tau = (domain.nu[0], domain.tau[1]) if sign > 0 else (domain.nu[1], domain.tau[0])
    kink, constant, sloped = nu * tau, (_exact(nu), arb(0)), (arb(0), 1 / _exact(tau))

    def line(v: Interval) -> tuple[arb, arb]:  # v / tau on one side of the kink, nu on the other; no box has both
        return sloped if sign * (_middle(v) - kink) > 0 else constant

    quantity = _moment_quantity(1, sign, *_activation(alpha, lam), line)
    with _Reporter(progress) as reporter:
        report = reporter.of("nu~ - nu")
        search = _search(quantity, _pieces(domain, kink), arb(0), lambda x: tol, max_boxes, report)
    seconds = time.perf_counter() - start
    claim = f"nu~ - nu {'<' if sign > 0 else '>'} 0"
    witness = search.witness(claim, domain, sign, largest_tau=sign > 0)  # nu least or largest
    return VarianceCertificate(search.proven, _down(-search.high), search.boxes, seconds, witness)


# --- progress --------------------------------------------------------------------------------------------------------


class _Reporter:
    """Tells a function, or a terminal, how far a search is; wipes the line at the end."""

    def __init__(self, progress: Progress):
        self.terminal = progress is True and sys.stderr.isatty()
        self.tell = self._write if self.terminal else progress if callable(progress) else None

    def __enter__(self) -> _Reporter:
        return self

    def __exit__(self, *_) -> None:
        if self.terminal:
            sys.stderr.write("\r\033[K")

    def of(self, name: str) -> Callable[[int, arb], None]:
        return lambda boxes, high: self.tell(name, boxes, _up(high)) if self.tell else None

    def _write(self, name: str, boxes: int, bound: Decimal) -> None:
        sys.stderr.write(f"\r\033[K{name}: {boxes:,} boxes, bound {bound:.6g}")
        sys.stderr.flush()
