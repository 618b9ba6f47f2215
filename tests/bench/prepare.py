#!/usr/bin/env python3
"""Clips a second of `islrd prepare` and of the published preparation (pandas and torch, one process) on the same cores.

usage: prepare.py ISLRD [--data DIR] [--rounds N] [--reference-clips N] [--cores N]

DIR is a directory in the competition's layout; without it the recordings in ISLR_SHARED_DATA (or ../shared/data beside
the source tree) are expanded into a temporary directory. The two take turns; medians over the rounds are what counts.
Both read files that are in the page cache. Needs the packages of tests/oracle/requirements.txt and pandas.
"""
import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(SOURCE, "tests", "oracle"))


def expand(out):
    shared = os.environ.get("ISLR_SHARED_DATA", os.path.join(SOURCE, "..", "shared", "data"))
    script = os.path.join(shared, "expand.py")
    if not os.path.exists(script):
        sys.exit(f"no recordings in {shared}: give --data DIR")
    subprocess.check_call([sys.executable, script, out], stdout=subprocess.DEVNULL)


def measure_islrd(islrd, data, scratch, clips):
    out = os.path.join(scratch, "set.islr")
    start = time.perf_counter()
    subprocess.check_call([islrd, "prepare", "--data", data, "--out", out, "--max-len", "25", "--strict"],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return clips / (time.perf_counter() - start)


def measure_reference(prepare, data, paths):
    start = time.perf_counter()
    for path in paths:
        prepare.prepare_clip(prepare.read_clip(os.path.join(data, path)), 25)
    return len(paths) / (time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("islrd")
    parser.add_argument("--data")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--reference-clips", type=int, default=200, help="a random sample for each round")
    parser.add_argument("--cores", type=int, default=2)
    args = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.cores])
    import prepare

    with tempfile.TemporaryDirectory() as scratch:
        data = args.data
        if not data:
            data = os.path.join(scratch, "recordings")
            expand(data)
        table, _ = prepare.read_index(data)
        paths = list(table["path"])
        for path in paths:  # into the page cache
            with open(os.path.join(data, path), "rb") as f:
                f.read()
        ours, theirs = [], []
        for i in range(args.rounds):
            sample = random.Random(i).sample(paths, min(args.reference_clips, len(paths)))
            theirs.append(measure_reference(prepare, data, sample))
            ours.append(measure_islrd(args.islrd, data, scratch, len(paths)))
            print(f"round {i + 1}: islrd {ours[-1]:.0f} clips/s, reference {theirs[-1]:.1f}", flush=True)
        a, b = statistics.median(ours), statistics.median(theirs)
        print(f"median: islrd {a:.0f} clips/s, reference {b:.1f}: {a / b:.1f} times ({len(paths)} clips, {args.cores} cores)")


main()
