#!/usr/bin/env python3
"""What the machine code of the CUDA library asks of a multiprocessor, read without a card: for every kernel and every
architecture registers, local memory, shared memory, and the threads that a block of it may have. Fails on what a card
would refuse to launch, or would run slowly.

The number of threads stands in one place, the kernel's __launch_bounds__; launches are made of the same constants. A
kernel without it fails here: it could be launched with more threads than there are registers for.

usage: resources.py LIBRARY ARCHITECTURES KERNELS [CUOBJDUMP..]   ARCHITECTURES: as in 75,90, those that it must
have code for; KERNELS: the directory of the sources; CUOBJDUMP: where it may be besides PATH. Exits 77 where it is in
none of these, or nothing is given."""
import glob
import pathlib
import re
import shutil
import subprocess
import sys

SHARED_MOST = 48 << 10  # of a block, static and dynamic, on any card: no kernel asks for more by attribute
WARP, PARTITIONS, PARTITION_REGISTERS, REGISTER_UNIT = 32, 4, 16384, 8  # of multiprocessors from 7.5 to 12.0

# Dynamic shared memory: kernel (as its mangled name goes on), and the most that its launches ask for.
DYNAMIC = {
    "attention_forward_kernelILi16E": 4 * 16 * (512 + 1),  # a tile of queries, clips of FRAMES_MOST frames
    "attention_forward_kernelILi32E": 4 * 32 * (128 + 1),  # clips shorter than LONG_FROM
    "windows_kernel": 4 * 4 * 3 * 512,  # PARTS, coordinates, FRAMES_MOST
}

# Local memory: the most bytes of a thread, and why it has any. All others have none.
ASIDE = (48, "registers that the compiler sets aside so that one more block fits; how many differs with the architecture")
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


def check_tables(kernels, sources):
    """The tables above name kernels that are there, and all that use dynamic shared memory."""
    names = {name_of(k)[0] for k in kernels}
    for name in LOCAL:
        if name not in names:
            yield f"LOCAL has {name}, which is no kernel"
    for start in DYNAMIC:
        if not any(name_of(k)[1].startswith(start) for k in kernels):
            yield f"DYNAMIC has {start}, which is no kernel"
    uses = sum(len(re.findall(r"\bDYNAMIC_SHARED\(", f.read_text())) for f in sources.glob("*.cu"))
    listed = len({re.match(r"\w+?_kernel", start).group(0) for start in DYNAMIC})
    if uses != listed:
        yield f"{uses} kernels use dynamic shared memory, DYNAMIC has {listed}"
    for f in sources.iterdir():
        if "cudaFuncSetAttribute" in f.read_text():
            yield f"{f.name} asks for more shared memory by attribute, of which nothing is known here"


def main():
    if len(sys.argv) < 4:
        print("skipped: no CUDA library in this build")
        sys.exit(77)
    library, architectures, sources, *places = sys.argv[1:]
    cuobjdump = find_cuobjdump(places)
    usage, threads = read_usage(cuobjdump, library), read_threads(cuobjdump, library)
    faults = list(check_tables({k for _, k in usage}, pathlib.Path(sources)))
    faults += check_unfused(cuobjdump, library)
    count = {}
    for (arch, kernel), used in usage.items():
        count[arch] = count.get(arch, 0) + 1
        faults += [f"sm_{arch} {name_of(kernel)[1]}: {f}" for f in faults_of(kernel, used, threads.get((arch, kernel)))]
    if sorted(count) != sorted(architectures.split(",")) or len(set(count.values())) != 1:
        faults.append(f"kernels of each architecture: {count}; wanted: as many of each of {architectures}")
    for fault in faults:
        print(fault)
    print(f"{len(usage)} kernels, architectures {', '.join(sorted(count))}: {len(faults)} faults")
    return bool(faults) or not usage


if __name__ == "__main__":
    sys.exit(main())
