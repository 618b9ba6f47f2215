"""Batches of augmented views from prepared clips, as the published program's data loader makes them."""
import numpy as np
import torch

import augment
from model import Mixup
from recipe import Trio


class Clips:
    """Prepared clips with their labels and signers."""

    def __init__(self, clips, labels, participants, max_len):
        self.clips, self.max_len = clips, max_len
        self.labels, self.participants = np.asarray(labels), np.asarray(participants)

    def __len__(self):
        return len(self.clips)

    def select(self, chosen):
        index = np.flatnonzero(chosen)
        clips = [self.clips[i] for i in index]
        return Clips(clips, self.labels[index], self.participants[index], self.max_len)

    def partner(self, rng, i, code):
        """A clip of the same sign for face cutmix: of another signer (DOC) or of any (CODE); None if there is none."""
        same = self.labels == self.labels[i]
        if not code:
            same &= self.participants != self.participants[i]
        candidates = np.flatnonzero(same)
        return self.clips[rng.choice(candidates)] if len(candidates) else None

    def view(self, rng, i, first_half, code):
        clip = self.clips[i]
        plan = augment.draw_plan(rng, len(clip), first_half, code)
        other = self.partner(rng, i, code) if "face_cutmix" in plan else None
        if other is None:
            plan.pop("face_cutmix", None)
        return augment.augment(clip, plan, other)

    def pad(self, views):
        """(x [clips, max_len, 100, 3], mask [clips, max_len])"""
        x = np.zeros((len(views), self.max_len, 100, 3), dtype=np.float32)
        mask = np.zeros((len(views), self.max_len), dtype=np.float32)
        for i, view in enumerate(views):
            x[i, : len(view)] = view
            mask[i, : len(view)] = 1
        return torch.from_numpy(x), torch.from_numpy(mask)

    def batches(self, size):
        """(x, mask, labels) of all clips in order, for evaluation."""
        for at in range(0, len(self), size):
            yield *self.pad(self.clips[at : at + size]), torch.from_numpy(self.labels[at : at + size])


def draw_mixups(rng, clips, groups, alpha=0.4):
    """One permutation within groups and one set of coefficients; each model mixes before an encoder of its own."""
    size = clips // groups
    permutation = np.concatenate([g * size + rng.permutation(size) for g in range(groups)])
    coefficients = torch.from_numpy(rng.beta(alpha, alpha, clips).astype(np.float32))
    return {n: Mixup(int(rng.integers(1, 4)), torch.from_numpy(permutation), coefficients) for n in Trio.NAMES}


def mixup_share(epoch, epochs, code):
    """How often a step of this epoch mixes: rising over the run (DOC) or falling (CODE)."""
    t = epoch / (0.9 * epochs)
    return 0.5 * (1 - t if code else t)


def in_first_half(epoch, epochs):
    return epoch < min(50, epochs // 2)
