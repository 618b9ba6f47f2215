"""Training steps of islr beside PyTorch's, on the same machine in the same minutes.

usage: train.py ISLRD [--preset l25|l80] [--precision fp32|bf16] [--rounds 5] [--steps 4] [--threads 2]

Both do whole steps of the three models on a batch of 32 unpadded clips; islr also makes the three augmented views. The
two take turns, each round a fresh process with its own warm-up; the medians over rounds and their ratio are printed
with the peak memory of each. Needs torch (tests/oracle/requirements.txt).
"""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

ORACLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "oracle")
SIZES = {"l25": ((1536, 512), (768, 192), 25), "l80": ((1024, 256), (576, 192), 80)}
BATCH = 32


def torch_round(a):
    sys.path.insert(0, ORACLE)
    import torch
    from model import Sizes, frame_mask, published_widths
    from recipe import Recipe, Trio

    torch.set_num_threads(a.threads)
    student, distilled, max_len = SIZES[a.preset]
    drop = {"dropout_mlp": 0.25, "dropout_landmark": 0.25, "dropout_encoders": (0.05, 0.1, 0.1)}
    sizes = [Sizes(d, published_widths(t), max_len, **drop) for t, d in (student, distilled)]
    trio = Trio(*sizes, Recipe(1000, 250, bf16=a.precision == "bf16"))
    view = torch.randn(BATCH, max_len, 100, 3), frame_mask([max_len] * BATCH, max_len)
    labels = torch.arange(BATCH)
    times = []
    for s in range(1, 2 + a.steps + 1):
        began = time.perf_counter()
        trio.step(s, dict.fromkeys(Trio.NAMES, view), labels)
        times.append(time.perf_counter() - began)
    rate = BATCH / statistics.median(times[2:])
    print(json.dumps({"clips_per_second": rate, "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def run(command):
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("islrd")
    p.add_argument("--preset", default="l25", choices=SIZES)
    p.add_argument("--precision", default="bf16", choices=["fp32", "bf16"])
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--steps", type=int, default=4)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--one-torch-round", action="store_true", help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.one_torch_round:
        return torch_round(a)
    shared = ["--preset", a.preset, "--precision", a.precision, "--steps", str(a.steps), "--threads", str(a.threads)]
    commands = {"islr": [a.islrd, "bench", "train", "--batch", str(BATCH), "--json", *shared],
                "torch": [sys.executable, os.path.abspath(__file__), a.islrd, "--one-torch-round", *shared]}
    found = {name: [] for name in commands}
    for _ in range(a.rounds):
        for name, command in commands.items():
            found[name].append(run(command))
            print(f"{name}: {found[name][-1]['clips_per_second']:.1f} clips/s", file=sys.stderr)
    median = {n: {k: statistics.median(r[k] for r in rounds) for k in ("clips_per_second", "peak_memory_mib")}
              for n, rounds in found.items()}
    ratio = median["islr"]["clips_per_second"] / median["torch"]["clips_per_second"]
    print(json.dumps({"preset": a.preset, "precision": a.precision, **median, "ratio": round(ratio, 2)}, indent=2))


if __name__ == "__main__":
    main()
