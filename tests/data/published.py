"""Compares a prepared set with the published preparation, written out here in numpy, and with train.csv.

usage: published.py ISLRD DATA_DIR SET MAX_LEN
Reads recordings with pyarrow and the set through `islrd inspect`. Values may differ by 1e-5.
"""
import csv
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import pyarrow.parquet as pq

DIRECT = np.array(
    [*range(468, 489), *range(522, 543)]
    + [10, 54, 67, 132, 150, 152, 162, 172, 176, 234, 284, 297, 361, 379, 389, 397, 400, 454]
    + [13, 37, 40, 61, 78, 81, 84, 87, 88, 91, 191, 267, 270, 291, 308, 311, 314, 317, 318, 321, 415]
    + [*range(500, 512), 205, 425])
AVERAGED = [[466, 387, 385, 398, 263, 390, 374, 381, 362], [246, 160, 158, 173, 33, 163, 145, 154, 133],
            [383, 293, 296, 285], [156, 63, 66, 55], [1, 2, 98, 327, 168]]


def published(path, max_len):
    table = pq.read_table(path, columns=["x", "y", "z"])
    columns = [table.column(c).to_numpy(zero_copy_only=False).astype(np.float64) for c in "xyz"]
    x = np.stack(columns, 1).reshape(-1, 543, 3)
    with_hand = ~np.isnan(x[:, DIRECT[:42], 0]).all(1)
    x = x[with_hand] if with_hand.any() else x
    d = 1 if len(x) <= max_len else len(x) // max_len + 1
    x = x[[i for i in range(len(x)) if (i + 1) % d == 0]]
    x = np.concatenate([x[:, DIRECT], np.stack([x[:, rows].mean(1) for rows in AVERAGED], 1)], 1)
    x = (x - np.nanmean(x, (0, 1))) / np.nanstd(x, (0, 1))
    return np.nan_to_num(x, nan=0.0)


def main(islrd, folder, prepared, max_len):
    with open(os.path.join(folder, "train.csv")) as f:
        rows = list(csv.DictReader(f))
    with open(os.path.join(folder, "sign_to_prediction_index_map.json")) as f:
        classes = json.load(f)
    facts = json.loads(subprocess.check_output([islrd, "inspect", prepared, "--json"]))
    assert facts["clips"] == len(rows) and facts["max_len"] == max_len and not facts["skipped"]
    assert {s["sign"]: s["label"] for s in facts["signs"]} == classes
    folds = {p["participant"]: p["fold"] for p in facts["participants"]}
    worst = 0
    with tempfile.TemporaryDirectory() as scratch:
        npy = os.path.join(scratch, "clip.npy")
        for i, row in enumerate(rows[:: max(1, len(rows) // 20)]):
            name = f"{row['participant_id']}/{row['sequence_id']}"
            out = subprocess.check_output([islrd, "inspect", prepared, "--clip", name, "--npy", npy, "--json"])
            clip = json.loads(out)
            assert clip["path"] == row["path"] and clip["sign"] == row["sign"] and clip["label"] == classes[row["sign"]]
            assert clip["fold"] == folds[int(row["participant_id"])]
            got, wanted = np.load(npy), published(os.path.join(folder, row["path"]), max_len)
            assert got.dtype == np.float32 and got.shape == wanted.shape, (name, got.shape, wanted.shape)
            left, right = ((got[:, h : h + 21] == 0).all((1, 2)).sum() for h in (0, 21))
            assert (clip["left_missing"], clip["right_missing"]) == (left, right), name
            assert clip["left_handed"] == bool(left < right), name
            worst = max(worst, np.abs(got - wanted).max())
    print(f"{len(rows)} clips of at most {max_len} frames: largest difference {worst:.2g}")
    assert worst <= 1e-5


main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
