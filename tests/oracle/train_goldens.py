"""Golden files of whole training: metrics of 8 steps of the three models, from the filler's weights.

usage: train_goldens.py [tiny l25 l80]

Each variant runs twice: in float64, the judge, and in float32 as PyTorch's users train, on one thread.
The files' contents are in tests/golden/README.md.
"""
import sys
from dataclasses import asdict

import torch

import filler
import golden
from model import PUBLISHED, Mixup, Sizes, frame_mask
from model_goldens import TINY
from recipe import Recipe, Trio

STEPS, BATCH, CLIPS = 8, 8, 16
PAIRS = {
    "tiny": (TINY, Sizes(dense_dim=16, widths=(16, 32, 32, 16), max_len=9, classes=11)),
    "l25": (PUBLISHED["l25-student"][0], PUBLISHED["l25-distilled"][0]),
    "l80": (PUBLISHED["l80-student"][0], PUBLISHED["l80-distilled"][0]),
}
# variant: (groups, OUSM's k, mixup, last step before the distilled model stays in evaluation mode)
VARIANTS = {
    "plain": (1, 3, False, STEPS),
    "groups": (2, 1, False, STEPS),
    "mixup": (1, 3, True, STEPS),
    "groups-mixup": (2, 1, True, STEPS),
    "frozen": (1, 3, False, 4),
}


def mixups(s, groups):
    """Step s mixes before encoder s%3+1 in the student, (s+1)%3+1 in the teacher, (s+2)%3+1 in the distilled model."""
    permutation = torch.from_numpy(filler.permutation(f"step{s}", BATCH, groups))
    coefficients = torch.from_numpy(filler.coefficients(f"step{s}", BATCH))
    return {n: Mixup((s + i) % 3 + 1, permutation, coefficients) for i, n in enumerate(Trio.NAMES)}


def train(pair, variant, dtype):
    """(metrics of each step, the three models)"""
    student, distilled = PAIRS[pair]
    groups, ousm, mixed, last = VARIANTS[variant]
    recipe = Recipe(STEPS, student.classes, groups, ousm=ousm)
    trio = Trio(student, distilled, recipe).fill(dtype)
    lengths = filler.lengths("train", CLIPS, student.max_len)
    x = torch.from_numpy(filler.clips("train", lengths, student.max_len)).to(dtype)
    mask = frame_mask(lengths, student.max_len).to(dtype)
    labels = torch.from_numpy(filler.labels("train", CLIPS, student.classes))
    steps = []
    for s in range(1, STEPS + 1):
        if s > last:
            trio.models["distilled"].eval()
        at = (s - 1) * BATCH % CLIPS
        view = x[at : at + BATCH], mask[at : at + BATCH]
        views = dict.fromkeys(Trio.NAMES, view)
        steps.append(trio.step(s, views, labels[at : at + BATCH], mixups(s, groups) if mixed else None))
    with torch.no_grad():
        logits = {n: m.eval()(x[:BATCH], mask[:BATCH]) for n, m in trio.models.items()}
    return steps, logits, trio.models


def variant_tensors(pair, variant):
    """(tensors, {model: {tensor: relative error of the weights that float32 ends with}})"""
    out, ends = {}, []
    for label, dtype in (("", torch.float64), ("float32/", torch.float32)):
        steps, logits, models = train(pair, variant, dtype)
        for metric in steps[0]:
            out[f"{variant}/{label}{metric}"] = [m[metric] for m in steps]
        out |= {f"{variant}/{label}logits/{n}": y for n, y in logits.items()}
        ends.append(models)
    error = {}
    for name in ("student", "distilled") if variant == "plain" else ():
        judge, single = (end[name].tensors() for end in ends)
        out |= {f"{variant}/summary/{name}/{n}": filler.summary(n, t.numpy()) for n, t in judge.items()}
        error[name] = {n: float(f"{(single[n] - t).norm() / t.norm():.1e}") for n, t in judge.items()}
    return out, error


def write_pair(pair):
    variants = VARIANTS if pair == "tiny" else ("plain", "groups")
    tensors, metadata = {}, {"steps": STEPS, "batch": BATCH, "clips": CLIPS}
    for variant in variants:
        new, error = variant_tensors(pair, variant)
        tensors |= new
        keys = ("groups", "ousm", "mixup", "train_mode_until")
        metadata[f"variant/{variant}"] = dict(zip(keys, VARIANTS[variant]))
        if error:
            metadata[f"fp32_error/{variant}"] = error
    sizes = {f"sizes/{n}": asdict(s) for n, s in zip(("student", "distilled"), PAIRS[pair])}
    golden.write(f"train-{pair}", tensors, **metadata, **sizes)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for wanted in sys.argv[1:] or PAIRS:
        write_pair(wanted)
