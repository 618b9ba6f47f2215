"""Golden file of dynamic loss scaling: PyTorch's GradScaler over two AdamW optimizers, as the published program drives
them, with gradients that are not finite now and then, of the one, the other or both."""
import torch

import filler
import golden

STEPS, COUNT, INTERVAL, WARMUP = 30, 32, 4, 5
LR, BETAS, DECAY, CLIP = 1e-2, (0.9, 0.99), 0.1, 2.0
# step: which models find what
FOUND = {1: {0: "inf", 1: "inf"}, 2: {0: "nan", 1: "-inf"}, 9: {1: "inf"}, 10: {0: "inf"}, 18: {0: "nan"}, 24: {1: "nan"}}


def rate(step):
    """The schedule at its step, from 1: reference section 4."""
    return LR * (step - 1) / WARMUP if step - 1 < WARMUP else LR * (STEPS - step + 1) / (STEPS - WARMUP)


def main():
    models = [torch.nn.Parameter(torch.from_numpy(filler.symmetric(f"scale/weight{m}", (COUNT,), 1.0))) for m in (0, 1)]
    optimizers = [torch.optim.AdamW([p], lr=LR, betas=BETAS, eps=1e-8, weight_decay=DECAY) for p in models]
    scaler = torch.amp.GradScaler("cpu", growth_interval=INTERVAL)
    out = {"scale": [], "lr": [], "taken": [], "weight": []}
    skipped = 0
    for step in range(1, STEPS + 1):
        scale = scaler.scale(torch.ones(())).item()
        lr = rate(step - skipped)
        for m, (p, optimizer) in enumerate(zip(models, optimizers)):
            p.grad = torch.from_numpy(filler.symmetric(f"scale/gradient{m}/{step}", (COUNT,), 1.0)) * scale
            if m in FOUND.get(step, {}):
                p.grad[step % COUNT] = float(FOUND[step][m])
            optimizer.param_groups[0]["lr"] = lr
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_([p], CLIP)
            scaler.step(optimizer)
        scaler.update()
        skipped += scaler.get_scale() < scale
        out["scale"].append([scale])
        out["lr"].append([lr])
        out["taken"].append([float(o.state[p]["step"]) if o.state[p] else 0.0 for o, p in zip(optimizers, models)])
        out["weight"].append(torch.stack([p.detach().clone() for p in models]).tolist())
    found = [[{"inf": 1.0, "-inf": 2.0, "nan": 3.0}.get(FOUND.get(s, {}).get(m), 0.0) for m in (0, 1)] for s in range(1, STEPS + 1)]
    tensors = {k: torch.tensor(v, dtype=torch.float64) for k, v in out.items()} | {"found": torch.tensor(found)}
    golden.write("scale", tensors, interval=INTERVAL, warmup=WARMUP, lr=LR, betas=BETAS, decay=DECAY, clip=CLIP)


if __name__ == "__main__":
    main()
