#!/usr/bin/env python3
"""What islrd's commands print and write: results that are not finite."""
import glob
import os
import subprocess
import sys
import tempfile

ISLRD, TOOL = sys.argv[1:3]


def run(*args, code=0):
    done = subprocess.run([ISLRD, *args], capture_output=True, text=True, timeout=60)
    assert done.returncode == code, (args, done)
    return done


def not_finite(model, clip):
    for how in ([], ["--json"], ["--logits", "--json"]):
        done = run("predict", "--model", model, *how, clip, code=1)
        assert f"{clip}: what {model} makes of it is not finite" in done.stderr and not done.stdout, done


with tempfile.TemporaryDirectory() as scratch:
    subprocess.run([TOOL, scratch], check=True, capture_output=True)
    recordings = os.path.join(scratch, "recordings")
    run("synth", "--out", recordings, "--signs", "2", "--participants", "2", "--clips", "4")
    clip = sorted(glob.glob(recordings + "/train_landmark_files/*/*.parquet"))[0]
    model = os.path.join(scratch, "model.safetensors")
    not_finite(os.path.join(scratch, "huge.safetensors"), clip)
print("ok")
