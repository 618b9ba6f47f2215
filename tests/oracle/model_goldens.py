"""Golden files of whole models: logits, losses, gradients and buffers of tiny and of the four published sizes.

usage: model_goldens.py [tiny l25-student l25-distilled l80-student l80-distilled]

Everything is computed in float64 from the filler's float32 weights and inputs. The same is computed in float32 to tell
what a float32 program can reach (metadata "fp32_error"). The files' contents are in tests/golden/README.md.
"""
import sys
from dataclasses import asdict

import torch

import filler
import golden
import losses
from model import PUBLISHED, Mixup, Model, Sizes, frame_mask

SMOOTHING, WEIGHT = 0.3, 2.0
TINY = Sizes(dense_dim=32, widths=(32, 48, 48, 32), max_len=9, classes=11)
LENGTHS = {9: [9, 1, 4, 2, 7, 9], 25: [25, 1, 13, 24, 2, 25], 80: [80, 1, 40, 79, 3, 25]}
# A gradient is rounding noise if in float64 it is this much smaller than the largest of the model.
NOISE = 1e-11
# case: (groups, OUSM's k, layer of mixup, padded)
CASES = {
    "train": (1, 3, 0, True),
    "unpadded": (1, 3, 0, False),
    "mixup1": (1, 3, 1, True),
    "mixup2": (1, 3, 2, True),
    "mixup3": (1, 3, 3, True),
    "groups": (2, 1, 0, True),
    "groups-mixup2": (2, 1, 2, True),
}
PUBLISHED_CASES = ("train", "unpadded", "mixup1", "mixup2", "mixup3")
FULL_GRADIENTS = ("train", "mixup2")  # of tiny


def batch(sizes, padded, dtype):
    lengths = LENGTHS[sizes.max_len] if padded else [sizes.max_len] * 6
    x = torch.from_numpy(filler.clips("batch", lengths, sizes.max_len)).to(dtype)
    labels = torch.from_numpy(filler.labels("batch", len(lengths), sizes.classes))
    return x, frame_mask(lengths, sizes.max_len), losses.one_hot(labels, sizes.classes, dtype)


def run(sizes, case, dtype, trace=None):
    """One training forward and backward: (model, logits, [loss, ce, weighted consistency], gradients)."""
    groups, drop, layer, padded = CASES[case]
    model = Model(sizes).fill("model").to(dtype).train()
    model.set_groups(groups)
    x, mask, targets = batch(sizes, padded, dtype)
    clips, mixup = len(x), None
    if layer:
        permutation = torch.from_numpy(filler.permutation("batch", clips, groups))
        mixup = Mixup(layer, permutation, torch.from_numpy(filler.coefficients("batch", clips)))
        targets = mixup.targets(targets)
    teacher = torch.from_numpy(filler.symmetric("batch/teacher", (clips, sizes.classes), 3.0)).to(dtype)
    logits = model(x, mask, mixup, trace)
    ce = losses.ousm(losses.cross_entropy(logits, targets, SMOOTHING), drop, groups)
    consistency = WEIGHT * losses.consistency(logits, teacher)
    loss = ce + consistency
    loss.backward()
    gradients = {n: p.grad for n, p in model.named_parameters()}
    return model, logits, torch.stack([loss, ce, consistency]), gradients


def evaluate(sizes, padded):
    x, mask, _ = batch(sizes, padded, torch.float64)
    with torch.no_grad():
        return Model(sizes).fill("model").double().eval()(x, mask)


def case_tensors(sizes, case, full):
    """(tensors, names of noise gradients, relative error of float32's gradients)"""
    trace = {}
    model, logits, values, gradients = run(sizes, case, torch.float64, trace)
    _, _, _, single = run(sizes, case, torch.float32)
    out = {f"{case}/logits": logits, f"{case}/losses": values}
    largest = max(g.norm().item() for g in gradients.values())
    noise = [n for n, g in gradients.items() if g.norm().item() < NOISE * largest]
    error = {n: float(f"{(single[n] - g).norm() / g.norm():.1e}") for n, g in gradients.items() if n not in noise}
    for name, g in gradients.items():
        if full:
            out[f"{case}/gradient/{name}"] = g
        else:
            out[f"{case}/gradient_summary/{name}"] = filler.summary(name, g.numpy())
    if full:
        out |= {f"{case}/activation/{k}": v for k, v in trace.items()}
    if "mixup" not in case:  # which comes behind all BatchNorms
        out |= {f"{case}/buffer/{n}": t for n, t in model.tensors().items() if "running_" in n}
    return out, noise, error


def write_model(name):
    sizes = TINY if name == "tiny" else PUBLISHED[name][0]
    tensors = {"eval/logits": evaluate(sizes, True), "eval-unpadded/logits": evaluate(sizes, False)}
    metadata = {"sizes": asdict(sizes), "lengths": LENGTHS[sizes.max_len], "smoothing": SMOOTHING, "weight": WEIGHT}
    for case in CASES if name == "tiny" else PUBLISHED_CASES:
        groups, drop, layer, padded = CASES[case]
        new, noise, error = case_tensors(sizes, case, name == "tiny" and case in FULL_GRADIENTS)
        tensors |= new
        metadata[f"case/{case}"] = {"groups": groups, "ousm": drop, "mixup_layer": layer, "padded": padded}
        metadata[f"noise/{case}"] = ",".join(noise)
        metadata[f"fp32_error/{case}"] = error
    if name == "tiny":
        x, mask, targets = batch(sizes, True, torch.float32)
        tensors |= {"input/x": x, "input/mask": mask, "input/labels": targets.argmax(1)}
        tensors |= {"input/coefficients": filler.coefficients("batch", len(x))}
        tensors |= {f"input/permutation{g}": filler.permutation("batch", len(x), g) for g in (1, 2)}
        weights = Model(sizes).fill("model").tensors()
        tensors |= {f"parameter_summary/{n}": filler.summary(n, t.numpy()) for n, t in weights.items()}
    golden.write(name, tensors, **metadata)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for wanted in sys.argv[1:] or ["tiny", *PUBLISHED]:
        write_model(wanted)
