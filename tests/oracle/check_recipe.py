"""Holds losses, schedules and augmentations against code that we did not write: PyTorch's and transformers'."""
import numpy as np
import torch
import torch.nn.functional as F
from transformers import get_linear_schedule_with_warmup

import augment
import filler
import losses


def check_cross_entropy(classes=11, clips=8, smoothing=0.3):
    """The reference smooths over the other classes, PyTorch over all of them: another eps for the same targets."""
    logits = torch.from_numpy(filler.symmetric("check/logits", (clips, classes), 4.0)).double()
    labels = torch.from_numpy(filler.labels("check", clips, classes))
    ours = losses.cross_entropy(logits, losses.one_hot(labels, classes, logits.dtype), smoothing)
    theirs = F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing * classes / (classes - 1))
    assert torch.allclose(ours, theirs, rtol=1e-12)
    expected = torch.stack([part.sort().values[:3].mean() for part in ours.reshape(2, 4)]).mean()
    assert torch.allclose(losses.ousm(ours, 1, groups=2), expected, rtol=1e-12)


def check_schedule(steps, peak=3e-4):
    parameter = torch.nn.Parameter(torch.zeros(1))
    adamw = torch.optim.AdamW([parameter], lr=peak)
    warmup = int(0.25 * steps)
    schedule = get_linear_schedule_with_warmup(adamw, warmup, steps)
    for s in range(1, steps + 1):
        assert np.isclose(losses.learning_rate(s, steps, warmup, peak), schedule.get_last_lr()[0], rtol=1e-12), s
        adamw.step()
        schedule.step()


def check_resize(frames, to):
    clip = filler.symmetric("check/clip", (frames, 100, 3)).astype(np.float64)
    flat = torch.from_numpy(clip).reshape(1, frames, -1).transpose(1, 2)
    theirs = F.interpolate(flat, size=to, mode="linear").transpose(1, 2).reshape(to, 100, 3).numpy()
    assert np.abs(augment.resize(clip, to) - theirs).max() < 1e-12, (frames, to)


def check_plans(count=20_000):
    """The drawn plans have the published shares and ranges."""
    rng = np.random.default_rng(1)
    for code in (False, True):
        for first_half in (False, True):
            plans = [augment.draw_plan(rng, 50, first_half, code) for _ in range(count)]
            shares = {
                "face_cutmix": 0.25 * first_half, "fill_hand": 0.25 * first_half, "interpolate": 0.5, "flip": 0.5,
                "rotate": 0.5, "crop": 0.25 if code and not first_half else 0.5, "scale": 0.25 if code else 0.75,
            }  # fmt: skip
            for name, share in shares.items():
                assert abs(np.mean([name in p for p in plans]) - share) < 0.02, (name, code, first_half)
            crops = {p["crop"][0] for p in plans if "crop" in p}
            assert crops == set(range(1, 10)), crops
            widest = max(abs(p["rotate"]) for p in plans if "rotate" in p)
            assert 0.95 < widest / np.radians(30 if code else 60) <= 1
    assert not any("crop" in augment.draw_plan(rng, 19, True) for _ in range(200))


if __name__ == "__main__":
    torch.set_num_threads(1)
    check_cross_entropy()
    for steps in (4, 8, 15, 100):
        check_schedule(steps)
    for frames, to in ((9, 9), (5, 13), (13, 5), (1, 7), (7, 1), (80, 3)):
        check_resize(frames, to)
    check_plans()
    print("losses, schedule, resizing and drawn plans are right")
