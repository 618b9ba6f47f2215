"""The augmentations of section 5 of the reference as pure functions of one clip [frames, 100, 3].

Every random choice is an argument; what is drawn and how often is draw_plan's business. Missing values are zeros. The
defaults follow the authors' description (DOC); what their program (CODE) does otherwise is an argument too.
"""
import numpy as np

import landmarks

HAND_POINTS = 21


def hand_missing(clip, first):
    """bool [frames]: every x of the hand's points is zero."""
    return (clip[:, first : first + HAND_POINTS, 0] == 0).all(1)


def is_left_handed(clip):
    return hand_missing(clip, 0).sum() < hand_missing(clip, HAND_POINTS).sum()


def flip(clip):
    out = clip[:, landmarks.MIRROR].copy()
    out[..., 0] = -out[..., 0]
    return out


def resize(clip, frames):
    """Linear in time, samples at half pixels."""
    at = ((np.arange(frames) + 0.5) * len(clip) / frames - 0.5).clip(0, len(clip) - 1)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, len(clip) - 1)
    share = (at - low)[:, None, None].astype(clip.dtype)
    return clip[low] * (1 - share) + clip[high] * share


def face_cutmix(clip, other, zero_z_alone=False):
    """The face of `other`, of the same sign, in `clip`: to the same dominant hand, length, place and size.

    Not applied where the new face has no extent in a coordinate; with `zero_z_alone` (CODE) no extent in z leaves only
    z as it is.
    """
    if is_left_handed(other) != is_left_handed(clip):
        other = flip(other)
    face = landmarks.WHOLE_FACE
    new, old = resize(other, len(clip))[:, face], clip[:, face]
    low, high = new.min((0, 1)), new.max((0, 1))
    old_low, old_high = old.min((0, 1)), old.max((0, 1))
    usable = high > low
    if not usable[:2].all() or not (usable[2] or zero_z_alone):
        return clip
    out = clip.copy()
    for c in np.flatnonzero(usable):
        placed = (new[..., c] - low[c]) / (high[c] - low[c]) * (old_high[c] - old_low[c]) + old_low[c]
        out[:, face, c] = placed
    return out


def fill_hand(clip):
    """In frames with one hand (and a nose), the other hand becomes its mirror image about the nose."""
    out = clip.copy()
    nose = clip[:, landmarks.NOSE, 0]
    missing = [hand_missing(clip, 0), hand_missing(clip, HAND_POINTS)]
    for absent, to, at in ((0, 0, HAND_POINTS), (1, HAND_POINTS, 0)):
        frames = np.flatnonzero(missing[absent] & ~missing[1 - absent] & (nose != 0))
        hand = clip[frames, at : at + HAND_POINTS].copy()
        hand[..., 0] = 2 * nose[frames, None] - hand[..., 0]
        out[frames, to : to + HAND_POINTS] = hand
    return out


def interpolate(clip):
    """Missing values from the neighbours in time, where a landmark's coordinate is known at least twice."""
    out = clip.copy()
    known = clip != 0
    count = known.sum(0)
    for n, c in np.argwhere((count >= 2) & (count < len(clip))):
        at = np.flatnonzero(known[:, n, c])
        out[:, n, c] = np.interp(np.arange(len(clip)), at, clip[at, n, c])
    return out


def rotate(clip, angle):
    """About the origin in x,y; radians."""
    out = clip.copy()
    cos, sin = np.cos(angle), np.sin(angle)
    out[..., 0] = cos * clip[..., 0] - sin * clip[..., 1]
    out[..., 1] = sin * clip[..., 0] + cos * clip[..., 1]
    return out


def crop(clip, count, at_start):
    return clip[count:] if at_start else clip[: len(clip) - count]


def scale(clip, factors):
    return clip * np.asarray(factors, dtype=clip.dtype)


def augment(clip, plan, other=None):
    """Applies what `plan`, a dict, names, in the table's order; `other` is face cutmix's clip."""
    if "face_cutmix" in plan:
        clip = face_cutmix(clip, other, **plan["face_cutmix"])
    if "fill_hand" in plan:
        clip = fill_hand(clip)
    if "interpolate" in plan:
        clip = interpolate(clip)
    if "flip" in plan:
        clip = flip(clip)
    if "rotate" in plan:
        clip = rotate(clip, plan["rotate"])
    if "crop" in plan:
        clip = crop(clip, *plan["crop"])
    if "scale" in plan:
        clip = scale(clip, plan["scale"])
    return clip


def draw_plan(rng, frames, first_half, code=False):
    """What happens to one view of a clip of so many frames: DOC's table or CODE's."""
    plan = {}
    if first_half and rng.random() < 0.25:
        plan["face_cutmix"] = {"zero_z_alone": code}
    if first_half and rng.random() < 0.25:
        plan["fill_hand"] = True
    for name in ("interpolate", "flip"):
        if rng.random() < 0.5:
            plan[name] = True
    if rng.random() < 0.5:
        plan["rotate"] = np.radians(rng.uniform(-1, 1) * (30 if code else 60))
    longest = int(np.floor(0.2 * frames)) - 1
    if rng.random() < (0.25 if code and not first_half else 0.5) and frames >= 20:
        plan["crop"] = (int(rng.integers(1, longest + 1)), bool(rng.random() < 0.5))
    factors = draw_factors(rng, code)
    if factors is not None:
        plan["scale"] = factors
    return plan


def draw_factors(rng, code):
    """Scale s for all coordinates and distortion d for each: s*d (DOC), s + d of scaled clips only (CODE)."""
    def factor(n):
        return rng.uniform(0.7, 1.3, n)

    scaled, distorted = rng.random() < (0.25 if code else 0.5), rng.random() < (0.25 if code else 0.5)
    if code:
        return (factor(1) + (factor(3) if distorted else 0)) * np.ones(3) if scaled else None
    if not scaled and not distorted:
        return None
    return (factor(1) if scaled else 1) * (factor(3) if distorted else np.ones(3))
