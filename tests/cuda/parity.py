#!/usr/bin/env python3
"""Training steps of the three models by PyTorch on a card, in float64 and in float32 without TF32, written as golden files
that build/tests/train/test_steps is then run against on the same card.

usage: parity.py TEST_STEPS [--pairs tiny l25 l80] [--device cuda|cpu]     needs the packages of tests/oracle/requirements.txt

The device is PyTorch's, and test_steps' too unless ISLR_TEST_DEVICE names another. A pair that cannot be computed or
does not hold is said, and the others go on; the exit status is 0 only if all hold.
"""
import argparse
import os
import subprocess
import sys
import tempfile
import traceback

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


def pair_holds(test_steps, pair, device):
    """Do the steps of a pair, here and there, agree? Says what does not."""
    try:
        train_goldens.write_pair(pair)
    except Exception:
        traceback.print_exc()
        print(f"{pair}: PyTorch did not compute it", flush=True)
        return False
    path = os.path.join(golden.GOLDEN_DIR, f"train-{pair}.safetensors")
    env = {"ISLR_TEST_DEVICE": device} | {k: v for k, v in os.environ.items() if v}
    status = subprocess.run([test_steps, path], env=env).returncode
    print(f"{pair}: {'holds' if status == 0 else f'does not hold (status {status})'}", flush=True)
    return status == 0


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("test_steps")
    p.add_argument("--pairs", nargs="+", default=["tiny", "l25", "l80"], choices=list(train_goldens.PAIRS))
    p.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    a = p.parse_args()
    if a.device == "cuda" and not torch.cuda.is_available():
        sys.exit("parity.py: this PyTorch sees no CUDA device")
    compute_on(a.device)
    with tempfile.TemporaryDirectory() as golden.GOLDEN_DIR:
        held = [pair_holds(a.test_steps, pair, a.device) for pair in a.pairs]
    print(f"parity with PyTorch {torch.__version__}: {sum(held)} of {len(held)} pairs hold")
    return not all(held)


if __name__ == "__main__":
    sys.exit(main())
