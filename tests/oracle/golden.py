"""Where golden files go and how they are written: safetensors, float32 throughout, settings as strings of metadata."""
import json
import os

import numpy as np
from safetensors.numpy import save_file

GOLDEN_DIR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden")


def to_float32(values):
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    return np.ascontiguousarray(np.asarray(values, dtype=np.float32))


def write(name, tensors, **metadata):
    """Writes tests/golden/<name>.safetensors; metadata values that are no strings become JSON."""
    text = {k: v if isinstance(v, str) else json.dumps(v) for k, v in metadata.items()}
    path = os.path.normpath(os.path.join(GOLDEN_DIR, f"{name}.safetensors"))
    save_file({k: to_float32(v) for k, v in tensors.items()}, path, text)
    print(f"{path}: {len(tensors)} tensors, {os.path.getsize(path):,} bytes")
