#!/usr/bin/env python3
"""Our safetensors against the package's: what C writes Python reads, what Python writes C reads, refused by both alike.

Needs numpy and safetensors; looks for a Python that has them (ISLR_PYTHON, .deps/python) and is skipped
(exit 77) where there is none."""
import json
import os
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
CANDIDATES = [os.environ.get("ISLR_PYTHON", ""), os.path.join(HERE, "../../.deps/python/bin/python")]
try:
    import numpy as np
    import safetensors
    from safetensors.numpy import save_file
except ImportError:
    tried = int(os.environ.get("ISLR_PYTHON_TRIED", "0"))
    for i, python in enumerate(CANDIDATES[tried:], tried + 1):
        if python and os.access(python, os.X_OK):
            os.environ["ISLR_PYTHON_TRIED"] = str(i)
            os.execv(python, [python] + sys.argv)
    print("skipped: no Python with numpy and safetensors")
    sys.exit(77)

TOOL = sys.argv[1]


def dump(path):
    return subprocess.run([TOOL, "dump", path], capture_output=True, text=True)


def checksum(array):
    total = 0
    for bits in np.asarray(array, np.float32).reshape(-1).view(np.uint32).tolist():
        total = (total * 31 + bits) % 1000000007
    return total


def c_to_python(directory):
    path = os.path.join(directory, "c.safetensors")
    subprocess.run([TOOL, "write", path], check=True)
    values = np.array([np.ldexp(np.float32(i * 37 % 23 - 11), i - 12) for i in range(24)], np.float32)
    values[5], values[6] = np.inf, -0.0
    expected = {"z.weight": values.reshape(2, 3, 4), "a.bias": values[3:8], "scalar": values[1].reshape(()),
                "empty": np.zeros((0, 7), np.float32), 'näme "quoted"': values[:1]}
    with safetensors.safe_open(path, "np") as f:
        assert set(f.keys()) == set(expected), f.keys()
        assert f.metadata() == {"format": "pt", "signs": '["a\\nb", "ä"]'}, f.metadata()
        for name, value in expected.items():
            got = f.get_tensor(name)
            assert got.shape == value.shape and got.dtype == np.float32, name
            assert got.tobytes() == value.tobytes(), name
    raw = open(path, "rb").read()
    assert struct.unpack("<Q", raw[:8])[0] % 8 == 0


def python_to_c(directory):
    rng = np.random.default_rng(5)
    halves = rng.standard_normal(1000).astype(np.float16)
    halves[:6] = [np.inf, -np.inf, 6e-8, -6.1e-5, 65504, -0.0]
    tensors = {"w": rng.standard_normal((3, 5)).astype(np.float32), "h": halves.reshape(10, 100),
               "bn.num_batches_tracked": np.array(7, np.int64), "one": np.float32([2.5]),
               "every_half": np.arange(65536, dtype=np.uint16).view(np.float16)}
    finite = tensors["every_half"].copy()
    finite[np.isnan(finite)] = 0  # NaN payloads may differ
    tensors["every_half"] = finite
    path = os.path.join(directory, "py.safetensors")
    save_file(tensors, path, metadata={"b": "2", "a": "ä\n"})
    got = dump(path)
    assert got.returncode == 0, got.stderr
    expected = ["@a ä", "", "@b 2"]
    for name in sorted(tensors):
        t = tensors[name]
        if t.dtype != np.int64:
            shape = ",".join(map(str, t.shape))
            expected.append(f"{name} {'F32' if t.dtype == np.float32 else 'F16'} [{shape}] {checksum(t)}")
    assert got.stdout.splitlines() == expected, (got.stdout, expected)


def write_raw(path, header, data):
    text = json.dumps(header).encode() if isinstance(header, dict) else header
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def bf16(directory):
    path = os.path.join(directory, "bf16.safetensors")
    bits = np.array([0x3F80, 0xBF80, 0x0001, 0x7F80, 0x4049], np.uint16)
    write_raw(path, {"x": {"dtype": "BF16", "shape": [5], "data_offsets": [0, 10]}}, bits.tobytes())
    value = (bits.astype(np.uint32) << 16).view(np.float32)
    assert dump(path).stdout == f"x BF16 [5] {checksum(value)}\n"


def refused_alike(directory):
    good = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    cases = {
        "hole": ({"a": good, "b": {**good, "data_offsets": [12, 20]}}, 20),
        "overlap": ({"a": good, "b": {**good, "data_offsets": [4, 12]}}, 12),
        "tail": ({"a": good}, 12),
        "short": ({"a": good}, 4),
        "shape": ({"a": {**good, "shape": [3]}}, 8),
        "negative": ({"a": {**good, "shape": [-2]}}, 8),
        "overflow": ({"a": {**good, "shape": [2**62, 2**62]}}, 8),
        "dtype": ({"a": {**good, "dtype": "F99"}}, 8),
        "reversed": ({"a": {**good, "data_offsets": [8, 0]}}, 8),
        "not a map": (b"[1, 2]", 0),
        "not JSON": (b"{\"a\":", 0),
        "metadata": ({"__metadata__": {"a": 1}}, 0),
    }
    for name, (header, size) in cases.items():
        path = os.path.join(directory, "bad.safetensors")
        write_raw(path, header, b"\0" * size)
        got = dump(path)
        assert got.returncode == 7, (name, got)
        try:
            with safetensors.safe_open(path, "np") as f:
                [f.get_tensor(k) for k in f.keys()]
        except Exception:
            continue
        raise AssertionError(f"the package accepts '{name}'")


with tempfile.TemporaryDirectory() as scratch:
    c_to_python(scratch)
    python_to_c(scratch)
    bf16(scratch)
    refused_alike(scratch)
print("all agree")
