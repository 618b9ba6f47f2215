"""Checkpoints between PyTorch and islr, both ways, over the same recordings.

usage: check_roundtrip.py ISLRD

Fresh PyTorch models of the four published sizes, saved with the safetensors package, predict the same logits in islrd; a
model that islrd trained loads into PyTorch and does so too. Exits 77 where torch is missing.
"""
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import pandas  # noqa: F401 (the preparation reads with it)
    import safetensors.torch
    import torch
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

from model import Model, Sizes, frame_mask, published_widths
from prepare import prepare_set

PUBLISHED = [(1536, 512, 25), (768, 192, 25), (1024, 256, 80), (576, 192, 80)]
BOUND = 1e-4


def logits_of(islrd, checkpoint, data, folder):
    out = os.path.join(folder, "logits.npy")
    subprocess.run([islrd, "predict", "--model", checkpoint, "--logits", "--npy", out, data], check=True)
    return np.load(out)


@torch.no_grad()
def logits_in_torch(model, data):
    clips, _, _ = prepare_set(data, model.sizes.max_len)
    x = torch.zeros(len(clips), model.sizes.max_len, 100, 3)
    for row, clip in zip(x, clips):
        row[: len(clip)] = torch.from_numpy(clip)
    return model.eval()(x, frame_mask([len(c) for c in clips], model.sizes.max_len)).numpy()


def check(what, got, want):
    error = np.linalg.norm(got - want) / np.linalg.norm(want)
    print(f"{what}: logits differ by {error:.1e}")
    assert error <= BOUND, what


def main():
    islrd = os.path.abspath(sys.argv[1])
    torch.manual_seed(1)
    with tempfile.TemporaryDirectory() as folder:
        data = os.path.join(folder, "recordings")
        subprocess.run([islrd, "synth", "--out", data, "--signs", "4", "--participants", "4", "--clips", "64"], check=True)
        for transfo_dim, dense_dim, max_len in PUBLISHED:
            model = Model(Sizes(dense_dim, published_widths(transfo_dim), max_len))
            path = os.path.join(folder, "torch.safetensors")
            safetensors.torch.save_file(model.state_dict(), path)  # with num_batches_tracked, without metadata
            check(f"PyTorch {transfo_dim}/{dense_dim}, L={max_len}", logits_of(islrd, path, data, folder),
                  logits_in_torch(model, data))
        run = os.path.join(folder, "run")
        settings = ["preset=tiny", f"data.path={data}", "data.fold=full", "train.steps=6", "train.batch=32"]
        job = os.path.join(folder, "job.yaml")
        open(job, "w").close()
        subprocess.run([islrd, "run", job, *settings, "--out", run], check=True, stderr=subprocess.DEVNULL)
        path = os.path.join(run, "final", "student.safetensors")
        model = Model(Sizes(64, (64, 96, 96, 64), 25, heads=4, classes=4)).take(safetensors.torch.load_file(path))
        check("islr's tiny student", logits_of(islrd, path, data, folder), logits_in_torch(model, data))


if __name__ == "__main__":
    main()
