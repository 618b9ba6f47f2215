"""Student, teacher and distilled model trained together: section 4 of the reference, one step at a time."""
from contextlib import nullcontext
from dataclasses import dataclass

import torch

import losses
from model import Model


@dataclass(frozen=True)
class Recipe:
    steps: int
    classes: int
    groups: int = 1  # of a batch: each has its own BatchNorm statistics and OUSM
    lr: float = 3e-4
    betas: tuple = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.4
    clip: float = 10.0
    smoothing: float = 0.3
    ousm: int = 3
    ema: float = 0.97
    consistency: float = 5.0
    warmup: float = 0.25
    rampup: float = 0.25
    bf16: bool = False

    @property
    def warmup_steps(self):
        return int(self.warmup * self.steps)

    @property
    def rampup_steps(self):
        return int(self.rampup * self.steps)


def decays(name):
    return not ("bias" in name or "LayerNorm.weight" in name)


def optimizer(model, recipe):
    groups = [
        {"params": [p for n, p in model.named_parameters() if decays(n) == decay], "weight_decay": rate}
        for decay, rate in ((True, recipe.weight_decay), (False, 0.0))
    ]
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps)


class Trio:
    """The three models in training. `step` is called with s = 1, 2, .. recipe.steps."""

    NAMES = ("student", "teacher", "distilled")

    def __init__(self, student_sizes, distilled_sizes, recipe):
        self.recipe = recipe
        sizes = {"student": student_sizes, "teacher": student_sizes, "distilled": distilled_sizes}
        self.models = {name: Model(s).train() for name, s in sizes.items()}
        for model in self.models.values():
            model.set_groups(recipe.groups)
        self.prepare_optimizers()

    def prepare_optimizers(self):
        """To be called again when the models' weights have been replaced or converted."""
        self.optimizers = {n: optimizer(self.models[n], self.recipe) for n in ("student", "distilled")}
        return self

    def fill(self, dtype):
        """The filler's weights, each model under its own name as tag."""
        for name, model in self.models.items():
            model.fill(name).to(dtype)
        return self.prepare_optimizers()

    def forward(self, name, view, mixup):
        bf16 = torch.autocast("cpu", torch.bfloat16) if self.recipe.bf16 else nullcontext()
        with bf16:
            return self.models[name](*view, mixup).to(view[0].dtype)

    def step(self, s, views, labels, mixups=None):
        """One training step on {model: (x, mask)} and labels [clips]; returns the metrics of metrics.jsonl.

        `mixups`, where given, is {model: Mixup} with the same permutation and coefficients in all three.
        """
        r = self.recipe
        mixups = mixups or dict.fromkeys(self.NAMES)
        lr = losses.learning_rate(s, r.steps, r.warmup_steps, r.lr)
        weight = losses.consistency_weight(s, r.rampup_steps, r.consistency)
        targets = losses.one_hot(labels, r.classes, views["student"][0].dtype)
        if mixups["student"] is not None:
            targets = mixups["student"].targets(targets)
        with torch.no_grad():
            teacher = self.forward("teacher", views["teacher"], mixups["teacher"])
        metrics = {"lr": lr, "consistency_weight": weight}
        for name, adamw in self.optimizers.items():
            logits = self.forward(name, views[name], mixups[name])
            ce = losses.ousm(losses.cross_entropy(logits, targets, r.smoothing), r.ousm, r.groups)
            consistency = weight * losses.consistency(logits, teacher)
            adamw.zero_grad()
            (ce + consistency).backward()
            norm = torch.nn.utils.clip_grad_norm_(self.models[name].parameters(), r.clip)
            for group in adamw.param_groups:
                group["lr"] = lr
            adamw.step()
            metrics[f"loss/{name}"] = (ce + consistency).item()
            metrics[f"ce/{name}"] = ce.item()
            metrics[f"consistency/{name}"] = consistency.item()
            metrics[f"grad_norm/{name}"] = norm.item()
        self.update_teacher(s)
        return metrics

    @torch.no_grad()
    def update_teacher(self, s):
        """Parameters follow the student; the teacher's BatchNorm buffers move by its own forward passes."""
        alpha = losses.ema_decay(s, self.recipe.ema)
        for mean, p in zip(self.models["teacher"].parameters(), self.models["student"].parameters()):
            mean.mul_(alpha).add_(p, alpha=1 - alpha)
