"""The published model in PyTorch, written from section 3 of the reference: the judge of the C engine.

Tensor names are the published ones. Everything works in float32, float64 and under autocast. Batch statistics are
taken per group of clips: `model.groups` equal runs of the batch, each what one rank of the published training sees.
"""
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

import filler
import landmarks

CLASSES = 250


@dataclass(frozen=True)
class Sizes:
    dense_dim: int
    widths: tuple  # w0..w3: encoder i goes from w(i-1) to w(i)
    max_len: int
    embed_dim: int = 16
    heads: int = 16
    classes: int = CLASSES
    dropout_mlp: float = 0.0
    dropout_landmark: float = 0.0
    dropout_encoders: tuple = (0.0, 0.0, 0.0)


def published_widths(transfo_dim):
    if transfo_dim > 1024:
        d0, delta = 1024, (transfo_dim - 1024) // 2
    else:
        d0, delta = 512, min(256, transfo_dim - 512)
    grow = delta if transfo_dim >= 1024 else 0
    o1 = d0 + delta
    o2 = o1 + grow
    return (d0, o1, o2, o2 + grow - delta)


PUBLISHED = {  # name: (sizes, exact number of parameters)
    "l25-student": (Sizes(512, published_widths(1536), 25), 35_143_010),
    "l25-distilled": (Sizes(192, published_widths(768), 25), 9_819_298),
    "l80-student": (Sizes(256, published_widths(1024), 80), 13_688_418),
    "l80-distilled": (Sizes(192, published_widths(576), 80), 6_943_394),
}


class GroupBatchNorm(nn.BatchNorm1d):
    """BatchNorm1d whose statistics are those of each of `groups` equal runs of rows.

    Running statistics move once a forward pass, by the mean of the groups' statistics: what averaging the buffers of
    as many ranks gives.
    """

    groups = 1

    def forward(self, x):
        if self.groups == 1 or not self.training:
            return super().forward(x)
        out, mean, var = [], torch.zeros_like(self.running_mean), torch.zeros_like(self.running_var)
        for rows in x.chunk(self.groups):
            out.append(F.batch_norm(rows, None, None, self.weight, self.bias, True, 0.0, self.eps))
            with torch.no_grad():
                stored = rows.to(mean.dtype)
                mean += stored.mean(0) / self.groups
                var += stored.var(0, unbiased=True) / self.groups
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(var, self.momentum)
        return torch.cat(out)


def dense_block(inputs, outputs, dropout):
    return nn.Sequential(nn.Linear(inputs, outputs), GroupBatchNorm(outputs), nn.Dropout(dropout), nn.Mish())


def log_bucket(length):
    """int64 [length, length]: DeBERTa's b(i-j) with bucket_size = max_position = length."""
    r = torch.arange(length)[:, None] - torch.arange(length)[None, :]
    mid = length // 2
    magnitude = torch.where(r.abs() < mid, torch.tensor(mid - 1), r.abs())
    far = torch.ceil(torch.log(magnitude / mid) / torch.log(torch.tensor((length - 1) / mid)) * (mid - 1)) + mid
    return torch.where(magnitude <= mid, r.float(), far * r.sign()).long()


class SelfAttention(nn.Module):
    """Disentangled self-attention: content to content, content to position, position to content."""

    def __init__(self, width, heads, max_len, dropout):
        super().__init__()
        self.query_proj = nn.Linear(width, width)
        self.key_proj = nn.Linear(width, width)
        self.value_proj = nn.Linear(width, width)
        self.heads, self.dropout = heads, nn.Dropout(dropout)
        position = (log_bucket(max_len) + max_len).clamp(0, 2 * max_len - 1)
        self.register_buffer("position", position, persistent=False)  # c(i,j)

    def split(self, x):
        """[.., rows, width] -> [.., heads, rows, head size]"""
        return x.unflatten(-1, (self.heads, -1)).transpose(-2, -3)

    def forward(self, x, mask, rel):
        q, k, v = (self.split(p(x)) for p in (self.query_proj, self.key_proj, self.value_proj))
        rel_q, rel_k = self.split(self.query_proj(rel)), self.split(self.key_proj(rel))
        index = self.position.expand(*q.shape[:2], -1, -1)
        content_to_position = (q @ rel_k.transpose(-1, -2)).gather(-1, index)
        # The same bucket serves both directions, so key j's row is read at c(i,j) with i along the last axis.
        position_to_content = (k @ rel_q.transpose(-1, -2)).gather(-1, index.transpose(-1, -2)).transpose(-1, -2)
        scores = (q @ k.transpose(-1, -2) + content_to_position + position_to_content) / math.sqrt(3 * q.shape[-1])
        allowed = (mask[:, :, None] * mask[:, None, :]).bool()[:, None]
        scores = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min)
        p = scores.softmax(-1).masked_fill(~allowed, 0)  # a row without any key is zero
        return (self.dropout(p) @ v).transpose(1, 2).flatten(2)


class AttentionOutput(nn.Module):
    def __init__(self, width, dropout):
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.LayerNorm = nn.LayerNorm(width, eps=1e-7)
        self.dropout = nn.Dropout(dropout)

    def forward(self, context, x):
        return self.LayerNorm(self.dropout(self.dense(context)) + x)


class Attention(nn.Module):
    def __init__(self, width, heads, max_len, dropout):
        super().__init__()
        self.self = SelfAttention(width, heads, max_len, dropout)
        self.output = AttentionOutput(width, dropout)

    def forward(self, x, mask, rel):
        return self.output(self.self(x, mask, rel), x)


class Intermediate(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.dense = nn.Linear(width, width)

    def forward(self, x):
        return F.mish(self.dense(x))


class LayerOutput(nn.Module):
    """The published change to DeBERTa: the skip is added before the projection, which may change the width."""

    def __init__(self, width, out_width, dropout):
        super().__init__()
        self.dense = nn.Linear(width, out_width)
        self.LayerNorm = nn.LayerNorm(out_width, eps=1e-7)
        self.dropout = nn.Dropout(dropout)

    def forward(self, intermediate, attention):
        return self.LayerNorm(self.dropout(self.dense(intermediate + attention)))


class Layer(nn.Module):
    def __init__(self, width, out_width, heads, max_len, dropout):
        super().__init__()
        self.attention = Attention(width, heads, max_len, dropout)
        self.intermediate = Intermediate(width)
        self.output = LayerOutput(width, out_width, dropout)

    def forward(self, x, mask, rel):
        x = self.attention(x, mask, rel)
        return self.output(self.intermediate(x), x)


class Encoder(nn.Module):
    """One-layer DeBERTa-v2 encoder: x [clips, frames, width], mask [clips, frames] -> [clips, frames, out_width]."""

    def __init__(self, width, out_width, heads, max_len, dropout=0.0):
        super().__init__()
        self.rel_embeddings = nn.Embedding(2 * max_len, width)
        self.LayerNorm = nn.LayerNorm(width, eps=1e-7)
        self.layer = nn.ModuleList([Layer(width, out_width, heads, max_len, dropout)])
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, mask):
        rel = self.dropout(self.LayerNorm(self.rel_embeddings.weight))
        return self.layer[0](x, mask, rel)


@dataclass
class Mixup:
    """Manifold mixup before encoder `layer` (1..3): h := c*h + (1-c)*h[permutation]."""

    layer: int
    permutation: torch.Tensor  # [clips]
    coefficients: torch.Tensor  # [clips]

    def features(self, h):
        c = self.coefficients.to(h.dtype)[:, None, None]
        return c * h + (1 - c) * h[self.permutation]

    def mask(self, m):
        return torch.maximum(m, m[self.permutation])

    def targets(self, t):
        c = self.coefficients.to(t.dtype)[:, None]
        return c * t + (1 - c) * t[self.permutation]


class Model(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.sizes = sizes
        e, d, w = sizes.embed_dim, sizes.dense_dim, sizes.widths
        self.type_embed = nn.Embedding(9, e, padding_idx=0)
        self.landmark_embed = nn.Embedding(landmarks.COUNT + 1, e, padding_idx=0)
        self.type_norm = nn.LayerNorm(e)
        self.landmark_norm = nn.LayerNorm(e)
        self.pos_cnn = nn.Sequential(
            nn.Conv1d(3, 8, 5, padding=2, bias=False), nn.Conv1d(8, 16, 5, padding=2, bias=False)
        )
        self.pos_dense = nn.Linear(3 + 16, e)
        self.dense = nn.Linear(3 * e, e)
        self.left_hand_mlp = dense_block(21 * e, d, sizes.dropout_mlp)
        self.right_hand_mlp = dense_block(21 * e, d, sizes.dropout_mlp)
        self.lips_mlp = dense_block(21 * e, d, sizes.dropout_mlp)
        self.face_mlp = dense_block(25 * e, d, sizes.dropout_mlp)
        self.full_mlp = dense_block(landmarks.COUNT * e, d, sizes.dropout_mlp)
        self.landmark_mlp = dense_block(4 * d, w[0], sizes.dropout_landmark)
        for i in range(3):
            encoder = Encoder(w[i], w[i + 1], sizes.heads, sizes.max_len, sizes.dropout_encoders[i])
            self.add_module(f"frame_transformer_{i + 1}", encoder)
        self.logits = nn.Linear(w[3], sizes.classes)
        self.register_buffer("type_ids", torch.from_numpy(landmarks.TYPE), persistent=False)
        self.register_buffer("landmark_ids", torch.from_numpy(landmarks.LANDMARK), persistent=False)

    def set_groups(self, groups):
        for m in self.modules():
            if isinstance(m, GroupBatchNorm):
                m.groups = groups

    def embed(self, x, mask):
        """x [clips, frames, 100, 3], mask [clips, frames] -> features [clips, frames, 100, embed_dim]."""
        clips, frames, points, _ = x.shape
        real = mask.long()[:, :, None]  # padding has ids 0
        types = self.type_norm(self.type_embed(self.type_ids * real))
        points_ = self.landmark_norm(self.landmark_embed(self.landmark_ids * real))
        track = self.pos_cnn(x.permute(0, 2, 3, 1).reshape(clips * points, 3, frames))
        track = track.reshape(clips, points, 16, frames).permute(0, 3, 1, 2)
        position = self.pos_dense(torch.cat([x, track], -1))
        return self.dense(torch.cat([types, points_, position.to(types.dtype)], -1))

    @staticmethod
    def center(features, mask, points):
        """The features of `points` less their mean over real frames and points; padding frames become zero."""
        part = features[:, :, points]
        m = mask[:, :, None, None].to(part.dtype)
        mean = (part * m).sum((1, 2), keepdim=True) / (m.sum((1, 2), keepdim=True) * len(points))
        return (part - mean) * m

    def frame_features(self, features, mask):
        """features [clips, frames, 100, E] -> [clips, frames, w0], padding frames zero."""
        clips, frames = mask.shape

        def block(mlp, part):
            return mlp(part.reshape(clips * frames, -1))

        left = block(self.left_hand_mlp, self.center(features, mask, landmarks.LEFT_HAND))
        right = block(self.right_hand_mlp, self.center(features, mask, landmarks.RIGHT_HAND))
        lips = block(self.lips_mlp, self.center(features, mask, landmarks.LIPS_POINTS))
        face = block(self.face_mlp, self.center(features, mask, landmarks.FACE))
        full = block(self.full_mlp, features)
        h = self.landmark_mlp(torch.cat([full, torch.maximum(left, right), lips, face], -1))
        return h.reshape(clips, frames, -1) * mask[:, :, None]

    def forward(self, x, mask, mixup=None, trace=None):
        """Logits [clips, classes] of x [clips, frames, 100, 3]; mask [clips, frames] is 1 for real frames.

        `trace`, a dict, receives the activations between the stages.
        """
        trace = {} if trace is None else trace
        mask = mask.to(x.dtype)
        h = trace["landmark_mlp"] = self.frame_features(self.embed(x, mask), mask)
        for i in (1, 2, 3):
            if mixup is not None and mixup.layer == i:
                h, mask = mixup.features(h), mixup.mask(mask)
            h = trace[f"frame_transformer_{i}"] = self.get_submodule(f"frame_transformer_{i}")(h, mask)
        pooled = trace["pooled"] = (h * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
        return self.logits(pooled)

    def tensors(self):
        """Names and tensors of a checkpoint: parameters and BatchNorm's running statistics."""
        return {n: t for n, t in self.state_dict().items() if not n.endswith("num_batches_tracked")}

    @torch.no_grad()
    def take(self, tensors):
        """Takes a checkpoint's tensors; PyTorch's counters are ignored, anything else must match."""
        given = {n: t for n, t in tensors.items() if not n.endswith("num_batches_tracked")}
        own = self.tensors()
        assert given.keys() == own.keys(), sorted(given.keys() ^ own.keys())
        for name, t in own.items():
            assert given[name].shape == t.shape, name
            t.copy_(given[name])
        return self

    @torch.no_grad()
    def fill(self, tag):
        """Takes the filler's weights and buffers (tests/golden/README.md)."""
        shapes = {n: tuple(t.shape) for n, t in self.tensors().items()}
        return self.take({n: torch.from_numpy(filler.parameter(tag, n, s)) for n, s in shapes.items()})


def frame_mask(lengths, max_len):
    return (torch.arange(max_len)[None, :] < torch.as_tensor(lengths)[:, None]).float()


def parameter_count(model):
    return sum(p.numel() for p in model.parameters())
