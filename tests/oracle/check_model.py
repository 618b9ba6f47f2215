"""Holds model.py against code that we did not write: transformers' DeBERTa-v2 and PyTorch's own BatchNorm.

Today's transformers gives rows without any allowed key a uniform average where the reference has zero, so outputs are
compared on real frames only; their gradients do not depend on the other rows then.
"""
import math

import torch
from torch import nn
from transformers import DebertaV2Config
from transformers.models.deberta_v2 import modeling_deberta_v2 as deberta

import filler
from model import PUBLISHED, Encoder, GroupBatchNorm, LayerOutput, Model, frame_mask, log_bucket, parameter_count


def transformers_encoder(width, out_width, heads, max_len):
    """DebertaV2Encoder as the published model sets it up, with its change of the layer's output."""
    config = DebertaV2Config(
        hidden_size=width, intermediate_size=width, num_hidden_layers=1, num_attention_heads=heads, hidden_act="mish",
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, layer_norm_eps=1e-7, relative_attention=True,
        max_relative_positions=max_len, position_buckets=max_len, share_att_key=True, pos_att_type=["p2c", "c2p"],
        norm_rel_ebd="layer_norm",
    )  # fmt: skip
    encoder = deberta.DebertaV2Encoder(config)
    encoder.layer[0].output = LayerOutput(width, out_width, 0.0)
    return encoder


def difference(a, b):
    return ((a - b).norm() / b.norm()).item()


def check_encoder(width, out_width, heads, max_len, lengths):
    ours = Encoder(width, out_width, heads, max_len)
    ours.load_state_dict({
        n: torch.from_numpy(filler.parameter("encoder", n, tuple(t.shape))) for n, t in ours.state_dict().items()
    })  # fmt: skip
    judge = transformers_encoder(width, out_width, heads, max_len)
    judge.load_state_dict(ours.state_dict())
    ours.double(), judge.double()
    mask = frame_mask(lengths, max_len)
    shape = (len(lengths), max_len)
    x = torch.from_numpy(filler.symmetric("encoder/x", (*shape, width), 2.0)).double()
    dy = torch.from_numpy(filler.symmetric("encoder/dy", (*shape, out_width))).double() * mask[:, :, None]
    results = []
    for encoder, forward in ((ours, lambda h: ours(h, mask)), (judge, lambda h: judge(h, mask).last_hidden_state)):
        h = x.clone().requires_grad_()
        y = forward(h)
        (y * dy).sum().backward()
        results.append({"y": y * mask[:, :, None], "dx": h.grad} | {n: p.grad for n, p in encoder.named_parameters()})
    assert results[0].keys() == results[1].keys()
    worst = max((difference(a, results[1][n]), n) for n, a in results[0].items())
    # transformers keeps the scale sqrt(3 s) in float32
    assert worst[0] < 1e-6, worst
    print(f"encoder {width}->{out_width}, {heads} heads, L={max_len}, {lengths}: within {worst[0]:.1e}")


def check_buckets(max_len):
    """The same buckets as transformers', and no tie that depends on float32's logarithm."""
    rows = torch.zeros(1, max_len, 1)
    theirs = deberta.build_relative_position(rows, rows, max_len, max_len)[0]
    ours = log_bucket(max_len)
    assert torch.equal(ours, theirs), max_len
    mid, exact = max_len // 2, {}
    for r in range(1, max_len):
        far = math.log(r / mid) / math.log((max_len - 1) / mid) * (mid - 1) if r > mid else 0
        exact[r] = r if r <= mid else math.ceil(far - 1e-9) + mid
    assert all(int(ours[r, 0]) == exact[r] and int(ours[0, r]) == -exact[r] for r in exact), max_len


def check_batchnorm(groups):
    rows, width = 12, 5
    x = torch.from_numpy(filler.symmetric("batchnorm/x", (rows, width), 3.0, 1.0)).double()
    ours = GroupBatchNorm(width).double()
    ours.groups = groups
    y, ranks = ours(x), [nn.BatchNorm1d(width).double() for _ in range(groups)]
    expected = torch.cat([rank(part) for rank, part in zip(ranks, x.chunk(groups))])
    assert torch.allclose(y, expected, rtol=0, atol=1e-12)
    for name in ("running_mean", "running_var"):
        mean = torch.stack([getattr(rank, name) for rank in ranks]).mean(0)
        assert torch.allclose(getattr(ours, name), mean, rtol=0, atol=1e-12), name
    print(f"BatchNorm in {groups} groups is the mean over as many ranks")


def check_counts():
    for name, (sizes, count) in PUBLISHED.items():
        assert parameter_count(Model(sizes)) == count, name
    print("parameter counts are the published ones")


if __name__ == "__main__":
    torch.set_num_threads(1)
    check_counts()
    for length in (*range(2, 128), 200, 256, 400, 512):
        check_buckets(length)
    print("buckets are transformers'")
    for groups in (1, 2, 3, 4):
        check_batchnorm(groups)
    for size in ((32, 48, 4, 25), (32, 48, 4, 80), (48, 32, 16, 9), (64, 64, 2, 25)):
        check_encoder(*size, [size[3]])
        check_encoder(*size, [size[3], 1, size[3] // 2, size[3] - 1])
