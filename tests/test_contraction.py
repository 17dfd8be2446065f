"""The certified proof against searches and high-precision values that share no code with it."""

import importlib
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction

import mpmath as mp
import numpy as np
import pytest
from flint import arb, ctx
from scipy import special

from snnlib import contraction
from snnlib.contraction import (
    THEOREM_1,
    THEOREM_2,
    THEOREM_3,
    THEOREM_3_APPENDIX,
    Domain,
    certify,
    certify_decrease,
    certify_increase,
    image,
)

mp.mp.dps = 40
ALPHA = mp.mpf("1.673263242354377284817042991671652038461")
LAMBDA = mp.mpf("1.050700987355480493419334985294606351959")
NORM = Decimal("0.89760835840891801557547516210083")  # the largest over Theorem 1's domain, found by search with mpmath
LEMMA_12 = Domain(("-0.1", "0.1"), ("0.8", "1.5"), ("-0.1", "0.1"), ("0.8", "1.25"))


# --- independent routes ----------------------------------------------------------------------------------------------


def by_integration(m, v, alpha=ALPHA, lam=LAMBDA):
    """mu~ and nu~ by quadrature of the definition."""
    s = mp.sqrt(v)

    def f(z):
        return lam * z if z > 0 else lam * alpha * mp.expm1(z)

    def mean(power):
        points = sorted({m - 14 * s, m - 4 * s, m, m + 4 * s, m + 14 * s, mp.mpf(0)})
        points = [z for z in points if abs(z - m) <= 14 * s]
        return mp.quad(lambda z: f(z) ** power * mp.npdf(z, m, s), points)

    return mean(1), mean(2) - mean(1) ** 2


def exact(m, v, alpha=ALPHA, lam=LAMBDA):
    """mu~ and nu~ as the paper has them (equations 4 and 5)."""
    r = mp.sqrt(2 * v)
    e0, e1, e2 = (
        mp.erfc(m / r),
        mp.exp(m + v / 2) * mp.erfc((m + v) / r),
        mp.exp(2 * (m + v)) * mp.erfc((m + 2 * v) / r),
    )
    gauss = mp.exp(-m * m / (2 * v))
    mu = lam / 2 * (-(alpha + m) * e0 + alpha * e1 + mp.sqrt(2 * v / mp.pi) * gauss + 2 * m)
    xi = (m * m + v) * (2 - e0) + alpha**2 * (e0 - 2 * e1 + e2) + mp.sqrt(2 * v / mp.pi) * m * gauss
    return mu, lam**2 / 2 * xi - mu**2


def exact_factor(m, v, alpha=ALPHA, lam=LAMBDA):
    """K by numerical differentiation at 40 digits: 1e-9 is far from being reached."""
    h = mp.mpf(10) ** -12
    by_m = [(p - q) / (2 * h) for p, q in zip(exact(m + h, v, alpha, lam), exact(m - h, v, alpha, lam), strict=True)]
    by_v = [(p - q) / (2 * h) for p, q in zip(exact(m, v + h, alpha, lam), exact(m, v - h, alpha, lam), strict=True)]
    return (by_m[0], by_v[0]), (by_m[1], by_v[1])


def moments_and_norm(mu, nu, omega, tau, alpha=float(ALPHA), lam=float(LAMBDA)):
    """(mu~, nu~, norm of H) in floating point, on arrays, with the paper's Jacobian."""
    m, v = mu * omega, nu * tau
    r = np.sqrt(2 * v)
    gauss = np.exp(-(m**2) / (2 * v))
    e0, e1, e2 = special.erfc(m / r), gauss * special.erfcx((m + v) / r), gauss * special.erfcx((m + 2 * v) / r)
    mean = lam / 2 * (-(alpha + m) * e0 + alpha * e1 + np.sqrt(2 * v / np.pi) * gauss + 2 * m)
    second = (m**2 + v) * (2 - e0) + alpha**2 * (e0 - 2 * e1 + e2) + np.sqrt(2 * v / np.pi) * m * gauss
    j11 = lam / 2 * omega * (alpha * e1 - e0 + 2)
    j12 = lam / 4 * tau * (alpha * e1 - (alpha - 1) * np.sqrt(2 / (np.pi * v)) * gauss)
    j21 = lam**2 * omega * (alpha**2 * (e2 - e1) + m * (2 - e0) + np.sqrt(2 * v / np.pi) * gauss)
    j22 = lam**2 / 2 * tau * (-(alpha**2) * e1 + 2 * alpha**2 * e2 - e0 + 2)
    h21, h22 = j21 - 2 * mean * j11, j22 - 2 * mean * j12
    size, determinant = j11**2 + j12**2 + h21**2 + h22**2, j11 * h22 - j12 * h21  # the largest eigenvalue of H H^T:
    return mean, lam**2 / 2 * second - mean**2, np.sqrt(size / 2 + np.sqrt(np.maximum(size**2 / 4 - determinant**2, 0)))


def dense(domain, *constants):
    """(nu, mu~, nu~, norm) on a grid of 4 dimensions that has all corners."""
    steps = {"mu": 7, "nu": 31, "omega": 7, "tau": 31}
    axes = [np.linspace(*map(float, getattr(domain, name)), steps[name]) for name in steps]
    grid = np.meshgrid(*axes, indexing="ij")
    return grid[1], *moments_and_norm(*grid, *constants)


def random_domain(rng):
    """Three decimals for each end; the larger ones have norms above 1."""

    def interval(low, width):
        return f"{low:.3f}", f"{low + width:.3f}"

    nu, tau = rng.uniform(0.1, 2), rng.uniform(0.6, 1.2)
    return Domain(
        mu=interval(rng.uniform(-0.7, 0.3), rng.uniform(0, 0.6)),
        nu=interval(nu, nu * rng.uniform(0, 1)),
        omega=interval(rng.uniform(-0.5, 0.2), rng.uniform(0, 0.5)),
        tau=interval(tau, tau * rng.uniform(0, 0.3)),
    )


def holds(ball, value, digits=30):
    """Whether a ball holds an mpmath number of which so many digits are right."""
    (middle, power), (radius, radius_power) = (
        (int(mantissa), int(exponent)) for mantissa, exponent in (ball.mid().man_exp(), ball.rad().man_exp())
    )
    reach = mp.ldexp(radius, radius_power) + (1 + abs(value)) * mp.mpf(10) ** -digits
    return abs(value - mp.ldexp(middle, power)) <= reach


def width(ball):
    return 2 * float(ball.rad())


def number(x):
    """A Fraction as an mpmath number."""
    return mp.mpf(x.numerator) / x.denominator


# --- the map and its derivatives -------------------------------------------------------------------------------------


@pytest.mark.parametrize("m, v", [("0", "1"), ("0.1", "0.02"), ("-0.7", "3"), ("2.5", "0.3"), ("-1.2", "20")])
def test_the_moments_are_those_of_the_definition(m, v):
    for ball, value in zip(contraction.enclose(m, v), by_integration(mp.mpf(m), mp.mpf(v)), strict=True):
        assert holds(ball, value, digits=25) and width(ball) < 1e-30


@pytest.mark.parametrize("m, v", [("-1000", "0.001"), ("1000", "0.001"), ("-300", "1000000"), ("3", "1000000")])
def test_extreme_arguments_neither_overflow_nor_lose_the_value(m, v):
    with mp.workdps(400):  # the terms cancel
        values = exact(mp.mpf(m), mp.mpf(v))
    for ball, value in zip(contraction.enclose(m, v, str(ALPHA), str(LAMBDA)), values, strict=True):
        assert holds(ball, value) and ball.is_finite()


def boxes(rng, count):
    """Random boxes of m and v as exact intervals, from tiny to wide."""
    for _ in range(count):
        m, v = rng.uniform(-2, 2), 10 ** rng.uniform(-2, 1.5)
        size = 10 ** rng.uniform(-6, -0.5)
        low, high = Fraction(m).limit_denominator(10**9), Fraction(v).limit_denominator(10**9)
        size = Fraction(size).limit_denominator(10**9)
        yield (low - size, low + size), (high, high * (1 + size))


def inside(rng, box):
    """A random point of an interval, or one of its ends, as an mpmath number."""
    low, high = box
    return number(low + (high - low) * Fraction(float(rng.choice([0, 1, rng.uniform()]))))


def test_balls_over_boxes_hold_the_values_at_random_points_and_corners():
    rng = np.random.default_rng(0)
    for m, v in boxes(rng, 120):
        moments, factor = contraction.enclose(m, v), contraction.jacobian_factor(m, v)
        for _ in range(3):
            at = inside(rng, m), inside(rng, v)
            assert all(map(holds, moments, exact(*at)))
            for row, values in zip(factor, exact_factor(*at), strict=True):
                assert all(holds(ball, value, digits=18) for ball, value in zip(row, values, strict=True))


def test_balls_over_small_boxes_are_hardly_wider_than_the_range():
    m, v = ("0.0", "0.002"), ("1.0", "1.01")
    corners = [exact(mp.mpf(a), mp.mpf(b)) for a in m for b in v]
    for k, ball in enumerate(contraction.enclose(m, v)):
        values = [corner[k] for corner in corners]
        assert width(ball) < 1.1 * float(max(values) - min(values))


@pytest.mark.parametrize("alpha, lam", [("1", "1"), ("1.9", "0.9"), ("0", "1.4"), ("-0.3", "2")])
def test_other_constants_are_taken(alpha, lam):
    point, others = (mp.mpf("0.3"), mp.mpf("0.7")), (mp.mpf(alpha), mp.mpf(lam))
    assert all(map(holds, contraction.enclose("0.3", "0.7", alpha, lam), exact(*point, *others)))
    found = contraction.jacobian_factor("0.3", "0.7", alpha, lam)
    for row, values in zip(found, exact_factor(*point, *others), strict=True):
        assert all(holds(ball, value, digits=18) for ball, value in zip(row, values, strict=True))


def test_intervals_of_constants_hold_every_member():
    wide = contraction.enclose("0.3", "0.7", ("1.6", "1.7"), ("1", "1.1"))
    for alpha in ("1.6", "1.63", "1.7"):
        assert all(map(holds, wide, exact(mp.mpf("0.3"), mp.mpf("0.7"), mp.mpf(alpha), mp.mpf("1.03"))))


# --- the constants ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "nu, alpha, lam",
    [
        (1, ALPHA, LAMBDA),
        (2, "1.9712557503462689381", "1.0607090761030122194"),
        ("0.5", "1.4680598705305052804", "1.0409573375386349625"),
    ],
)
def test_the_constants_are_those_of_the_literature(nu, alpha, lam):
    for ball, value in zip(contraction.constants(nu), (mp.mpf(alpha), mp.mpf(lam)), strict=True):
        assert holds(ball, value, digits=19) and width(ball) < 1e-30


def test_the_constants_make_their_target_a_fixed_point():
    for nu in ("0.3", 1, "4"):
        mean, variance = contraction.enclose(0, nu, *contraction.constants(nu))
        assert mean.contains(0) and variance.overlaps(contraction.enclose(0, nu, *contraction.constants(nu))[1])
        assert abs(float(variance) - float(nu)) < 1e-15 and width(mean) < 1e-30


def test_the_constants_of_an_interval_hold_those_of_its_members():
    wide = contraction.constants(("0.9", "1.1"))
    for nu in ("0.9", 1, "1.03", "1.1"):
        assert all(ball.contains(member) for ball, member in zip(wide, contraction.constants(nu), strict=True))


def test_the_constants_of_an_interval_are_hardly_wider_than_their_range():
    wide, low, high = (contraction.constants(nu) for nu in (("0.999", "1.001"), "0.999", "1.001"))
    for ball, a, b in zip(wide, low, high, strict=True):
        assert width(ball) < 1.2 * float(b - a)


# --- Theorem 1 -------------------------------------------------------------------------------------------------------


def test_theorem_1_is_proven_with_the_true_norm_and_image():
    proof = certify(THEOREM_1)
    assert proof.contracts and proof.maps_into_itself and proof.witness is proof.escape is None
    assert NORM < proof.singular_value_bound < NORM + Decimal("2e-6")
    for found, low, high in [
        (proof.image.mu, Decimal("-0.0310605017922"), Decimal("0.0677251016899")),
        (proof.image.nu, Decimal("0.8037117576791"), Decimal("1.4815749582712")),
    ]:
        assert low - Decimal("4e-6") < found[0] < low and high < found[1] < high + Decimal("4e-6")


def test_a_bound_below_the_true_norm_is_refuted_and_one_above_is_proven():
    """The true norm is 0.89760835840891801557..."""
    assert certify(THEOREM_1, bound="0.897608358408918016").contracts
    refused = certify(THEOREM_1, bound="0.897608358408918015", max_boxes=3000)
    assert not refused.contracts and refused.singular_value_bound >= NORM


def test_a_coarse_tolerance_needs_few_boxes_and_stays_at_or_below_nine_tenths():
    proof = certify(THEOREM_1, tolerance="0.002")
    assert proof.contracts and proof.maps_into_itself
    assert NORM < proof.singular_value_bound <= Decimal("0.9") and proof.boxes < 300


def test_the_larger_domain_of_the_papers_lemma_contracts_but_is_not_mapped_into_itself():
    proof = certify(LEMMA_12)
    assert proof.contracts and not proof.maps_into_itself
    assert 0 < proof.singular_value_bound - Decimal("0.98902627183935435701652537972754") < Decimal("2e-6")
    mu, nu, omega, tau = proof.escape.point
    assert proof.escape.refuted and proof.escape.claim == "nu~ >= 0.8"
    variance = exact(number(mu * omega), number(nu * tau))[1]
    assert variance <= mp.mpf(str(proof.escape.value)) < mp.mpf("0.8")


def test_every_domain_with_a_norm_of_1_or_more_is_refused_and_clear_ones_are_proven():
    rng = np.random.default_rng(1)
    refused = proven = 0
    for _ in range(160):
        domain = random_domain(rng)
        largest = dense(domain)[3].max()
        proof = certify(domain, tolerance="0.001")
        assert float(proof.singular_value_bound) > largest - 1e-9
        if largest >= 1:
            assert not proof.contracts and proof.witness is not None
            refused += 1
        elif largest < 0.97:
            assert proof.contracts and proof.witness is None
            assert float(proof.singular_value_bound) < largest + 0.02
            proven += 1
    assert refused >= 36 and proven >= 36


def test_bounds_hold_however_few_boxes_they_rest_on():
    rng = np.random.default_rng(8)
    for k in range(60):
        domain = random_domain(rng)
        if k % 2:  # tau alone moves v
            domain = Domain(domain.mu, (domain.nu[0],) * 2, domain.omega, (domain.tau[0], domain.tau[0] * 3 / 2))
        nu, mean, variance, norm = dense(domain)
        for boxes in (1, 3, 9):
            proof = certify(domain, max_boxes=boxes)
            assert float(proof.singular_value_bound) > norm.max() - 1e-9
            assert float(proof.image.mu[0]) - 1e-9 < mean.min() and mean.max() < float(proof.image.mu[1]) + 1e-9
            assert float(proof.image.nu[0]) - 1e-9 < variance.min() and variance.max() < float(proof.image.nu[1]) + 1e-9
            assert float(certify_decrease(domain, max_boxes=boxes).margin) < (nu - variance).min() + 1e-9
            assert float(certify_increase(domain, max_boxes=boxes).margin) < (variance - nu).min() + 1e-9


def test_self_mapping_is_proven_exactly_where_the_image_lies_inside():
    rng = np.random.default_rng(2)
    verdicts = []
    for _ in range(60):
        low, high = sorted(rng.uniform(0.5, 1.6, 2))
        mu, tau = rng.uniform(0.02, 0.12), rng.uniform(0.95, 1.0)
        domain = Domain(
            (f"-{mu:.3f}", f"{mu:.3f}"), (f"{low:.3f}", f"{high:.3f}"), ("-0.1", "0.1"), (f"{tau:.3f}", "1.02")
        )
        _, mean, variance, _ = dense(domain)
        proof = certify(domain, tolerance="0.001")
        overhang = max(
            mean.max() - float(domain.mu[1]),
            float(domain.mu[0]) - mean.min(),
            variance.max() - float(domain.nu[1]),
            float(domain.nu[0]) - variance.min(),
        )
        if overhang > 0:
            assert not proof.maps_into_itself
        elif overhang < -1e-3:
            assert proof.maps_into_itself and proof.image.within(domain.mu, domain.nu)
        verdicts.append(proof.maps_into_itself)
        assert float(proof.image.mu[0]) < mean.min() + 1e-12 and mean.max() - 1e-12 < float(proof.image.mu[1])
        assert float(proof.image.nu[0]) < variance.min() + 1e-12 and variance.max() - 1e-12 < float(proof.image.nu[1])
    assert 10 < sum(verdicts) < 50


def test_other_constants_are_judged_by_their_own_norm():
    rng = np.random.default_rng(3)
    verdicts = []
    for _ in range(60):
        alpha, lam = rng.uniform(0.8, 2.5), rng.uniform(0.9, 1.2)
        alpha, lam = f"{alpha:.3f}", f"{lam:.3f}"
        domain = random_domain(rng)
        largest = dense(domain, float(alpha), float(lam))[3].max()
        proof = certify(domain, alpha, lam, tolerance="0.001")
        assert largest - 1e-9 < float(proof.singular_value_bound) < largest + 0.03
        assert not (proof.contracts and largest >= 1)
        verdicts.append(proof.contracts)
    assert 10 < sum(verdicts) < 50


def test_a_family_of_activations_is_proven_at_once_and_bounds_every_member():
    family = certify(THEOREM_1, ("1.67", "1.68"), ("1.05", "1.051"))
    assert family.contracts and family.maps_into_itself
    for alpha in ("1.67", "1.675", "1.68"):
        for lam in ("1.05", "1.051"):
            assert certify(THEOREM_1, alpha, lam).singular_value_bound <= family.singular_value_bound


def test_a_family_with_members_on_both_sides_is_not_proven_and_the_search_ends():
    """At lambda = 1 the norm is below 1, at lambda = 1.2 it is above."""
    proof = certify(THEOREM_1, lam=("1", "1.2"))
    assert not proof.contracts and not proof.witness.refuted and proof.boxes < 3000
    assert certify(THEOREM_1, lam="1").contracts and certify(THEOREM_1, lam="1.2").witness.refuted


def test_balls_may_be_given_as_constants():
    by_ball = certify(THEOREM_1, *contraction.constants())
    assert by_ball.singular_value_bound == certify(THEOREM_1).singular_value_bound
    wide = certify(THEOREM_1, *contraction.constants(("0.99", "1.01")))
    assert wide.contracts and wide.singular_value_bound > by_ball.singular_value_bound


# --- where the proof gives up ----------------------------------------------------------------------------------------


def test_a_refutation_names_a_point_of_the_domain_where_the_norm_is_as_large_as_it_says():
    rng = np.random.default_rng(4)
    count = 0
    for _ in range(60):
        domain = random_domain(rng)
        witness = certify(domain, tolerance="0.001").witness
        if witness is None or not witness.refuted:
            continue
        point = dict(zip(("mu", "nu", "omega", "tau"), witness.point, strict=True))
        assert all(getattr(domain, name)[0] <= x <= getattr(domain, name)[1] for name, x in point.items())
        assert all(isinstance(x, Fraction) for x in witness.point)
        norm = moments_and_norm(*map(float, witness.point))[2]
        assert 1 <= witness.value <= witness.bound and float(witness.value) == pytest.approx(norm, rel=1e-9)
        assert "norm < 1 is false" in str(witness)
        count += 1
    assert count > 10


def test_a_search_that_is_cut_short_says_not_proven_and_shows_its_box():
    proof = certify(THEOREM_1, bound="0.8977", max_boxes=4)
    witness = proof.witness
    assert not proof.contracts and not witness.refuted and witness.value is None
    assert witness.bound == proof.singular_value_bound > Decimal("0.8977")
    assert THEOREM_1.m[0] <= witness.m[0] < witness.m[1] <= THEOREM_1.m[1]
    assert THEOREM_1.v[0] <= witness.v[0] < witness.v[1] <= THEOREM_1.v[1]
    assert str(witness).startswith("norm < 0.8977 is not proven: only <= ")


def test_a_domain_that_is_a_point_is_judged_and_the_search_ends():
    proof = certify(Domain((0, 0), (1, 1), (0, 0), (1, 1)))
    assert proof.contracts and not proof.maps_into_itself  # (0, 1) is mapped onto itself: no room for any rounding
    assert float(proof.singular_value_bound) == pytest.approx(0.78767336046572, abs=1e-11)
    assert not proof.escape.refuted


def test_variances_near_zero_have_no_bounded_norm_and_are_refused():
    proof = certify(Domain(("-0.1", "0.1"), ("1e-6", "1.5"), ("-0.1", "0.1"), ("0.95", "1.1")), max_boxes=3000)
    assert proof.witness.refuted and proof.singular_value_bound > 100


# --- Theorems 2 and 3 ------------------------------------------------------------------------------------------------


def test_theorem_2_is_proven_with_the_true_margin():
    proof = certify_decrease(THEOREM_2)
    assert proof.proven and proof.witness is None
    assert 0 <= Decimal("0.11974428995599") - proof.margin < Decimal("2e-6")


@pytest.mark.parametrize(
    "domain, margin",
    [
        (THEOREM_3[0], "0.0077360833"),
        (THEOREM_3[1], "0.0110292743"),
        (THEOREM_3_APPENDIX[0], "0.0154997"),
        (THEOREM_3_APPENDIX[1], "0.0229754"),
    ],
)
def test_theorem_3_is_proven_in_both_published_versions_with_the_true_margin(domain, margin):
    proof = certify_increase(domain)
    assert proof.proven and 0 < Decimal(margin) - proof.margin < Decimal("2e-6")


@pytest.mark.parametrize("prove, sign", [(certify_decrease, 1), (certify_increase, -1)])
def test_a_variance_that_moves_the_other_way_somewhere_is_refused_and_a_clear_one_proven(prove, sign):
    rng = np.random.default_rng(5)
    refused = proven = 0
    for _ in range(120):
        low = float(f"{10 ** rng.uniform(-1.5, 1):.3f}")
        high = low * rng.uniform(1, 2)
        tau = rng.uniform(0.8, 1.2)
        domain = Domain(
            ("-0.3", "0.5"), (f"{low:.3f}", f"{high:.3f}"), ("-0.2", "0.3"), (f"{tau:.3f}", f"{tau * 1.1:.3f}")
        )
        nu, _, variance, _ = dense(domain)
        worst = (sign * (variance - nu)).max()
        proof = prove(domain, tolerance="0.0001")
        assert float(proof.margin) < -worst + 1e-9
        if worst >= 0:
            assert not proof.proven
            refused += 1
            if proof.witness.refuted:
                mu, nu, omega, tau = (float(x) for x in proof.witness.point)
                change = moments_and_norm(mu, nu, omega, tau)[1] - nu
                assert float(proof.witness.value) == pytest.approx(change, abs=1e-9) and sign * change > 0
                for name, x in zip(("mu", "nu", "omega", "tau"), proof.witness.point, strict=True):
                    assert getattr(domain, name)[0] <= x <= getattr(domain, name)[1]
        elif worst < -0.005:
            assert proof.proven and float(proof.margin) > -worst - 0.003
            proven += 1
    assert refused >= 30 and proven >= 30


# --- the image -------------------------------------------------------------------------------------------------------


def test_the_image_can_be_iterated_and_holds_what_random_layers_do():
    rng = np.random.default_rng(6)
    mu, nu = rng.uniform(-1, 1, 2000), rng.uniform(0.1, 4, 2000)
    box = Domain((-1, 1), ("0.1", 4), ("-0.1", "0.1"), ("0.95", "1.1"))
    for _ in range(5):
        omega, tau = rng.choice([-0.1, 0.1], 2000), rng.choice([0.95, 1.1], 2000)
        mu, nu, _ = moments_and_norm(mu, nu, omega, tau)
        found = image(box, tolerance="0.001")
        assert found.within((-2, 2), (0, 5)) and not found.within((-2, 2), (0, found.nu[0]))
        assert float(found.mu[0]) < mu.min() and mu.max() < float(found.mu[1])
        assert float(found.nu[0]) < nu.min() and nu.max() < float(found.nu[1])
        box = Domain(found.mu, found.nu, box.omega, box.tau)


# --- domains ---------------------------------------------------------------------------------------------------------


def test_ends_are_kept_exactly_however_they_are_given():
    domain = Domain(("-0.1", "1e-1"), (Decimal("0.8"), Fraction(3, 2)), ("-1/10", "0.1"), ("0.95", "1.1"))
    assert domain == THEOREM_1 and domain.mu == (Fraction(-1, 10), Fraction(1, 10))
    assert str(domain) == "mu in [-0.1, 0.1], nu in [0.8, 1.5], omega in [-0.1, 0.1], tau in [0.95, 1.1]"
    assert "1/3" in str(Domain((0, "1/3"), (1, 1), (0, 0), (1, 1)))
    assert THEOREM_1.m == (Fraction(-1, 100), Fraction(1, 100)) and THEOREM_1.v == (Fraction("0.76"), Fraction("1.65"))


def test_the_largest_omega_is_found_for_any_signs():
    rng = np.random.default_rng(7)
    for _ in range(200):
        mu, omega = (sorted(int(x) for x in rng.integers(-6, 7, 2)) for _ in range(2))
        domain = Domain(mu, (1, 1), omega, (1, 1))
        low, high = domain.m
        a, b = sorted(low + (high - low) * Fraction(int(k), 8) for k in rng.integers(0, 9, 2))
        found = domain.largest_omega((a, b))
        mus = np.linspace(*mu, 241)[:, None]
        omegas = np.unique([*np.linspace(*omega, 481), float(found)])
        products = mus * omegas
        reached = np.abs(omegas)[((products >= float(a) - 0.02) & (products <= float(b) + 0.02)).any(axis=0)].max()
        assert omega[0] <= found <= omega[1] and abs(abs(float(found)) - reached) <= 0.35
        if found:  # some mu takes found into [a, b], exactly
            ends = sorted([mu[0] * found, mu[1] * found])
            assert ends[0] <= b and a <= ends[1]
        hits = (products >= float(a)) & (products <= float(b))
        if hits.any():
            assert np.abs(omegas)[hits.any(axis=0)].max() <= abs(float(found)) + 1e-12


def test_products_that_do_not_occur_have_no_largest_omega():
    with pytest.raises(ValueError, match="no mu and omega of the domain have a product in"):
        THEOREM_1.largest_omega((Fraction(1, 50), Fraction(1, 40)))


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"mu": (-0.1, 0.1)}, TypeError, "a float is not the decimal that it shows"),
        ({"tau": (np.float64(0.9), 1)}, TypeError, "tau must be a decimal string"),
        ({"mu": ("0.1", "-0.1")}, ValueError, "the interval for mu is empty: [0.1, -0.1]"),
        ({"nu": ("-1", "1")}, ValueError, "nu holds variances and must begin above 0, got -1"),
        ({"nu": (0, 1)}, ValueError, "must begin above 0"),
        ({"tau": (0, 1)}, ValueError, "tau holds sums of squares and must begin above 0"),
        ({"omega": ("a", 1)}, ValueError, "omega must be a finite number such as '0.1' or '1/3', got 'a'"),
        ({"omega": ("nan", 1)}, ValueError, "omega must be a finite number"),
        ({"omega": (0, Decimal("Infinity"))}, ValueError, "omega must be a finite number"),
        ({"omega": (0, "1/0")}, ValueError, "omega must be a finite number"),
        ({"mu": ("0.1",)}, TypeError, "mu must be an interval, a pair (least, greatest)"),
        ({"mu": "01"}, TypeError, "mu must be an interval"),
        ({"mu": 1}, TypeError, "mu must be an interval"),
        ({"mu": (None, 1)}, TypeError, "mu must be a decimal string"),
    ],
)
def test_nonsense_is_refused_with_a_reason(change, error, message):
    intervals = {"mu": (0, 1), "nu": (1, 2), "omega": (0, 1), "tau": (1, 2)}
    with pytest.raises(error) as caught:
        Domain(**{**intervals, **change})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"alpha": 1.67}, TypeError, "alpha must be a decimal string"),
        ({"lam": ("1.1", "1.0")}, ValueError, "the interval for lam is empty"),
        ({"lam": arb("nan")}, ValueError, "lam must be finite"),
        ({"bound": 0.9}, TypeError, "bound must be a decimal string"),
        ({"tolerance": 0}, ValueError, "tolerance must be positive"),
        ({"max_boxes": 0}, ValueError, "max_boxes must be at least 1"),
    ],
)
def test_bad_options_are_refused_with_a_reason(options, error, message):
    with pytest.raises(error) as caught:
        certify(THEOREM_1, **options)
    assert message in str(caught.value)


@pytest.mark.parametrize("call", [lambda: contraction.enclose(0, 0), lambda: contraction.constants(("-1", 1))])
def test_variances_that_may_be_zero_are_refused(call):
    with pytest.raises(ValueError, match="is a variance and must be positive"):
        call()


# --- manners ---------------------------------------------------------------------------------------------------------


def test_the_callers_precision_is_left_alone_and_does_not_matter():
    bound = certify(THEOREM_1).singular_value_bound
    with ctx.workprec(30):
        assert certify(THEOREM_1).singular_value_bound == bound
        assert ctx.prec == 30


def test_progress_is_told_to_a_function():
    told = []
    certify(THEOREM_1, progress=lambda *news: told.append(news))
    assert {name for name, _, _ in told} == {"norm", "mu~ >= -0.1", "mu~ <= 0.1", "nu~ >= 0.8", "nu~ <= 1.5"}
    assert all(isinstance(boxes, int) and isinstance(bound, Decimal) for _, boxes, bound in told)


def test_progress_is_written_to_a_terminal_alone(capsys, monkeypatch):
    certify(THEOREM_1, progress=True)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    certify(THEOREM_1, progress=True)
    output, errors = capsys.readouterr()
    assert output == "" and "norm: " in errors and errors.endswith("\r\033[K")


def test_without_flint_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "flint", None)
    monkeypatch.delitem(sys.modules, "snnlib.contraction")
    with pytest.raises(ImportError, match=r'pip install "snnlib\[proof\]"'):
        importlib.import_module("snnlib.contraction")


def test_only_flint_is_imported():
    code = "import sys, snnlib.contraction; print(*({'numpy', 'scipy', 'torch', 'mpmath'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""
