#!/usr/bin/env python3
"""Trains student, teacher and distilled model on a directory in the competition's layout and reports their accuracy.

The program that the C engine's training is compared with: published preparation, model and recipe, in PyTorch on CPUs.

usage: train.py --data DIR (--valid DIR | --holdout 3,7,12 | --fold-file CSV --fold 0) [--epochs 15]
                [--recipe doc|code|plain] [--precision fp32|bf16] ..

`doc` is the authors' description, `code` what their program does, `plain` has no augmentation, mixup or dropout.
Prints one JSON object a line: a step's metrics, an epoch's accuracies, and at the end a summary.
"""
import argparse
import json
import os
import resource
import sys
import time

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file

import prepare
import views
from model import Model, Sizes, published_widths
from recipe import Recipe, Trio

DROPOUT = {  # MLPs, landmark MLP, encoders
    "doc": {"student": (0.25, 0.25, (0.05, 0.1, 0.1)), "distilled": (0.25, 0.25, (0.05, 0.1, 0.1))},
    "code": {"student": (0.05, 0.05, (0.05, 0.1, 0.2)), "distilled": (0.025, 0.05, (0.05, 0.1, 0.2))},
    "plain": dict.fromkeys(("student", "distilled"), (0.0, 0.0, (0.0, 0.0, 0.0))),
}


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", required=True, help="directory with train.csv")
    p.add_argument("--valid", help="another such directory, to evaluate on")
    p.add_argument("--holdout", help="participants to evaluate on, not trained on: 3,7,12")
    p.add_argument("--fold-file", help="CSV participant_id,sequence_id,fold")
    p.add_argument("--fold", type=int, help="the fold of --fold-file to evaluate on")
    p.add_argument("--epochs", type=int, default=15)
    p.add_argument("--steps", type=int, default=0, help="take the place of epochs")
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--group", type=int, default=32)
    p.add_argument("--max-len", type=int, default=25)
    p.add_argument("--student", default="768,192", help="transfo_dim,dense_dim")
    p.add_argument("--distilled", default="576,192", help="transfo_dim,dense_dim")
    p.add_argument("--lr", type=float, default=3e-4)
    p.add_argument("--ousm", type=int, default=3)
    p.add_argument("--recipe", choices=("doc", "code", "plain"), default="doc")
    p.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    p.add_argument("--no-shuffle", action="store_true", help="clips in the order of train.csv")
    p.add_argument("--soup-last", type=int, default=10, help="epochs whose distilled models are averaged")
    p.add_argument("--eval-every", type=int, default=1, help="epochs")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--init", help="directory of student, teacher and distilled.safetensors to start from")
    p.add_argument("--save-initial", help="directory to write the weights of the start to")
    p.add_argument("--save", help="directory to write the final weights and the soup to")
    a = p.parse_args()
    if (a.fold_file is None) != (a.fold is None):
        p.error("--fold-file and --fold go together")
    if a.batch % a.group:
        p.error("--batch must be a multiple of --group")
    return a


def load_data(a):
    """(training clips, clips to evaluate on or None, signs)"""
    clips, table, signs = prepare.prepare_set(a.data, a.max_len)
    everything = views.Clips(clips, table["label"], table["participant_id"], a.max_len)
    if a.valid:
        held, held_table, held_signs = prepare.prepare_set(a.valid, a.max_len)
        if held_signs != signs:
            sys.exit(f"{a.valid} has other signs than {a.data}")
        return everything, views.Clips(held, held_table["label"], held_table["participant_id"], a.max_len), signs
    if a.holdout:
        out = np.isin(everything.participants, [int(p) for p in a.holdout.split(",")])
    elif a.fold_file:
        keys = ["participant_id", "sequence_id"]
        folds = table[keys].merge(pd.read_csv(a.fold_file), on=keys, how="left", validate="1:1")["fold"]
        if folds.isna().any():
            sys.exit(f"{a.fold_file} lacks {folds.isna().sum()} clips of {a.data}")
        out = (folds == a.fold).to_numpy()
    else:
        return everything, None, signs
    return everything.select(~out), everything.select(out), signs


def sizes_of(a, classes):
    out = {}
    for name in ("student", "distilled"):
        transfo_dim, dense_dim = map(int, getattr(a, name).split(","))
        mlp, landmark, encoders = DROPOUT[a.recipe][name]
        out[name] = Sizes(
            dense_dim, published_widths(transfo_dim), a.max_len, classes=classes,
            dropout_mlp=mlp, dropout_landmark=landmark, dropout_encoders=encoders,
        )  # fmt: skip
    return out


def path_of(folder, name):
    return os.path.join(folder, f"{name}.safetensors")


def save(folder, models):
    os.makedirs(folder, exist_ok=True)
    for name, tensors in models.items():
        save_file({k: v.contiguous() for k, v in tensors.items()}, path_of(folder, name))


@torch.no_grad()
def accuracy(model, clips, bf16):
    """Share of the clips whose most probable sign is theirs."""
    mode = model.training
    model.eval()
    hits = 0
    for x, mask, labels in clips.batches(64):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            hits += (model(x, mask).argmax(1) == labels).sum().item()
    model.train(mode)
    return hits / len(clips)


def mean_tensors(checkpoints):
    return {n: torch.stack([c[n] for c in checkpoints]).mean(0) for n in checkpoints[0]}


class Training:
    def __init__(self, a):
        self.a = a
        started = time.time()
        self.train, self.valid, signs = load_data(a)
        print(json.dumps({"clips": len(self.train), "signs": len(signs), "prepare_s": round(time.time() - started, 1)}))
        self.steps_per_epoch = len(self.train) // a.batch
        if self.steps_per_epoch == 0:
            sys.exit(f"{len(self.train)} clips do not fill one batch of {a.batch}")
        self.steps = a.steps or a.epochs * self.steps_per_epoch
        self.epochs = -(-self.steps // self.steps_per_epoch)
        self.sizes = sizes_of(a, len(signs))
        groups = a.batch // a.group
        recipe = Recipe(self.steps, len(signs), groups, lr=a.lr, ousm=a.ousm, bf16=a.precision == "bf16")
        self.trio = Trio(self.sizes["student"], self.sizes["distilled"], recipe)
        if a.init:
            for name, model in self.trio.models.items():
                model.take(load_file(path_of(a.init, name)))
        if a.save_initial:
            save(a.save_initial, {n: m.tensors() for n, m in self.trio.models.items()})
        self.rng = np.random.default_rng(a.seed)
        self.checkpoints = []
        self.training_s = 0.0

    def views(self, index, epoch):
        if self.a.recipe == "plain":
            return dict.fromkeys(Trio.NAMES, self.train.pad([self.train.clips[i] for i in index]))
        first_half, code = views.in_first_half(epoch, self.epochs), self.a.recipe == "code"
        return {n: self.train.pad([self.train.view(self.rng, i, first_half, code) for i in index]) for n in Trio.NAMES}

    def mixups(self, epoch):
        code = self.a.recipe == "code"
        if self.a.recipe == "plain" or self.rng.random() >= views.mixup_share(epoch, self.epochs, code):
            return None
        return views.draw_mixups(self.rng, self.a.batch, self.trio.recipe.groups)

    def epoch(self, epoch, first_step):
        order = np.arange(len(self.train)) if self.a.no_shuffle else self.rng.permutation(len(self.train))
        started = time.time()
        steps = min(self.steps_per_epoch, self.steps - first_step + 1)
        for k in range(steps):
            index = order[k * self.a.batch : (k + 1) * self.a.batch]
            labels = torch.from_numpy(self.train.labels[index])
            metrics = self.trio.step(first_step + k, self.views(index, epoch), labels, self.mixups(epoch))
            if not np.isfinite(list(metrics.values())).all():
                sys.exit(f"step {first_step + k}: {metrics}")
            print(json.dumps({"step": first_step + k, "epoch": epoch} | metrics), flush=True)
        self.training_s += time.time() - started
        return steps

    def evaluate(self, epoch):
        bf16 = self.trio.recipe.bf16
        found = {f"accuracy/{n}": accuracy(m, self.valid, bf16) for n, m in self.trio.models.items()}
        print(json.dumps({"epoch": epoch} | found), flush=True)
        if self.a.recipe == "code" and epoch >= self.epochs / 2:
            self.trio.models["distilled"].eval()  # the published program's omission
        return found

    def run(self):
        step, found = 1, {}
        for epoch in range(1, self.epochs + 1):
            step += self.epoch(epoch, step)
            if self.valid is not None and (epoch % self.a.eval_every == 0 or epoch == self.epochs):
                found = self.evaluate(epoch)
            if epoch > self.epochs - self.a.soup_last:
                tensors = self.trio.models["distilled"].tensors()
                self.checkpoints.append({n: t.clone() for n, t in tensors.items()})
        soup = mean_tensors(self.checkpoints)
        if self.valid is not None:
            model = Model(self.sizes["distilled"]).take(soup)
            found["accuracy/soup"] = accuracy(model, self.valid, self.trio.recipe.bf16)
        if self.a.save:
            save(self.a.save, {n: m.tensors() for n, m in self.trio.models.items()} | {"soup": soup})
        summary = {"steps": self.steps, "epochs": self.epochs, "training_s": round(self.training_s, 1)}
        summary["clips_per_second"] = round(self.steps * self.a.batch / self.training_s, 2)
        summary["memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps(summary | found))


def main():
    a = arguments()
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    Training(a).run()


if __name__ == "__main__":
    main()
