"""Where golden files go and how they are written: safetensors, float32 throughout, settings as strings of metadata."""
import json
import os
import struct

import numpy as np
from safetensors import safe_open

GOLDEN_DIR = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden"))


def to_float32(values):
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    return np.ascontiguousarray(np.asarray(values, dtype=np.float32))


def write(name, tensors, **metadata):
    """Writes tests/golden/<name>.safetensors; metadata values that are no strings become JSON.

    The safetensors package keeps metadata in no order, so the file is laid out here (the same numbers give the same
    bytes) and read back with the package.
    """
    arrays = {k: to_float32(v) for k, v in tensors.items()}
    header = {"__metadata__": {k: v if isinstance(v, str) else json.dumps(v) for k, v in metadata.items()}}
    offset = 0
    for key, a in arrays.items():
        header[key] = {"dtype": "F32", "shape": a.shape, "data_offsets": [offset, offset + a.nbytes]}
        offset += a.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path = os.path.join(GOLDEN_DIR, f"{name}.safetensors")
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(a.tobytes() for a in arrays.values()))
    with safe_open(path, "np") as f:
        assert f.metadata() == header["__metadata__"]
        assert all(np.array_equal(f.get_tensor(k), a, equal_nan=True) for k, a in arrays.items())
    print(f"{name}.safetensors: {len(arrays)} tensors, {os.path.getsize(path):,} bytes", flush=True)
