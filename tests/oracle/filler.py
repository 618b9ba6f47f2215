"""Deterministic values that C and Python both generate, so that golden files need not carry weights and inputs.

The exact rules are in tests/golden/README.md; tests/ has the C twin. Change nothing here without regenerating every
golden file.
"""
import math

import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def name_hash(name):
    """FNV-1a, 64 bits, of the UTF-8 bytes of `name`."""
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return np.uint64(h)


def bits(name, count, first=0):
    """uint64 [count]: outputs first .. first+count-1 of the splitmix64 stream seeded with name_hash(name)."""
    index = np.arange(first + 1, first + count + 1, dtype=np.uint64)
    with np.errstate(over="ignore"):
        z = name_hash(name) + index * GOLDEN
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def unit(name, count):
    """float64 [count] in [0,1): the top 24 bits, exact in float32 too."""
    return (bits(name, count) >> np.uint64(40)).astype(np.float64) * 2.0**-24


def symmetric(name, shape, scale=1.0, center=0.0):
    """float32 of `shape` in [center-scale, center+scale)."""
    s = 2.0 * unit(name, math.prod(shape)) - 1.0
    return (center + scale * s).astype(np.float32).reshape(shape)


def parameter(tag, name, shape):
    """The value of a model's parameter or buffer `name`; `tag` tells models apart (student, teacher, ..)."""
    key = f"{tag}/{name}"
    if name.endswith("running_var"):
        return symmetric(key, shape, 0.5, 1.0)
    if name.endswith("running_mean"):
        return symmetric(key, shape, 0.25)
    if name.endswith("bias"):
        return symmetric(key, shape, 0.125)
    if len(shape) == 1:  # weight of a LayerNorm or BatchNorm
        return symmetric(key, shape, 0.25, 1.0)
    if name.endswith("rel_embeddings.weight"):
        return symmetric(key, shape)
    if name in ("type_embed.weight", "landmark_embed.weight"):
        w = symmetric(key, shape)
        w[0] = 0
        return w
    gain = 1.0
    if "query_proj" in name or "key_proj" in name:
        gain = 3.0
    elif name == "logits.weight":
        gain = 4.0
    return symmetric(key, shape, gain / math.sqrt(math.prod(shape[1:])))


def clips(tag, lengths, max_len):
    """float32 [clips, max_len, 100, 3]: zero from a clip's length on, and where a hand is missing."""
    x = symmetric(f"{tag}/x", (len(lengths), max_len, 100, 3), 2.0)
    hands = (bits(f"{tag}/missing", len(lengths) * max_len * 2) & np.uint64(3)).reshape(len(lengths), max_len, 2)
    x[:, :, 0:21][hands[:, :, 0] == 0] = 0
    x[:, :, 21:42][hands[:, :, 1] == 0] = 0
    for clip, length in zip(x, lengths):
        clip[length:] = 0
    return x


def lengths(tag, count, max_len):
    """[count] of 1..max_len"""
    return [int(n) for n in 1 + bits(f"{tag}/length", count) % np.uint64(max_len)]


def labels(tag, count, classes):
    return (bits(f"{tag}/label", count) % np.uint64(classes)).astype(np.int64)


def permutation(tag, count, groups=1):
    """int64 [count]: a permutation within each of `groups` equal runs of clips."""
    size = count // groups
    draws = bits(f"{tag}/perm", count)
    p = np.arange(count)
    for g in range(groups):
        for i in range(size - 1, 0, -1):
            a, b = g * size + i, g * size + int(draws[g * size + i] % np.uint64(i + 1))
            p[[a, b]] = p[[b, a]]
    return p


def coefficients(tag, count):
    """float32 [count] in [0,1): manifold mixup's share of the clip itself."""
    return unit(f"{tag}/coef", count).astype(np.float32)


def summary(name, values):
    """float64: norm, 8 projections on +-1 vectors and up to 32 strided samples of a tensor (gradients are kept so)."""
    v = np.asarray(values, dtype=np.float64).reshape(-1)
    top = (bits(f"proj/{name}", v.size) >> np.uint64(56)).astype(np.uint8)
    projections = [np.where((top >> k) & 1, -v, v).sum() for k in range(8)]
    samples = min(32, v.size)
    return np.array([np.linalg.norm(v), *projections, *v[np.arange(samples) * v.size // samples]])
