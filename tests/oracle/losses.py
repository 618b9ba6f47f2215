"""Losses and schedules of section 4 of the reference."""
import math

import torch
import torch.nn.functional as F


def one_hot(labels, classes, dtype):
    return F.one_hot(labels, classes).to(dtype)


def cross_entropy(logits, targets, smoothing):
    """[clips]: cross-entropy on smoothed targets [clips, classes]."""
    t = targets * (1 - smoothing) + (1 - targets) * smoothing / (logits.shape[1] - 1)
    return -(t * logits.log_softmax(1)).sum(1)


def ousm(losses, drop, groups=1):
    """Mean over each group's losses but its `drop` highest, then over groups."""
    grouped = losses.reshape(groups, -1)
    return grouped.topk(grouped.shape[1] - drop, largest=False).values.mean()


def consistency(logits, teacher_logits):
    """Mean over clips of the squared distance of the two softmaxes; no gradient for the teacher."""
    return ((logits.softmax(1) - teacher_logits.detach().softmax(1)) ** 2).sum(1).mean()


def consistency_weight(step, ramp_steps, maximum=5.0):
    t = min(1.0, step / ramp_steps) if ramp_steps else 1.0
    return maximum * math.exp(-5 * (1 - t) ** 2)


def learning_rate(step, steps, warmup_steps, peak):
    """Rate of step 1..steps: linear warm-up from 0, then linear to 0."""
    done = step - 1
    return peak * (done / warmup_steps if done < warmup_steps else (steps - done) / (steps - warmup_steps))


def ema_decay(step, maximum=0.97):
    return min(1 - 1 / (step + 1), maximum)
