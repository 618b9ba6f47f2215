#!/usr/bin/env python3
"""What islrd's commands print and write: results that are not finite, names that are not UTF-8."""
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile

ISLRD, TOOL = sys.argv[1:3]


def run(*args, code=0):
    done = subprocess.run([ISLRD, *args], capture_output=True, text=True, timeout=300)
    assert done.returncode == code, (args, done)
    return done


def not_finite(model, clip):
    for how in ([], ["--json"], ["--logits", "--json"]):
        done = run("predict", "--model", model, *how, clip, code=1)
        assert f"{clip}: what {model} makes of it is not finite" in done.stderr and not done.stdout, done


def odd_names(model, recordings, clip):
    odd = os.fsencode(recordings) + b"-\xff.parquet"
    shutil.copy(clip, odd)
    found = json.loads(run("predict", "--model", model, "--json", odd, clip).stdout)
    assert [f["clip"] for f in found] == [recordings + "-\ufffd.parquet", clip], found
    odd = os.fsencode(recordings) + b"-\xff.islr"
    found = json.loads(run("prepare", "--data", recordings, "--out", odd, "--max-len", "9", "--k", "2", "--json").stdout)
    assert found["file"] == recordings + "-\ufffd.islr" and found["clips"] == 4, found


with tempfile.TemporaryDirectory() as scratch:
    subprocess.run([TOOL, scratch], check=True, capture_output=True)
    recordings = os.path.join(scratch, "recordings")
    run("synth", "--out", recordings, "--signs", "2", "--participants", "2", "--clips", "4")
    clip = sorted(glob.glob(recordings + "/train_landmark_files/*/*.parquet"))[0]
    model = os.path.join(scratch, "model.safetensors")
    odd_names(model, recordings, clip)
    not_finite(os.path.join(scratch, "huge.safetensors"), clip)
print("ok")
