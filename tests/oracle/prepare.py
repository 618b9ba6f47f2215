#!/usr/bin/env python3
"""The published preparation of clips (section 2 of the reference): pandas reads, torch computes.

usage: prepare.py CLIP.parquet --npy OUT.npy [--max-len 25]      one clip, float32 [frames, 100, 3]
       prepare.py DIRECTORY [--max-len 25] [--as-published]      prepares all clips of a train.csv and tells the rate
"""
import argparse
import json
import os
import time

import numpy as np
import pandas as pd
import torch

import landmarks


def read_clip(path, whole=False):
    """float [frames, 543, 3] of a parquet file of the competition, rows in their order.

    The published program reads the whole table, the strings too; the outcome is the same.
    """
    table = pd.read_parquet(path) if whole else pd.read_parquet(path, columns=["x", "y", "z"])
    return table[["x", "y", "z"]].to_numpy().reshape(-1, landmarks.FRAME_ROWS, 3)


def select_frames(x, max_len):
    """Frames with a hand, then one in d; if no frame has a hand, all frames count as if they had."""
    hands = x[:, np.concatenate([landmarks.LEFT_HAND_ROWS, landmarks.RIGHT_HAND_ROWS]), 0]
    with_hand = ~torch.isnan(hands).all(1)
    if with_hand.any():
        x = x[with_hand]
    stride = 1 if len(x) <= max_len else len(x) // max_len + 1
    return x[stride - 1 :: stride]


def prepare_clip(frames, max_len, dtype=torch.float32):
    """[n, 543, 3] with NaNs -> float32 array [m, 100, 3], m <= max_len, computed in `dtype`."""
    x = select_frames(torch.tensor(np.asarray(frames), dtype=dtype), max_len)
    averages = [x[:, rows].mean(1, keepdim=True) for rows in landmarks.AVERAGED_ROWS]
    x = torch.cat([x[:, landmarks.DIRECT_ROWS], *averages], 1)
    for c in range(3):
        values = x[..., c]
        known = values[~values.isnan()]
        if len(known) == 0:
            continue
        deviation = known.std(correction=0)
        x[..., c] = (values - known.mean()) / (deviation if deviation > 0 else 1)
    return torch.nan_to_num(x, nan=0.0).float().numpy()


def read_index(folder):
    """train.csv with the class of each clip in the column `label`, and the names of the classes."""
    table = pd.read_csv(os.path.join(folder, "train.csv"))
    with open(os.path.join(folder, "sign_to_prediction_index_map.json")) as f:
        classes = json.load(f)
    table["label"] = table["sign"].map(classes)
    assert table["label"].notna().all(), "train.csv names signs that are not in the map"
    return table.astype({"label": int}), sorted(classes, key=classes.get)


def prepare_set(folder, max_len, whole=False):
    """(clips, table, signs): clips is a list of float32 [m, 100, 3] in the order of train.csv."""
    table, signs = read_index(folder)
    clips = [prepare_clip(read_clip(os.path.join(folder, path), whole), max_len) for path in table["path"]]
    return clips, table, signs


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("input")
    p.add_argument("--max-len", type=int, default=25)
    p.add_argument("--npy", help="where to write one clip")
    p.add_argument("--as-published", action="store_true", help="read whole tables")
    p.add_argument("--threads", type=int, default=1)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    if a.npy:
        np.save(a.npy, prepare_clip(read_clip(a.input, a.as_published), a.max_len))
        return
    started = time.time()
    clips, _, _ = prepare_set(a.input, a.max_len, a.as_published)
    seconds = time.time() - started
    rate = round(len(clips) / seconds, 1)
    print(json.dumps({"clips": len(clips), "seconds": round(seconds, 2), "clips_per_second": rate}))


if __name__ == "__main__":
    main()
