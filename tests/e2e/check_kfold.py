"""Checks joined out-of-fold predictions and the figures that were recorded of them.

usage: check_kfold.py TRAIN_CSV DIR SHOW_JSON K
DIR holds predictions.npy, predictions.csv and summary.json, SHOW_JSON is what `islrctl show --json` says of the group.
"""
import csv
import json
import os
import sys

import numpy

train, directory, show, k = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])


def check(condition, text):
    if not condition:
        sys.exit(text)


def rows(path):
    with open(path) as f:
        return list(csv.DictReader(f))


def key(row):
    return row["participant_id"], row["sequence_id"]


clips = {key(r): r["sign"] for r in rows(train)}
predicted = rows(os.path.join(directory, "predictions.csv"))
probabilities = numpy.load(os.path.join(directory, "predictions.npy"))
check(probabilities.dtype == numpy.float32 and len(probabilities) == len(predicted), "npy and csv differ in length")
check(sorted(map(key, predicted)) == sorted(clips), "not every clip is predicted exactly once")
check(numpy.allclose(probabilities.sum(axis=1), 1, atol=1e-5), "rows are no probabilities")

# The class numbers' names, as the table tells them; each must always be the same one.
names = {}
for row, best in zip(predicted, probabilities.argmax(axis=1)):
    check(names.setdefault(int(best), row["predicted"]) == row["predicted"], f"class {best} has two names")
    check(row["sign"] == clips[key(row)], f"{key(row)} has another sign in train.csv")
hits = numpy.array([names[int(best)] == clips[key(row)] for row, best in
                    zip(predicted, probabilities.argmax(axis=1))])

# Folds follow each other, and a signer belongs to one fold alone.
with open(os.path.join(directory, "summary.json")) as f:
    summary = json.load(f)
with open(show) as f:
    shown = json.load(f)["final"]
final = summary["final"]
check(abs(final["accuracy/cv"] - hits.mean()) < 1e-9, f"accuracy/cv is {final['accuracy/cv']}, not {hits.mean()}")
folds = [final[f"accuracy/fold-{i}"] for i in range(k)]
check(abs(final["accuracy/mean"] - numpy.mean(folds)) < 1e-9, "accuracy/mean is not the folds' mean")
seen, start = set(), 0
for fold, accuracy in enumerate(folds):
    # The fold's share ends where its hits give its accuracy and its signers end.
    ends = [n for n in range(start + 1, len(hits) + 1)
            if abs(hits[start:n].mean() - accuracy) < 1e-8
            and not {r["participant_id"] for r in predicted[start:n]} & {r["participant_id"] for r in predicted[n:]}]
    check(ends, f"no clips give accuracy/fold-{fold} = {accuracy}")
    start = ends[-1] if fold == k - 1 else ends[0]
check(start == len(hits), "the folds' accuracies are not those of all clips")
for name, value in final.items():
    check(abs(shown[name] - value) < 1e-8, f"the server says {name} is {shown.get(name)}, the summary {value}")
print(f"accuracy/cv {hits.mean():.6f} over {len(hits)} clips, folds {folds}")
