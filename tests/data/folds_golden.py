#!/usr/bin/env python3
"""Prints the partition of test_folds.c's clips that scikit-learn's StratifiedGroupKFold makes (developers only)."""
import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

PARTICIPANTS, SIGNS = 21, 30


def clips(p, c):
    """How many clips participant p has of sign c: as in test_folds.c."""
    return (p * p * 7 + c * c * 13 + p * c * 5 + 3 * p + c) % (p + 7)


y = np.repeat([c for p in range(PARTICIPANTS) for c in range(SIGNS)],
              [clips(p, c) for p in range(PARTICIPANTS) for c in range(SIGNS)])
g = np.repeat([p for p in range(PARTICIPANTS) for c in range(SIGNS)],
              [clips(p, c) for p in range(PARTICIPANTS) for c in range(SIGNS)])
counts = np.array([[clips(p, c) for c in range(SIGNS)] for p in range(PARTICIPANTS)])
deviations = np.sort(np.std(counts, axis=1))
assert np.diff(deviations).min() > 1e-6, "ties would make the outcome depend on the shuffling"
for k in 2, 4, 5:
    fold = np.empty(PARTICIPANTS, int)
    for i, (_, test) in enumerate(StratifiedGroupKFold(k).split(y, y, g)):
        fold[np.unique(g[test])] = i
    print(k, "{" + ", ".join(map(str, fold)) + "}")
