"""How fast the theorems on self-normalizing networks are proven, and with how many boxes; one core is used."""

import math
import statistics
import sys

import flint
from run import seconds

from snnlib.contraction import THEOREM_1, THEOREM_2, THEOREM_3, THEOREM_3_APPENDIX, certify
from snnlib.contraction import certify_decrease as decrease
from snnlib.contraction import certify_increase as increase

ROUNDS = 5
GOALS = {"Theorem 1": 2.0, "Theorem 2": 10.0, "Theorem 3": 10.0}  # seconds
BOUND = 0.9  # what the norm in Theorem 1 must be shown not to exceed
# The grid of the paper's Lemma 12: lengths of the intervals for mu, omega, nu, tau, over the distances of its points.
GRID = [(0.2, 0.0068097371), (0.2, 0.0008292885), (0.7, 0.0009580840), (0.45, 0.0007323095)]


def theorem_1():
    """(proven, what is proven, boxes)."""
    proof = certify(THEOREM_1)
    proven = proof.contracts and proof.maps_into_itself and proof.singular_value_bound <= BOUND
    return proven, f"norm <= {proof.singular_value_bound}", proof.boxes


def theorem_2():
    """(proven, what is proven, boxes)."""
    proof = decrease(THEOREM_2)
    return proof.proven, f"nu - nu~ >= {proof.margin}", proof.boxes


def theorem_3():
    """(proven, what is proven, boxes), for both domains in both published versions."""
    proofs = [increase(domain) for domain in THEOREM_3 + THEOREM_3_APPENDIX]
    margin = min(proof.margin for proof in proofs)
    return all(proof.proven for proof in proofs), f"nu~ - nu >= {margin}", sum(proof.boxes for proof in proofs)


def main():
    """Print everything; exit with 1 when a goal is missed."""
    print(f"python-flint {flint.__version__}; medians of {ROUNDS} rounds\n")
    met, boxes_1 = True, 0
    print("               seconds   goal   boxes   proven")
    for prove, (name, goal) in zip((theorem_1, theorem_2, theorem_3), GOALS.items(), strict=True):
        proven, what, boxes = prove()
        taken = statistics.median(seconds(prove) for _ in range(ROUNDS))
        boxes_1 = boxes_1 or boxes
        reached = proven and taken <= goal
        met = met and reached
        print(f"  {name} {taken:11.3f} {goal:6.0f} {boxes:7}   {what}: {'met' if reached else 'MISSED'}")
    points = math.prod(math.ceil(length / distance) + 1 for length, distance in GRID)
    print(f"\nThe paper's grid for Theorem 1 has {points:.2g} points: {points / boxes_1:,.0f} for one box here")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
