"""Checks what a training run left against its documentation.

usage: check_run.py DIR EPOCHS            files of one run
       check_run.py --compare DIR DIR     two runs of one job over different numbers of ranks: the same curves
"""
import json
import math
import os
import struct
import sys

MODELS = ("student", "teacher", "distilled", "soup")


def metrics(directory):
    with open(os.path.join(directory, "metrics.jsonl")) as f:
        return [json.loads(line) for line in f]


def check(condition, text):
    if not condition:
        sys.exit(text)


def check_tensors(path):
    """A safetensors file: header, tensors without holes, finite values."""
    with open(path, "rb") as f:
        data = f.read()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    check(header.pop("__metadata__", None), f"{path}: no metadata")
    at = 0
    for name, t in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        check(t["dtype"] == "F32", f"{path}: {name} is {t['dtype']}")
        check(t["data_offsets"][0] == at, f"{path}: a hole before {name}")
        at = t["data_offsets"][1]
        check(at - t["data_offsets"][0] == 4 * math.prod(t["shape"]), f"{path}: {name} has another size than its shape")
    check(8 + size + at == len(data), f"{path}: bytes behind the last tensor")
    check("frame_transformer_1.rel_embeddings.weight" in " ".join(header), f"{path}: names are not the published ones")
    values = memoryview(data)[8 + size :].cast("f")
    check(all(map(math.isfinite, values)), f"{path}: values that are not finite")


def check_run(directory, epochs):
    lines = metrics(directory)
    steps = [m for m in lines if "loss/student" in m]
    check(steps, "no training steps in metrics.jsonl")
    numbers = sorted({m["step"] for m in steps})
    check(numbers == list(range(1, numbers[-1] + 1)), f"steps are not 1, 2, ..: {numbers[:9]}")
    for m in steps:
        for key in ("time", "epoch", "lr", "clips_per_second", "grad_norm/student", "grad_norm/distilled", "ce/student",
                    "ce/distilled", "consistency/student", "consistency/distilled", "loss/distilled"):
            check(key in m and math.isfinite(m[key]), f"step {m['step']}: {key} is {m.get(key)}")
    check(steps[0]["lr"] == 0, "the first step's rate is not 0")
    check(max(m["epoch"] for m in steps) == epochs, "another number of epochs")
    accuracies = {key for m in lines for key in m if key.startswith("accuracy/")}
    check(accuracies == {"accuracy/" + name for name in MODELS}, f"evaluations: {sorted(accuracies)}")
    for name in MODELS:
        check_tensors(os.path.join(directory, "final", name + ".safetensors"))
    with open(os.path.join(directory, "summary.json")) as f:
        json.load(f)
    with open(os.path.join(directory, "predictions.csv")) as f:
        rows = f.read().splitlines()
    check(len(rows) > 10, "predictions.csv is empty")


def compare(one, two):
    a = {m["step"]: m for m in metrics(one) if "loss/student" in m}
    b = {m["step"]: m for m in metrics(two) if "loss/student" in m}
    check(a.keys() == b.keys(), "another number of steps")
    for step in sorted(a)[:12]:
        for key in ("loss/student", "loss/distilled"):
            x, y = a[step][key], b[step][key]
            # Rounding differs and grows with the steps.
            check(abs(x - y) <= 1e-3 * abs(x), f"step {step}: {key} is {x} and {y}")


if sys.argv[1] == "--compare":
    compare(sys.argv[2], sys.argv[3])
else:
    check_run(sys.argv[1], int(sys.argv[2]))
