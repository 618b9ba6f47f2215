#!/usr/bin/env python3
"""islrd as a user calls it: its help, unknown commands, inspect on every kind of file and on damaged ones, doctor."""
import hashlib
import json
import os
import subprocess
import sys
import tempfile

ISLRD, TOOL = sys.argv[1:3]


def run(*args, code=0):
    done = subprocess.run([ISLRD, *args], capture_output=True, text=True, timeout=300)
    assert done.returncode == code, (args, done)
    return done


def expect_fault(text, *args, code):
    done = run(*args, code=code)
    assert text in done.stderr and not done.stdout, (args, done)


def program():
    assert run("--version").stdout.startswith("islrd ")
    commands = [line.split()[0] for line in run("--help").stdout.splitlines() if line.startswith("  ")]
    assert "doctor" in commands and "inspect" in commands, commands
    for command in commands:
        if not command.startswith("-"):
            assert "example:" in run(command, "--help").stdout, command
    expect_fault("there is no command 'inspct'; did you mean 'inspect'?", "inspct", code=2)
    expect_fault("a command is missing", code=2)
    expect_fault("did you mean '--json'?", "inspect", "--jsn", "x", code=2)


def checkpoint(directory, parameters):
    path = os.path.join(directory, "model.safetensors")
    facts = json.loads(run("inspect", path, "--json").stdout)
    raw = open(path, "rb").read()
    assert facts["kind"] == "checkpoint" and facts["file"] == path
    assert facts["size_bytes"] == len(raw) and facts["sha256"] == hashlib.sha256(raw).hexdigest()
    assert facts["model"] == {"embed_dim": 16, "dense_dim": 16, "widths": [32, 48, 48, 16], "heads": 4, "max_len": 9,
                              "classes": 3}
    assert facts["parameters"] == parameters and facts["signs"] == ["TV", "café", "yes"]
    assert facts["origin"] == {"epoch": 3} and facts["job_sha256"] == "00ff"
    assert {"name": "logits.weight", "dtype": "F32", "shape": [3, 16]} in facts["tensors"]
    text = run("inspect", path).stdout
    for part in (hashlib.sha256(raw).hexdigest(), "heads 4, max_len 9, 3 classes", f"parameters: {parameters} ",
                 "signs: TV, café, yes", 'origin: {"epoch":3}'):
        assert part in text, (part, text)
    expect_fault("--clip and --npy are for prepared sets", "inspect", path, "--clip", "1/2", code=2)
    # One value not finite: a checkpoint, but a damaged one.
    header = int.from_bytes(raw[:8], "little")
    offset = json.loads(raw[8:8 + header])["logits.bias"]["data_offsets"][0] + 8 + header
    damaged = os.path.join(directory, "nan.safetensors")
    with open(damaged, "wb") as f:
        f.write(raw[:offset] + b"\0\0\xc0\x7f" + raw[offset + 4:])
    expect_fault("tensor logits.bias holds a value that is not finite", "inspect", damaged, code=7)
    with open(damaged, "wb") as f:
        f.write(raw[:-1])
    expect_fault("truncated?", "inspect", damaged, code=7)


def others(directory):
    path = os.path.join(directory, "tensors.safetensors")
    facts = json.loads(run("inspect", path, "--json").stdout)
    assert facts["kind"] == "tensors" and facts["tensors"] == [{"name": "w", "dtype": "F32", "shape": [2, 3]}]
    assert "w [2,3]" in run("inspect", path).stdout
    path = os.path.join(directory, "point-7.islr-resume")
    facts = json.loads(run("inspect", path, "--json").stdout)
    assert facts["kind"] == "resume" and facts["step"] == 7
    assert facts["sections"] == [{"name": "weights", "size_bytes": 24}, {"name": "step", "size_bytes": 1}]
    raw = bytearray(open(path, "rb").read())
    raw[-33] ^= 1  # the last byte before the hash at the end
    with open(path, "wb") as f:
        f.write(raw)
    expect_fault("the hash of section 'step' does not agree", "inspect", path, code=7)


def unknown(directory):
    path = os.path.join(directory, "x")
    with open(path, "w") as f:
        f.write("hello")
    expect_fault("is no file of a kind that islrd knows", "inspect", path, code=7)
    expect_fault("is no regular file", "inspect", directory, code=7)
    os.mkfifo(path + "pipe")
    expect_fault("is no regular file", "inspect", path + "pipe", code=7)
    expect_fault("No such file", "inspect", path + "none", code=3)
    # A name that is not UTF-8 is shown, and the document stays JSON.
    odd = os.fsencode(directory) + b"/\xff.safetensors"
    os.rename(os.path.join(directory, "tensors.safetensors"), odd)
    assert json.loads(run("inspect", odd, "--json").stdout)["file"].endswith("\ufffd.safetensors")


def doctor():
    facts = json.loads(run("doctor", "--json").stdout)
    assert facts["devices"][0]["kind"] == "cpu" and "oneDNN" in facts["devices"][0]["detail"], facts
    for library in ("MPI", "Arrow", "SQLite", "OpenSSL", "libuv", "protobuf-c", "libfyaml"):
        assert any(c.isdigit() for c in facts["libraries"][library]), library
    assert [p["name"] for p in facts["presets"]] == ["l25", "l80", "l25-code", "l80-code", "tiny"]
    text = run("doctor").stdout
    assert all(version in text for version in facts["libraries"].values())
    nothing = subprocess.run([ISLRD, "doctor", "--json"], capture_output=True, text=True,
                             env={**os.environ, "PATH": ""})
    missing = json.loads(nothing.stdout)["missing"]
    assert any(m["what"] == "mpirun" and "apt-get install" in m["remedy"] for m in missing), missing


with tempfile.TemporaryDirectory() as scratch:
    size = int(subprocess.run([TOOL, scratch], check=True, capture_output=True, text=True).stdout)
    program()
    checkpoint(scratch, size)
    others(scratch)
    unknown(scratch)
doctor()
print("ok")
