"""The 100 landmarks of a prepared clip: sources, types and mirror images (reference, sections 2 and 5)."""
import numpy as np

FRAME_ROWS = 543  # face 0-467, left hand 468-488, pose 489-521, right hand 522-542
LEFT_HAND_ROWS = np.arange(468, 489)
RIGHT_HAND_ROWS = np.arange(522, 543)

SILHOUETTE = [10, 54, 67, 132, 150, 152, 162, 172, 176, 234, 284, 297, 361, 379, 389, 397, 400, 454]
LIPS = [13, 37, 40, 61, 78, 81, 84, 87, 88, 91, 191, 267, 270, 291, 308, 311, 314, 317, 318, 321, 415]
ARMS = list(range(500, 512))
CHEEKS = [205, 425]
# The rows that are taken as they are, in order; then come the five averages.
DIRECT_ROWS = np.array([*LEFT_HAND_ROWS, *RIGHT_HAND_ROWS, *SILHOUETTE, *LIPS, *ARMS, *CHEEKS])
AVERAGED_ROWS = [
    [466, 387, 385, 398, 263, 390, 374, 381, 362],  # left eye
    [246, 160, 158, 173, 33, 163, 145, 154, 133],  # right eye
    [383, 293, 296, 285],  # left brow
    [156, 63, 66, 55],  # right brow
    [1, 2, 98, 327, 168],  # nose
]

COUNT = len(DIRECT_ROWS) + len(AVERAGED_ROWS)
TYPE = np.repeat([1, 2, 3, 4, 5, 6], [21, 21, 18, 21, 12, 7])
LANDMARK = np.arange(1, COUNT + 1)
LEFT_HAND, RIGHT_HAND, LIPS_POINTS = (np.flatnonzero(TYPE == t) for t in (1, 2, 4))
FACE = np.flatnonzero((TYPE == 3) | (TYPE == 6))  # what the model calls the face
WHOLE_FACE = np.flatnonzero((TYPE == 3) | (TYPE == 4) | (TYPE == 6))  # what face cutmix replaces
NOSE = 99

_PAIRS = [
    *((i, i + 21) for i in range(21)),
    (53, 44), (52, 43), (56, 48), (59, 51), (54, 45), (57, 49), (55, 46), (58, 50),
    (63, 73), (62, 72), (61, 71), (79, 69), (76, 66), (64, 74), (70, 80), (65, 75), (78, 68), (67, 77),
    (81, 82), (83, 84), (85, 86), (87, 88), (89, 90), (91, 92), (97, 98), (95, 96), (94, 93),
]  # fmt: skip


def _mirror():
    mirror = np.arange(COUNT)
    for a, b in _PAIRS:
        mirror[a], mirror[b] = b, a
    return mirror


MIRROR = _mirror()  # landmark i of a flipped clip is landmark MIRROR[i] of the clip

assert COUNT == 100 and len(TYPE) == COUNT and (MIRROR[MIRROR] == np.arange(COUNT)).all()
