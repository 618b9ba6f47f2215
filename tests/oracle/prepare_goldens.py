"""Golden file of the preparation: synthetic clips of [n, 543, 3] with missing parts, prepared for max_len 25 and 80.

Computed in float64. Rules of the inputs: tests/golden/README.md. The float32 computation of the published program and a
plain loop in numpy are checked to agree.
"""
import numpy as np

import filler
import golden
import landmarks
import prepare

LENGTHS = (1, 2, 3, 24, 25, 26, 50, 51, 80, 81, 200)
MAX_LENS = (25, 80)
PARTS = ((0, 468), (468, 489), (489, 522), (522, 543))  # face, left hand, pose, right hand
MISSING_MASKS = (7, 1, 7, 1)  # a part is missing in a frame where bits & mask is 0
WHOLE = 3  # prepared clips of at most so many frames are kept whole


def drop_parts(x):
    draws = filler.bits("prepare/missing", len(x) * 4).reshape(len(x), 4)
    for p, (first, end) in enumerate(PARTS):
        x[(draws[:, p] & np.uint64(MISSING_MASKS[p])) == 0, first:end] = np.nan


def drop_points(x):
    x[(filler.bits("prepare/point", len(x) * 543) & np.uint64(63)).reshape(-1, 543) == 0] = np.nan


def drop_hands(x):
    x[:, 468:489] = np.nan
    x[:, 522:543] = np.nan


def drop_all(x):
    x[:] = np.nan


def flatten_z(x):
    x[..., 2] = 0.5


# kind: (what is done to the clip, numbers of frames)
KINDS = {
    "seen": (lambda x: None, LENGTHS),
    "parts": (drop_parts, LENGTHS),
    "points": (drop_points, (3, 26)),
    "no-hands": (drop_hands, (1, 3, 81)),
    "nothing": (drop_all, (2,)),
    "flat-z": (flatten_z, (3,)),
}


def clip(kind, frames):
    """float32 [frames, 543, 3]"""
    x = filler.symmetric("prepare/x", (frames, landmarks.FRAME_ROWS, 3), 0.5, 0.5)
    KINDS[kind][0](x)
    return x


def plain(x, max_len):
    """Section 2 of the reference, step by step, in numpy's float64."""
    x = x.astype(np.float64)
    keep = [f for f in range(len(x)) if not all(np.isnan(x[f, r, 0]) for r in [*range(468, 489), *range(522, 543)])]
    x = x[keep] if keep else x
    n = len(x)
    d = 1 if n <= max_len else n // max_len + 1
    x = x[[f for f in range(n) if (f + 1) % d == 0]]
    out = np.empty((len(x), 100, 3))
    out[:, :95] = x[:, landmarks.DIRECT_ROWS]
    for i, rows in enumerate(landmarks.AVERAGED_ROWS):
        out[:, 95 + i] = sum(x[:, r] for r in rows) / len(rows)
    for c in range(3):
        known = out[..., c][~np.isnan(out[..., c])]
        if known.size:
            out[..., c] -= known.mean()
            if known.std() > 0:
                out[..., c] /= known.std()
    return np.nan_to_num(out, nan=0.0)


if __name__ == "__main__":
    tensors, frames_left = {}, {}
    for kind, (_, lengths) in KINDS.items():
        for n in lengths:
            x = clip(kind, n)
            for max_len in MAX_LENS:
                name = f"{kind}-{n}/{max_len}"
                y = prepare.prepare_clip(x, max_len, dtype=prepare.torch.float64)
                assert 1 <= len(y) <= max_len and np.isfinite(y).all(), name
                assert np.abs(y - plain(x, max_len)).max() < 1e-6, name
                assert np.abs(y - prepare.prepare_clip(x, max_len)).max() < 1e-5, name
                frames_left[name] = len(y)
                tensors[name] = y if len(y) <= WHOLE else filler.summary("prepare", y)
    golden.write("prepare", tensors, frames=frames_left)
