"""Golden file of the augmentations: inputs and outputs whole, parameters in the metadata.

Computed in float64 from the float32 inputs. Rules of the inputs and the list of cases: tests/golden/README.md.
"""
import numpy as np

import augment
import filler
import golden
import landmarks

COORDINATES = {"x": 0, "y": 1, "z": 2}


def clip(tag, frames):
    """A filler clip without hands in some frames, without face in some, and with single values missing."""
    x = filler.clips(tag, [frames], frames)[0]
    x[(filler.bits(f"{tag}/face", frames) & np.uint64(3)) == 0, 42:81] = 0
    x[(filler.bits(f"{tag}/face", frames) & np.uint64(3)) == 0, 93:100] = 0
    x[(filler.bits(f"{tag}/value", x.size) & np.uint64(31)).reshape(x.shape) == 0] = 0
    return x


def flat_face(x, coordinate):
    out = x.copy()
    out[:, landmarks.WHOLE_FACE, COORDINATES[coordinate]] = 0
    return out


def inputs():
    clips = {f"n{n}": clip(f"augment/n{n}", n) for n in (1, 2, 5, 9, 13, 20)}
    left = clips["n9"].copy()  # sure to be left-handed, its right hand seen in frame 0 only
    left[1:, 21:42] = 0
    right = clips["n5"].copy()
    right[1:, 0:21] = 0
    return clips | {
        "left": left, "right": right,
        "flat-x": flat_face(clips["n5"], "x"), "flat-z": flat_face(clips["n5"], "z"),
        "no-face": np.where(np.isin(np.arange(100), landmarks.WHOLE_FACE)[None, :, None], 0, clips["n5"]),
        "no-hands": np.where(np.arange(100)[None, :, None] < 42, 0, clips["n9"]),
    }  # fmt: skip


DOC, CODE = {"zero_z_alone": False}, {"zero_z_alone": True}
# case: (clip, other clip or None, plan)
CASES = {
    "face-longer": ("n9", "n13", {"face_cutmix": DOC}),
    "face-shorter": ("n9", "n5", {"face_cutmix": DOC}),
    "face-same-length": ("n9", "left", {"face_cutmix": DOC}),
    "face-from-one-frame": ("n9", "n1", {"face_cutmix": DOC}),
    "face-into-one-frame": ("n1", "n13", {"face_cutmix": DOC}),
    "face-left-from-right": ("left", "right", {"face_cutmix": DOC}),
    "face-right-from-left": ("right", "left", {"face_cutmix": DOC}),
    "face-flat-x": ("n9", "flat-x", {"face_cutmix": DOC}),
    "face-flat-z": ("n9", "flat-z", {"face_cutmix": DOC}),
    "face-flat-x-code": ("n9", "flat-x", {"face_cutmix": CODE}),
    "face-flat-z-code": ("n9", "flat-z", {"face_cutmix": CODE}),
    "face-from-none": ("n9", "no-face", {"face_cutmix": CODE}),
    "face-into-none": ("no-face", "n13", {"face_cutmix": DOC}),
    "fill-hand": ("n13", None, {"fill_hand": True}),
    "fill-hand-left": ("left", None, {"fill_hand": True}),
    "fill-hand-right": ("right", None, {"fill_hand": True}),
    "fill-hand-none": ("no-hands", None, {"fill_hand": True}),
    "interpolate": ("n20", None, {"interpolate": True}),
    "interpolate-1": ("n1", None, {"interpolate": True}),
    "interpolate-2": ("n2", None, {"interpolate": True}),
    "interpolate-no-hands": ("no-hands", None, {"interpolate": True}),
    "flip": ("n13", None, {"flip": True}),
    "rotate": ("n9", None, {"rotate": 0.75}),
    "rotate-back": ("n9", None, {"rotate": -1.0}),
    "crop-start": ("n20", None, {"crop": (3, True)}),
    "crop-end": ("n20", None, {"crop": (1, False)}),
    "scale": ("n9", None, {"scale": (1.25, 0.75, 0.8125)}),
    "all": ("n20", "n13", {
        "face_cutmix": DOC, "fill_hand": True, "interpolate": True, "flip": True, "rotate": 0.5, "crop": (2, True),
        "scale": (1.25, 0.75, 0.8125),
    }),
    "all-flipped-other": ("left", "right", {
        "face_cutmix": DOC, "fill_hand": True, "interpolate": True, "flip": True, "rotate": -0.25,
        "scale": (0.75, 0.75, 0.75),
    }),
}  # fmt: skip

if __name__ == "__main__":
    clips = inputs()
    tensors, metadata = {f"input/{k}": v for k, v in clips.items()}, {}
    for case, (own, partner, plan) in CASES.items():
        x = clips[own].astype(np.float64)
        other = clips[partner].astype(np.float64) if partner else None
        out = augment.augment(x, plan, other)
        changed = out.shape != x.shape or not np.array_equal(out, x)
        tensors[case] = out
        metadata[f"case/{case}"] = {"clip": own, "other": partner, "changed": changed} | plan
        if partner:
            flipped = augment.is_left_handed(x) != augment.is_left_handed(other)
            metadata[f"case/{case}"]["flip_other"] = bool(flipped)
    golden.write("augment", tensors, **metadata)
