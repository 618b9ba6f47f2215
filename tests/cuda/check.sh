#!/usr/bin/env bash
# Everything that can be known of the CUDA backend on a machine with a card: the operation tests, models and training
# steps on it; the same bits in two runs; a training step beside PyTorch on the same card; ranks over NCCL where there are
# two cards; compute-sanitizer's memcheck, racecheck, initcheck and synccheck; clips per second. What fails is said and
# the rest goes on; the exit status is 0 only if all was run and held.
#
# usage: tests/cuda/check.sh [PART..]   parts, and the order: operations models determinism parity ranks sanitizer speed
# environment: BUILD=build-cuda  BUILT=1: it is built  JOBS=N: cores to use  ARCHITECTURES=90: the card's own unless given
#              PYTHON=python3: with the packages of tests/oracle/requirements.txt, for parity
#              LOGS=DIR: what failed is kept there, whole
#              MINUTES=N: what has not begun by then is reported as not run (a machine that is lent for so long)
#              REHEARSAL=LIBRARY: this script itself, tried on the host model of a card (libislr_cudahost.so of BUILD)
set -u
cd "$(dirname "$0")/../.." || exit 1
export PATH=/usr/bin:$PATH:/usr/local/cuda/bin
build=${BUILD:-build-cuda} python=${PYTHON:-python3} jobs=${JOBS:-$(nproc)} rehearsal=${REHEARSAL:-}
all_parts='operations models determinism parity ranks sanitizer speed'
parts=${*:-$all_parts}
operations=(attention augment batchnorm embed layernorm linear loss maximum mish optimizer rows scale)
failed=() started=() limits=() count=0 scratch=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$scratch"' EXIT

for part in $parts; do
    case " $all_parts " in
    *" $part "*) ;;
    *) echo "check.sh: no part $part (parts: $all_parts)"; exit 2 ;;
    esac
done

step() { printf '\n== %s (%d s)\n' "$1" $SECONDS; }
fail() {
    echo "FAILED: $1"
    failed+=("$1")
}

# start SECONDS WHAT COMMAND..: begins it beside what runs, as many at once as there are cores; it must succeed in so many
# seconds. finish: waits for all of them and says how they ended; its status is 0 if all succeeded.
start() {
    local limit=$1 what=$2
    shift 2
    if [ -n "${MINUTES:-}" ] && [ $SECONDS -ge $((MINUTES * 60)) ]; then
        fail "$what (not run: the $MINUTES minutes are over)"
        return
    fi
    while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
    started+=("$what") limits+=("$limit")
    {
        timeout -k 10 "$limit" "$@" >"$scratch/$count.log" 2>&1 </dev/null
        echo $? >"$scratch/$count.rc"
    } &
    count=$((count + 1))
}
finish() {
    local first=$((count - ${#started[@]})) rc all=0
    wait
    for i in "${!started[@]}"; do
        log=$scratch/$((first + i)).log
        rc=$(cat "$scratch/$((first + i)).rc")
        case $rc in
        0) echo "ok: ${started[i]}"; continue ;;
        77) why='no card' ;;
        124 | 137) why="it did not end in ${limits[i]} s" ;;
        *) why="status $rc" ;;
        esac
        # Of a sanitizer's many reports the first one counts.
        case ${started[i]} in *check:*) grep -m 1 -A 30 '^=========' "$log" ;; esac
        tail -n 25 "$log"
        [ -z "${LOGS:-}" ] || { mkdir -p "$LOGS" && cp "$log" "$LOGS/$(tr -c 'A-Za-z0-9.\n' - <<<"${started[i]}").log"; }
        fail "${started[i]} ($why)"
        all=1
    done
    started=() limits=()
    return $all
}
# The same for one alone; its output is then in $log.
try() {
    local before=$count
    start "$@"
    [ "$count" != "$before" ] && finish
}

build_all() {
    local options=(-Dbuildtype=release -Dfuzz=disabled -Dtests=true) targets=(daemon/islrd tests/nn/test_model
        tests/train/test_steps tests/train/test_ranks tests/train/test_feeder tests/train/test_replay)
    for name in "${operations[@]}"; do targets+=("tests/kernels/test_$name"); done
    if [ -n "$rehearsal" ]; then
        options+=(-Dcuda=disabled)
        targets+=(tests/cudahost/libislr_cudahost.so)
    else
        [ -n "${ARCHITECTURES:-}" ] || ARCHITECTURES=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader |
            sort -u | tr -d . | paste -sd,)
        options+=(-Dcuda=enabled "-Dgpu_architectures=$ARCHITECTURES")
        targets+=(kernels/cuda/libislr_cuda.so)
    fi
    if ! { meson setup --reconfigure "$build" "${options[@]}" || meson setup "$build" "${options[@]}"; } \
        >"$scratch/log" 2>&1 || ! ninja -C "$build" "${targets[@]}" >"$scratch/log" 2>&1; then
        tail -n 40 "$scratch/log"
        echo "check.sh: $build does not build"
        exit 1
    fi
}

if [ -n "$rehearsal" ]; then
    echo "REHEARSAL on $rehearsal: nothing of this says anything of a card"
    export ISLR_CUDA_LIBRARY=$rehearsal
else
    unset ISLR_CUDA_LIBRARY
    if ! nvidia-smi -L; then
        echo "check.sh: no NVIDIA card here (nvidia-smi shows none): nothing of this can be checked on this machine"
        exit 1
    fi
fi
step "build"
[ -n "${BUILT:-}" ] || build_all
islrd=$build/daemon/islrd
export ISLR_TEST_DEVICE=cuda
if ! "$islrd" doctor --json | grep '"kind": "cuda"' >/dev/null; then
    "$islrd" doctor
    echo "check.sh: islrd finds no CUDA device"
    exit 1
fi
"$islrd" doctor | grep cuda:

check_operations() {
    for name in "${operations[@]}"; do
        start 120 "operation tests: $name" "$build/tests/kernels/test_$name"
    done
    finish
}

check_models() {
    for name in tiny l25-student l25-distilled l80-student l80-distilled; do
        start 120 "model $name fp32" "$build/tests/nn/test_model" "tests/golden/$name.safetensors" fp32
        [ $name = tiny ] ||
            start 120 "model $name bf16" "$build/tests/nn/test_model" "tests/golden/$name.safetensors" bf16
    done
    for precision in fp32 bf16; do
        start 120 "steps that are replayed, $precision" "$build/tests/train/test_replay" $precision 6
    done
    for name in tiny l25 l80; do
        start 120 "training steps $name" "$build/tests/train/test_steps" "tests/golden/train-$name.safetensors"
    done
    start 120 "a set that is fed batch by batch" "$build/tests/train/test_feeder"
    finish
}

hashes() { (cd "$1" && find checkpoints final -name '*.safetensors' -exec sha256sum {} + | sort -k 2); }

same_bits() {
    local precision=$1 hash
    for run in 1 2; do
        start 120 "a job, $precision, run $run" "$islrd" run "$scratch/job.yaml" "train.precision=$precision" \
            --device cuda --out "$scratch/$precision-$run"
    done
    start 120 "a job, $precision, without recordings" env ISLR_RECORD=off "$islrd" run "$scratch/job.yaml" \
        "train.precision=$precision" --device cuda --out "$scratch/$precision-direct"
    finish || return
    hash=$(hashes "$scratch/$precision-1")
    if [ -n "$hash" ] && [ "$hash" = "$(hashes "$scratch/$precision-2")" ]; then
        echo "ok: the same bits twice, $precision"
    else
        fail "two runs of one job differ, $precision"
    fi
    if [ "$hash" = "$(hashes "$scratch/$precision-direct")" ]; then
        echo "ok: the same bits without recordings, $precision"
    else
        fail "steps that are replayed differ from those that are not, $precision"
    fi
}

check_determinism() {
    try 60 "recordings" "$islrd" synth --out "$scratch/recordings" --signs 6 --participants 4 --clips 300 || return
    cat >"$scratch/job.yaml" <<END
kind: train
name: same
preset: tiny
data: {path: $scratch/recordings, fold: full}
train: {epochs: 3}
END
    if [ -n "$rehearsal" ]; then
        sed -i 's/epochs: 3/steps: 2, batch: 4, group: 2, ousm: 0/' "$scratch/job.yaml"
    fi
    for precision in fp32 fp16 auto; do same_bits $precision; done
}

check_parity() {
    local pairs=(tiny l25 l80) device=cuda
    [ -z "$rehearsal" ] || pairs=(tiny) device=cpu
    try 200 "PyTorch on this card" "$python" tests/cuda/parity.py "$build/tests/train/test_steps" \
        --device $device --pairs "${pairs[@]}" && tail -n 1 "$log"
}

# Each rank sees its own card alone, as its first: of those that this script sees.
check_ranks() {
    local command='IFS=, read -ra cards <<<"${CUDA_VISIBLE_DEVICES:-0,1}"
        CUDA_VISIBLE_DEVICES=${cards[OMPI_COMM_WORLD_LOCAL_RANK]} exec "$0" "$@"'
    if [ -n "$rehearsal" ]; then
        command='ISLR_NCCL_LIBRARY=$ISLR_CUDA_LIBRARY exec "$0" "$@"'
    elif [ "$(nvidia-smi -L | wc -l)" -lt 2 ]; then
        echo "not looked at: ranks over NCCL need two cards"
        return
    fi
    local two=(mpirun --allow-run-as-root --oversubscribe --bind-to none -np 2 bash -c "$command")
    try 120 "two ranks, a card each" "${two[@]}" "$build/tests/train/test_ranks" ordered off bf16 fast
    try 120 "two ranks that replay" "${two[@]}" "$build/tests/train/test_replay" fp32 4
}

# initcheck looks at global memory that nobody wrote; memcheck also for what is never freed.
check_sanitizer() {
    if ! command -v compute-sanitizer >/dev/null; then
        fail "compute-sanitizer is not installed"
        return
    fi
    for name in "${operations[@]}"; do
        start 240 "memcheck: $name" compute-sanitizer --tool memcheck --leak-check full --error-exitcode 9 \
            "$build/tests/kernels/test_$name"
        for tool in racecheck initcheck synccheck; do
            start 240 "$tool: $name" compute-sanitizer --tool $tool --error-exitcode 9 \
                "$build/tests/kernels/test_$name"
        done
    done
    start 240 "memcheck: a training step" compute-sanitizer --tool memcheck --error-exitcode 9 \
        "$build/tests/train/test_steps" tests/golden/train-tiny.safetensors
    finish
}

# One at a time, and nothing beside it.
check_speed() {
    local presets=(l25 l80) batches=(32 256)
    [ -z "$rehearsal" ] || presets=(tiny) batches=(2)
    for preset in "${presets[@]}"; do
        for precision in fp32 auto; do
            for batch in "${batches[@]}"; do
                for record in on off; do
                    try 60 "speed: $preset $precision, batch $batch, recordings $record" env ISLR_RECORD=$record \
                        "$islrd" bench train --device cuda --preset "$preset" --precision $precision --batch "$batch" \
                        --steps "${STEPS:-10}" && tail -n 1 "$log"
                done
            done
        done
    done
}

for part in $parts; do
    step "$part"
    "check_$part"
done

step "done"
if [ ${#failed[@]} -gt 0 ]; then
    printf 'FAILED: %s\n' "${failed[@]}"
    exit 1
fi
if [ -n "$rehearsal" ]; then echo "all holds on the host model"; else echo "all holds on this card"; fi
