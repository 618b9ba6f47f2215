#!/usr/bin/env python3
"""Breaks the CUDA kernels on purpose, one small fault at a time, and looks whether the operation tests over the host
model notice: dropped barriers and waits, lane masks that miss a lane, bounds and indices that are off by one, guards
that are gone. Run by hand; a survivor is either a fault that makes no difference (say why in docs/cuda.md) or a test
that is missing.

usage: mutate.py BUILD [--file NAME.cu]... [--kind KIND]... [--only PATTERN] [--list] [--jobs N]
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
KERNELS = ROOT / "kernels" / "cuda"
TIMEOUT_S = 900  # of a test: a fault can make a kernel run for ever

# Which operation tests look at a file, in the order in which they are tried: programs, or "program:test" for one test
# of it. A header's mutants are tried on the sources that are named for it.
BACKWARD = [f"attention:test_backward_{t}" for t in ("fp32", "bf16", "fp16")]
FORWARD = [f"attention:test_forward_{t}" for t in ("fp32", "bf16", "fp16")]
TESTS = {
    "attention.cu": FORWARD + BACKWARD, "attention_backward.cu": BACKWARD,
    "attention_mma.cu": FORWARD[1:] + BACKWARD[1:], "attention_mma_backward.cu": BACKWARD[1:], "augment.cu": ["augment"], "batchnorm.cu": ["batchnorm"],
    "collapse.cu": ["embed"], "embed.cu": ["embed"], "layernorm.cu": ["layernorm"], "linear.cu": ["linear"],
    "loss.cu": ["loss"], "maximum.cu": ["maximum"], "mish.cu": ["mish"], "optimizer.cu": ["optimizer"],
    "partials.cu": ["layernorm", "linear"], "rows.cu": ["rows"], "sum_ranks.cu": ["scale:test_sum_ranks"],
}
HEADERS = {
    "attention.cuh": ["attention.cu", "attention_backward.cu"],
    "attention_mma.cuh": ["attention_mma.cu", "attention_mma_backward.cu"],
    "collapse.cuh": ["collapse.cu", "embed.cu"],
    "kernel.cuh": ["augment.cu", "layernorm.cu", "loss.cu", "rows.cu"],
    "mma.cuh": ["attention_mma.cu", "attention_mma_backward.cu"],
}
# What the tests need to reach the kernels that they are about: they run once with each of these.
ENVIRONMENTS = {"linear.cu": [{"CUDAHOST_GEMM": "none"}, {"CUDAHOST_GEMM": "product"}]}

# kind, pattern, replacement. Each match is one mutant.
OPERATORS = [
    ("barrier", r"__syncthreads\(\);", ";"),
    ("wait", r"wait_copies<0>\(\);", ";"),
    ("wait", r"wait_copies<1>\(\);", "wait_copies<2>();"),
    ("lanes", r"\bALL_LANES\b(?=,)", "0x7fffffffu"),
    ("lanes", r"warp_sum\((\w+), (\w+)\)", r"warp_sum(\1, \2 / 2)"),
    ("guard", r"item_index\(\) >= count", "item_index() > count"),
    ("bound", r"< (at\.length|at\.held|length|p\.rows|p\.m|p\.k|end|a\.frames|clip\.frames)\b", r"<= \1"),
    ("bound", r"< (a\.columns|columns|m\.columns|in\.size|size|w\.in\.size|distances)\b", r"<= \1"),
    ("guard", r"\bleft > 0\b", "left > 1"),
    ("guard", r"\bthreadIdx\.y == 0\b", "threadIdx.y <= 1"),
    ("index", r"- \(TILE - 1\)", "- TILE"),
    ("index", r"- \(MMA_TILE - 1\)", "- MMA_TILE"),
    ("index", r"\+ MMA_TILE - 1\b", "+ MMA_TILE"),
    ("index", r"- TAPS_REACH\b", "- TAPS_REACH + 1"),
    ("index", r"2 \* w\.t \+ x % 2", "2 * w.t + 1 - x % 2"),
    ("index", r"x / 2 \* 8", "x % 2 * 8"),
    ("index", r"lane / 16 \* 4", "lane % 16 / 8 * 4"),
    ("index", r"3 \* hidden\b", "2 * hidden"),
    ("sum", r"\+= ", "= "),
]


def mutants(names, kinds):
    """All mutants as (file, line, kind, text as it was, new contents)."""
    for name in names:
        text = (KERNELS / name).read_text()
        for kind, pattern, replacement in OPERATORS:
            if kinds and kind not in kinds:
                continue
            for m in re.finditer(pattern, text):
                line_start = text.rfind("\n", 0, m.start()) + 1
                line = text[line_start:text.find("\n", m.start())]
                before = text[line_start:m.start()]
                if line.lstrip().startswith("//") or "//" in before or line.startswith("#"):
                    continue
                if kind == "sum" and re.search(r"\bfor \(", line):
                    continue
                changed = text[:m.start()] + m.expand(replacement) + text[m.end():]
                yield name, text.count("\n", 0, m.start()) + 1, kind, line.strip(), changed


def title(mutant):
    name, line, kind, was, _ = mutant
    return f"{name}:{line}: {kind}: {was}"


class Build:
    """The objects and commands of a build directory with the host model in it."""

    def __init__(self, path):
        self.path = pathlib.Path(path).resolve()
        self.commands = {}
        for entry in json.loads((self.path / "compile_commands.json").read_text()):
            m = re.search(r"libcudahost\.a\.p/meson-generated_\.\._(\w+)\.cc\.o$", entry["output"])
            if m:
                self.commands[m.group(1) + ".cu"] = entry
        if not self.commands:
            sys.exit(f"{path} is no build with the tests in it")
        lines = subprocess.run(["ninja", "-C", self.path, "-t", "commands", "tests/cudahost/libislr_cudahost.so"],
                               check=True, capture_output=True, text=True).stdout.splitlines()
        self.link = shlex.split([line for line in lines if " -o tests/cudahost/libislr_cudahost.so" in line][-1])
        members = subprocess.run(["ar", "t", self.path / "tests/cudahost/libcudahost.a"], check=True,
                                 capture_output=True, text=True).stdout.split()
        self.members = [str((self.path / m) if (self.path / m).exists() else m) for m in members]

    def compile(self, source, include, output):
        entry = self.commands[source]
        words = shlex.split(entry["command"])
        at = words.index("-o")
        words[at + 1] = str(output)
        for flag in ("-MF", "-MQ"):
            at = words.index(flag)
            del words[at:at + 2]
        words.remove("-MD")
        first = next(i for i, w in enumerate(words) if w.startswith("-I"))
        words.insert(first, f"-I{include}")
        if words[0].endswith("ccache"):
            del words[0]
        words += ["-w", "-Wno-error", "-O1"]
        return subprocess.run(words, cwd=entry["directory"], capture_output=True, text=True).returncode

    def link_model(self, replaced, output):
        objects = []
        for member in self.members:
            m = re.search(r"_(\w+)\.cc\.o$", member)
            key = m.group(1) + ".cu" if m else None
            objects.append(str(replaced.pop(key)) if key in replaced and "meson-generated" in member else member)
        words = []
        for word in self.link:
            if word.endswith("libcudahost.a"):
                words += objects
            elif word == "tests/cudahost/libislr_cudahost.so":
                words.append(str(output))
            elif word not in ("-Wl,--whole-archive", "-Wl,--no-whole-archive"):
                words.append(word)
        return subprocess.run(words, cwd=self.path, capture_output=True, text=True)

    def run(self, test, library, environment):
        """What the test says against the library, as far as its first failure; None: nothing."""
        program, _, only = test.partition(":")
        words = [self.path / "tests" / "kernels" / f"test_{program}"]
        env = dict(os.environ, ISLR_TEST_DEVICE="cuda", ISLR_CUDA_LIBRARY=str(library), ISLR_TEST_ONLY=only, **environment)
        said = []
        with subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as p:
            limit = threading.Timer(TIMEOUT_S, p.kill)
            limit.start()
            for line in p.stdout:
                said.append(line)
                if "[  FAILED  ]" in line:
                    p.kill()
            p.wait()
            timed_out = not limit.is_alive()
            limit.cancel()
        if p.returncode == 0:
            return None
        text = "".join(said)
        m = re.search(r"kernel .*, block .*", text) or re.search(r"\S.*(?:off by|differ|overwritten|not finite).*", text)
        return m.group(0)[:200] if m else "it did not end" if timed_out else f"exit status {p.returncode}"


def attempt(build, mutant):
    name, line, kind, was, changed = mutant
    with tempfile.TemporaryDirectory(prefix="mutate-") as scratch:
        scratch = pathlib.Path(scratch)
        copy = scratch / "kernels" / "cuda"
        shutil.copytree(KERNELS, copy, ignore=shutil.ignore_patterns("*.c", "meson.build"))
        (copy / name).write_text(changed)
        sources = HEADERS.get(name, [name])
        replaced = {}
        for source in sources:
            output = scratch / (source + ".o")
            if build.compile(source, scratch, output):
                return mutant, "does not compile"
            replaced[source] = output
        library = scratch / "libislr_cudahost.so"
        linked = build.link_model(replaced, library)
        if linked.returncode:
            sys.exit(linked.stderr)
        for test in dict.fromkeys(t for s in sources for t in TESTS[s]):
            for environment in ENVIRONMENTS.get(name, [{}]):
                caught = build.run(test, library, environment)
                if caught:
                    return mutant, caught
        return mutant, None


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("build")
    p.add_argument("--file", action="append")
    p.add_argument("--kind", action="append")
    p.add_argument("--only", help="regular expression over lines as --list prints them")
    p.add_argument("--list", action="store_true", help="only say what would be tried")
    p.add_argument("--jobs", type=int, default=1)
    a = p.parse_args()
    names = a.file or [*TESTS, *HEADERS]
    todo = list(mutants(names, a.kind))
    if a.only:
        todo = [m for m in todo if re.search(a.only, title(m))]
    if a.list:
        for mutant in todo:
            print(title(mutant))
        print(f"{len(todo)} mutants")
        return 0
    build = Build(a.build)
    for name in sorted({s for n, *_ in todo for s in HEADERS.get(n, [n])}):
        for test in TESTS[name]:
            said = build.run(test, build.path / "tests/cudahost/libislr_cudahost.so", {})
            if said:
                sys.exit(f"{test} fails without any fault: {said}")
    caught = skipped = 0
    survivors = []
    with concurrent.futures.ThreadPoolExecutor(a.jobs) as pool:
        for mutant, how in pool.map(lambda m: attempt(build, m), todo):
            if how == "does not compile":
                skipped += 1
                continue
            caught += how is not None
            if how is None:
                survivors.append(title(mutant))
            print(f"{'caught  ' if how else 'SURVIVED'} {title(mutant)}" + (f"\n         {how}" if how else ""), flush=True)
    print(f"{caught} caught, {len(survivors)} survived, {skipped} did not compile")
    for s in survivors:
        print(f"survived: {s}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
