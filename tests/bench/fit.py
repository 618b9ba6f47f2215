"""A whole training by islr beside the same by PyTorch: time and accuracy, on the same machine in turns.

usage: fit.py ISLRD DATA [--epochs 15] [--rounds 1] [--precision fp32|bf16|auto ..] [--torch-precision fp32|bf16 ..]

DATA is a directory in the competition's layout; a quarter of its participants is held out. Both programs prepare the
set, train student, teacher and distilled model (transfo/dense 768/192, distilled 576/192, L=25, batch 32, the published
augmentations and schedules) and evaluate once, at the end; the time is that of the whole process. One round runs each
named precision of each program once. Needs torch (tests/oracle/requirements.txt).
"""
import argparse
import csv
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

ORACLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "oracle")
JOB = """kind: train
name: fit
preset: l25
data: {{path: {data}, k: 4, fold_file: {folds}, fold: 0}}
model: {{transfo_dim: 768, dense_dim: 192}}
distill: {{transfo_dim: 576, dense_dim: 192}}
train: {{epochs: {epochs}, batch: 32, eval_every: {epochs}, precision: {precision}}}
checkpoint: {{soup_last: {soup}}}
"""


def write_folds(data, path):
    """Every fourth participant, in the order of their numbers, is in fold 0."""
    with open(os.path.join(data, "train.csv")) as f:
        rows = list(csv.DictReader(f))
    order = {p: i for i, p in enumerate(sorted({int(r["participant_id"]) for r in rows}))}
    with open(path, "w") as f:
        f.write("participant_id,sequence_id,fold\n")
        f.writelines(f'{r["participant_id"]},{r["sequence_id"]},{order[int(r["participant_id"])] % 4}\n' for r in rows)


def timed(command, log):
    began = time.perf_counter()
    with open(log, "w") as f:
        subprocess.run(command, check=True, stdout=f, stderr=subprocess.STDOUT)
    took = time.perf_counter() - began
    with open(log) as f:
        return took, f.read()


def run_islr(a, precision, scratch):
    soup = min(10, a.epochs)
    job, out = (os.path.join(scratch, n) for n in ("job.yaml", f"islr-{precision}-{time.time()}"))
    with open(job, "w") as f:
        f.write(JOB.format(data=a.data, folds=a.folds, epochs=a.epochs, precision=precision, soup=soup))
    took, said = timed([a.islrd, "run", job, "--out", out, "--threads", str(a.threads)], out + ".log")
    return took, {n: float(v) for n, v in re.findall(r"(accuracy/\w+) ([0-9.]+)", said)}


def run_torch(a, precision, scratch):
    took, said = timed(
        [sys.executable, os.path.join(ORACLE, "train.py"), "--data", a.data, "--fold-file", a.folds, "--fold", "0",
         "--epochs", str(a.epochs), "--eval-every", str(a.epochs), "--threads", str(a.threads),
         "--precision", precision],
        os.path.join(scratch, "torch.log"))
    last = json.loads(said.strip().splitlines()[-1])
    return took, {n: round(v, 4) for n, v in last.items() if n.startswith("accuracy/")}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("islrd")
    p.add_argument("data")
    p.add_argument("--epochs", type=int, default=15)
    p.add_argument("--rounds", type=int, default=1)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--precision", nargs="*", default=["auto"], choices=["fp32", "bf16", "auto"])
    p.add_argument("--torch-precision", nargs="*", default=["fp32"], choices=["fp32", "bf16"])
    a = p.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        a.folds = os.path.join(scratch, "folds.csv")
        write_folds(a.data, a.folds)
        for _ in range(a.rounds):
            for program, run, precisions in (("islr", run_islr, a.precision), ("torch", run_torch, a.torch_precision)):
                for precision in precisions:
                    took, accuracies = run(a, precision, scratch)
                    found.setdefault(f"{program} {precision}", []).append(took)
                    print(f"{program} {precision}: {took:.0f} s {accuracies}", file=sys.stderr, flush=True)
    print(json.dumps({n: round(statistics.median(t), 1) for n, t in found.items()} | {"epochs": a.epochs}))


if __name__ == "__main__":
    main()
