"""Golden files of single stages: one encoder, the embedding stage with its centred groups, the position buckets.

Computed in float64 from the filler's float32 weights and inputs; check_model.py holds the encoder against transformers.
"""
import torch

import filler
import golden
import landmarks
from model import Encoder, Model, Sizes, frame_mask, log_bucket

ENCODER = {"width": 32, "out_width": 48, "heads": 4}
ENCODER_LENGTHS = {9: [9, 1, 5], 25: [25, 1, 13], 80: [80, 1, 41]}
EMBED_FRAMES = (1, 2, 3, 4, 5, 6, 7, 9, 25, 80)
EMBED_COMPLETE = 3  # the number of frames whose outputs are kept whole
BUCKETS = (2, 3, 4, 5, 8, 9, 16, 25, 32, 60, 80, 100, 128, 384)


def double(name, shape, scale=1.0):
    return torch.from_numpy(filler.symmetric(name, shape, scale)).double()


def encoder_case(max_len, lengths):
    encoder = Encoder(ENCODER["width"], ENCODER["out_width"], ENCODER["heads"], max_len)
    for name, p in encoder.named_parameters():
        p.data = torch.from_numpy(filler.parameter("encoder", name, tuple(p.shape)))
    encoder.double()
    shape = (len(lengths), max_len)
    x = double("encoder/x", (*shape, ENCODER["width"]), 2.0).requires_grad_()
    y = encoder(x, frame_mask(lengths, max_len))
    (y * double("encoder/dy", (*shape, ENCODER["out_width"]))).sum().backward()
    out = {"y": y, "dx": x.grad} | {f"gradient/{n}": p.grad for n, p in encoder.named_parameters()}
    return {f"L{max_len}/{k}": v for k, v in out.items()}


def embed_case(frames):
    lengths = [frames, max(1, frames // 2), 1]
    model = Model(Sizes(4, (16, 16, 16, 16), max_len=25)).fill("model").double()
    mask = frame_mask(lengths, frames)
    features = model.embed(torch.from_numpy(filler.clips("batch", lengths, frames)).double(), mask)
    outputs = {"full": features}
    for name, points in (
        ("left", landmarks.LEFT_HAND), ("right", landmarks.RIGHT_HAND),
        ("lips", landmarks.LIPS_POINTS), ("face", landmarks.FACE),
    ):  # fmt: skip
        outputs[name] = model.center(features, mask, points)
    sum((y * double(f"embed/d{n}", tuple(y.shape))).sum() for n, y in outputs.items()).backward()
    out = {f"gradient/{n}": p.grad for n, p in model.named_parameters() if p.grad is not None}
    for name, y in outputs.items():
        if frames == EMBED_COMPLETE:
            out[name] = y.flatten(2)
        else:
            out[f"summary/{name}"] = filler.summary(name, y.detach().numpy())
    return {f"F{frames}/{k}": v for k, v in out.items()}


def buckets(length):
    """c(i,j) by i-j = -(length-1)..length-1"""
    c = (log_bucket(length) + length).clamp(0, 2 * length - 1)
    return torch.cat([c[0].flip(0), c[1:, 0]])


if __name__ == "__main__":
    torch.set_num_threads(1)
    tensors = {}
    for max_len, lengths in ENCODER_LENGTHS.items():
        tensors |= encoder_case(max_len, lengths)
    golden.write("encoder", tensors, **ENCODER, **{f"lengths/L{k}": v for k, v in ENCODER_LENGTHS.items()})
    tensors = {}
    for frames in EMBED_FRAMES:
        tensors |= embed_case(frames)
    golden.write("embed", tensors, frames=EMBED_FRAMES)
    golden.write("buckets", {f"L{n}": buckets(n) for n in BUCKETS})
