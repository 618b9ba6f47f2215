#!/usr/bin/env python3
"""What the machine code of the CUDA library asks of a multiprocessor, read without a card: for every kernel and every
architecture registers, local memory, shared memory, and the threads that a block of it may have. Fails on what a card
would refuse to launch, or would run slowly.

The number of threads stands in one place, the kernel's __launch_bounds__, which the launch's constants are those of. A
kernel without it fails here: it could be launched with more threads than there are registers for. So does one that is
launched otherwise: that is read off the host model (tests/cudahost), on which the programs given run.

usage: resources.py LIBRARY ARCHITECTURES MODEL [--cuobjdump PLACE]... PROGRAM[:TEST]...
ARCHITECTURES: as in 75,90, those that it must have code for; MODEL: the shared object of the host model; PLACE: where
cuobjdump may be besides PATH; PROGRAM: an operation test, or one test of it. Exits 77 where there is no cuobjdump, and
where nothing is given."""
import argparse
import glob
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

SHARED_MOST = 48 << 10  # of a block, static and dynamic, on any card: no kernel asks for more by attribute
WARP, PARTITIONS, PARTITION_REGISTERS, REGISTER_UNIT = 32, 4, 16384, 8  # of multiprocessors from 7.5 to 12.0

# Dynamic shared memory: kernel (as its mangled name goes on), and the most that its launches ask for.
DYNAMIC = {
    "attention_forward_kernelILi16E": 4 * 16 * (512 + 1),  # a tile of queries, clips of FRAMES_MOST frames
    "attention_forward_kernelILi32E": 4 * 32 * (128 + 1),  # clips shorter than LONG_FROM
    "windows_kernel": 4 * 4 * 3 * 512,  # PARTS, coordinates, FRAMES_MOST
}

# Local memory: the most bytes of a thread, and why it has any. All others have none.
ASIDE = (48, "registers that the compiler sets aside so that one more block fits; it differs with the architecture")
LOCAL = {
    "attention_forward_kernel": ASIDE,
    "augment_kernel": (128, "the two faces' places, which the coordinate indexes"),
    "clip_loss_kernel": ASIDE,
    "embeddings_backward_kernel": (256, "a row of an embedding in double; two blocks, once a pass"),
    "finish_statistics_kernel": ASIDE,
    "layernorm_backward_kernel": (48, "rows of 8192 columns take 1024 threads, so 64 registers each"),
    "mma_forward_kernel": ASIDE,
    "mma_rows_backward_kernel": ASIDE,
    "mma_scores_backward_kernel": ASIDE,
    "product_kernel": ASIDE,
    "scores_backward_kernel": ASIDE,
}

# Sources of whose PTX no instruction may be, or become, a fused multiply-add: kernels/cuda/meson.build says why.
UNFUSED = {"augment"}


def find_cuobjdump(places):
    for place in ["cuobjdump", *(match for p in places for match in sorted(glob.glob(p)))]:
        if shutil.which(place):
            return place
    print("skipped: no cuobjdump (it comes with the CUDA toolkit, or as nvidia-cuda-cuobjdump from PyPI)")
    sys.exit(77)


def lines_of(*command):
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace") as p:
        yield from p.stdout
    if p.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit status {p.returncode}")


def name_of(mangled):
    """The kernel's name, and that with what follows it: template arguments, parameters."""
    m = re.match(r"_Z(\d+)", mangled)
    if not m:
        sys.exit(f"{mangled}: not the name of a kernel as it was looked for")
    rest = mangled[m.end():]
    return rest[:int(m.group(1))], rest


def read_usage(cuobjdump, library):
    """(architecture, kernel) -> {REG, STACK, SHARED, LOCAL, ..}"""
    usage, arch, kernel = {}, None, None
    for line in lines_of(cuobjdump, "--dump-resource-usage", library):
        if m := re.match(r"arch = sm_(\d+)", line):
            arch = m.group(1)
        elif m := re.match(r"\s*Function (\S+):", line):
            kernel = m.group(1)
        elif " REG:" in line:
            usage[arch, kernel] = {k: int(v) for k, v in re.findall(r"(\w+):(\d+)", line)}
    return usage


def read_threads(cuobjdump, library):
    """(architecture, kernel) -> the most threads of a block: what __launch_bounds__ became."""
    threads, arch, kernel, awaited = {}, None, None, False
    for line in lines_of(cuobjdump, "--dump-elf", library):
        if line.startswith("arch = sm_"):
            arch = line.split("_")[1].strip()
        elif line.startswith(".nv.info."):
            kernel = line.strip()[len(".nv.info."):]
        elif "EIATTR_MAX_THREADS" in line:
            awaited = True
        elif awaited and (m := re.match(r"\s*Value:\s*(\w+) (\w+) (\w+)", line)):
            x, y, z = (int(v, 16) for v in m.groups())
            threads[arch, kernel] = x * y * z
            awaited = False
    return threads


def faults_of(mangled, used, threads):
    name, rest = name_of(mangled)
    local, shared = used["STACK"] + used["LOCAL"], used["SHARED"]
    dynamic = max((size for kernel, size in DYNAMIC.items() if rest.startswith(kernel)), default=0)
    if threads is None:
        yield "has no __launch_bounds__"
    else:
        # Warps are dealt out to the partitions, registers to warps in units.
        registers = -(-used["REG"] // REGISTER_UNIT) * REGISTER_UNIT * WARP * -(-threads // (WARP * PARTITIONS))
        if registers > PARTITION_REGISTERS:
            yield f"{used['REG']} registers x {threads} threads do not fit a multiprocessor"
    most = LOCAL.get(name, (0, ""))[0]
    if local > most:
        yield f"{local} bytes of local memory a thread (expected: {most})"
    if shared + dynamic > SHARED_MOST:
        yield f"{shared} + {dynamic} bytes of shared memory ({SHARED_MOST} at most)"


def check_unfused(cuobjdump, library):
    """Sources of UNFUSED that have such instructions, or no PTX. (ptxas fuses what has no rounding mode.)"""
    source, seen = None, set()
    for line in lines_of(cuobjdump, "--dump-ptx", library):
        if line.startswith("identifier = "):
            source = pathlib.Path(line.split("=")[1].strip()).stem
            seen.add(source)
        elif source in UNFUSED and re.match(r"\s*(@\S+\s+)?(fma\.|mad\.f|(add|sub|mul)\.f)", line):
            yield f"{source}: {line.strip()}"
    for missing in UNFUSED - seen:
        yield f"{missing} has no PTX"


def read_launches(model, programs):
    """kernel -> the most threads and the most bytes of dynamic shared memory of its launches"""
    most = {}
    with tempfile.TemporaryDirectory() as scratch:
        launches = pathlib.Path(scratch) / "launches"
        for program in programs:
            path, _, only = program.partition(":")
            env = dict(os.environ, ISLR_CUDA_LIBRARY=model, ISLR_TEST_DEVICE="cuda", ISLR_TEST_ONLY=only,
                       CUDAHOST_LAUNCHES=str(launches))
            # What the matrix library leaves to kernels: all, or what goes with a product.
            for library_does in ("none", "product") if path.endswith("linear") else ("product",):
                run = subprocess.run([path], env=dict(env, CUDAHOST_GEMM=library_does), stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT, text=True)
                if run.returncode:
                    sys.exit(f"{program}: exit status {run.returncode}\n{run.stdout[-2000:]}")
        for line in launches.read_text().splitlines():
            kernel, threads, shared = line.split()
            most[kernel] = tuple(map(max, most.get(kernel, (0, 0)), (int(threads), int(shared))))
    return most


def check_launches(launches, threads):
    """threads: of each kernel, what its instances may have."""
    for kernel, most in sorted(threads.items()):
        if kernel not in launches:
            yield f"{kernel} was not launched: nothing is known of its launches"
        elif launches[kernel][0] > most:
            yield f"{kernel} is launched with {launches[kernel][0]} threads, its __launch_bounds__ says {most}"
    for kernel, (_, shared) in sorted(launches.items()):
        most = max((size for start, size in DYNAMIC.items() if start.startswith(kernel)), default=0)
        if shared > most:
            yield f"{kernel} is launched with {shared} bytes of dynamic shared memory, DYNAMIC says {most}"


def check_tables(kernels):
    """The tables name kernels that are there."""
    names = {name_of(k)[0] for k in kernels}
    for name in LOCAL.keys() - names:
        yield f"LOCAL has {name}, which is no kernel"
    for start in DYNAMIC:
        if not any(name_of(k)[1].startswith(start) for k in kernels):
            yield f"DYNAMIC has {start}, which is no kernel"


def check_library(cuobjdump, library, architectures, launches):
    usage, threads = read_usage(cuobjdump, library), read_threads(cuobjdump, library)
    yield from check_tables({k for _, k in usage})
    yield from check_unfused(cuobjdump, library)
    count, most = {}, {}
    for (arch, kernel), used in usage.items():
        bound = threads.get((arch, kernel))
        name, rest = name_of(kernel)
        count[arch] = count.get(arch, 0) + 1
        most[name] = max(most.get(name, 0), bound or 0)
        for fault in faults_of(kernel, used, bound):
            yield f"sm_{arch} {rest}: {fault}"
    yield from check_launches(launches, most)
    if sorted(count) != sorted(architectures) or len(set(count.values())) != 1:
        yield f"kernels of each architecture: {count}; wanted: as many of each of {', '.join(architectures)}"
    print(f"{len(usage)} kernels, architectures {', '.join(sorted(count))}")


def main():
    if len(sys.argv) == 1:
        print("skipped: no CUDA library in this build")
        return 77
    p = argparse.ArgumentParser()
    p.add_argument("library")
    p.add_argument("architectures")
    p.add_argument("model")
    p.add_argument("--cuobjdump", action="append", default=[])
    p.add_argument("programs", nargs="*")
    a = p.parse_intermixed_args()
    cuobjdump = find_cuobjdump(a.cuobjdump)
    launches = read_launches(a.model, a.programs)
    faults = list(check_library(cuobjdump, a.library, a.architectures.split(","), launches))
    for fault in faults:
        print(fault)
    print(f"{len(faults)} faults")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
