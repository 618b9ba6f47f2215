#!/usr/bin/env python3
"""Training steps of the three models by PyTorch on a card, in float64 and in float32 without TF32, written as golden files
that build/tests/train/test_steps is then run against on the same card.

usage: parity.py TEST_STEPS [--pairs tiny l25 l80] [--device cuda|cpu]     needs the packages of tests/oracle/requirements.txt
"""
import argparse
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "oracle"))
import torch  # noqa: E402

import golden  # noqa: E402
import train_goldens  # noqa: E402


def compute_on(device):
    """The oracle computes on the CPU: what it makes goes to the device here, and what it returns comes back."""
    from_numpy, train = torch.from_numpy, train_goldens.train
    torch.from_numpy = lambda array: from_numpy(array).to(device)
    torch.set_default_device(device)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False

    def train_there(*arguments):
        steps, logits, models = train(*arguments)
        return steps, {n: y.cpu() for n, y in logits.items()}, {n: m.cpu() for n, m in models.items()}

    train_goldens.train = train_there


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("test_steps")
    p.add_argument("--pairs", nargs="+", default=["tiny", "l25", "l80"], choices=list(train_goldens.PAIRS))
    p.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    a = p.parse_args()
    if a.device == "cuda" and not torch.cuda.is_available():
        sys.exit("parity.py: this PyTorch sees no CUDA device")
    compute_on(a.device)
    failed = 0
    with tempfile.TemporaryDirectory() as golden.GOLDEN_DIR:
        for pair in a.pairs:
            train_goldens.write_pair(pair)
            path = os.path.join(golden.GOLDEN_DIR, f"train-{pair}.safetensors")
            failed += subprocess.run([a.test_steps, path]).returncode != 0
    print(f"parity with PyTorch {torch.__version__}: {len(a.pairs) - failed} of {len(a.pairs)} pairs hold")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
