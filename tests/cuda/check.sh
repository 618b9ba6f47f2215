#!/usr/bin/env bash
# Everything that can be known of the CUDA backend on a machine with a card: the operation tests, models and training
# steps on it; compute-sanitizer's memcheck, racecheck, initcheck and synccheck; a training step beside PyTorch on the same
# card; the same bits in two runs; clips per second. Fails where there is no card, and where a part could not be run.
#
# usage: tests/cuda/check.sh [PART..]    parts: operations models sanitizer parity determinism speed; default: all
# environment: BUILD=build-cuda  PYTHON=python3 (with the packages of tests/oracle/requirements.txt, for parity)
#              ARCHITECTURES=90 (compute capabilities; default: the card's own)
set -u
cd "$(dirname "$0")/../.." || exit 1
export PATH=/usr/bin:$PATH
build=${BUILD:-build-cuda} python=${PYTHON:-python3}
parts=${*:-operations models sanitizer parity determinism speed}
operations=(attention augment batchnorm embed layernorm linear loss maximum mish optimizer rows)
failed=() scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

step() { printf '\n== %s (%d s)\n' "$1" $SECONDS; }
fail() {
    echo "FAILED: $1"
    failed+=("$1")
}
# try WHAT COMMAND..: it must succeed; 77 is a test that found no card.
try() {
    local what=$1 rc
    shift
    "$@" >"$scratch/log" 2>&1 </dev/null
    rc=$?
    [ $rc = 0 ] && echo "ok: $what" && return 0
    tail -n 25 "$scratch/log"
    fail "$what$([ $rc = 77 ] && echo ' (no card)')"
    return 1
}

for part in $parts; do
    case $part in
    operations | models | sanitizer | parity | determinism | speed) ;;
    *) echo "check.sh: no part $part"; exit 2 ;;
    esac
done

step "build"
if [ -z "${ARCHITECTURES:-}" ]; then
    ARCHITECTURES=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | sort -u | tr -d . |
        paste -sd,) || true
fi
if [ -z "$ARCHITECTURES" ]; then
    echo "check.sh: no NVIDIA card here (nvidia-smi shows none): nothing of this can be checked on this machine"
    exit 1
fi
options=(-Dbuildtype=release -Dcuda=enabled "-Dgpu_architectures=$ARCHITECTURES" -Dtests=true)
if ! { meson setup --reconfigure "$build" "${options[@]}" || meson setup "$build" "${options[@]}"; } \
    >"$scratch/log" 2>&1 || ! ninja -C "$build" >"$scratch/log" 2>&1; then
    tail -n 40 "$scratch/log"
    echo "check.sh: $build does not build"
    exit 1
fi
islrd=$build/daemon/islrd
unset ISLR_CUDA_LIBRARY
export ISLR_TEST_DEVICE=cuda
if ! "$islrd" doctor --json | grep -q '"kind": "cuda"'; then
    "$islrd" doctor
    echo "check.sh: islrd finds no CUDA device"
    exit 1
fi
"$islrd" doctor | grep -A 20 '^devices' | grep cuda:

check_operations() {
    for name in "${operations[@]}"; do
        try "operation tests: $name" "$build/tests/kernels/test_$name"
    done
}

check_models() {
    for name in tiny l25-student l25-distilled l80-student l80-distilled; do
        try "model $name fp32" "$build/tests/nn/test_model" "tests/golden/$name.safetensors" fp32
        [ $name = tiny ] || try "model $name bf16" "$build/tests/nn/test_model" "tests/golden/$name.safetensors" bf16
    done
    for name in tiny l25 l80; do
        try "training steps $name" "$build/tests/train/test_steps" "tests/golden/train-$name.safetensors"
    done
}

# initcheck looks at global memory that nobody wrote; memcheck also for what is never freed.
check_sanitizer() {
    if ! command -v compute-sanitizer >/dev/null; then
        fail "compute-sanitizer is not installed"
        return
    fi
    for name in "${operations[@]}"; do
        try "memcheck: $name" compute-sanitizer --tool memcheck --leak-check full --error-exitcode 9 \
            "$build/tests/kernels/test_$name"
        for tool in racecheck initcheck synccheck; do
            try "$tool: $name" compute-sanitizer --tool $tool --error-exitcode 9 "$build/tests/kernels/test_$name"
        done
    done
    try "memcheck: a training step" compute-sanitizer --tool memcheck --error-exitcode 9 "$build/tests/train/test_steps" \
        tests/golden/train-tiny.safetensors
}

check_parity() {
    try "PyTorch on this card" "$python" tests/cuda/parity.py "$build/tests/train/test_steps" &&
        tail -n 1 "$scratch/log"
}

hashes() { (cd "$1" && find checkpoints final -name '*.safetensors' -exec sha256sum {} + | sort -k 2); }

check_determinism() {
    try "recordings" "$islrd" synth --out "$scratch/recordings" --signs 6 --participants 4 --clips 300 || return
    cat >"$scratch/job.yaml" <<END
kind: train
name: same
preset: tiny
data: {path: $scratch/recordings, fold: full}
train: {epochs: 3}
END
    for precision in fp32 auto; do
        for run in 1 2; do
            try "a job, $precision, run $run" "$islrd" run "$scratch/job.yaml" train.precision=$precision \
                --device cuda --out "$scratch/$precision-$run" || return
        done
        if [ -n "$(hashes "$scratch/$precision-1")" ] &&
            [ "$(hashes "$scratch/$precision-1")" = "$(hashes "$scratch/$precision-2")" ]; then
            echo "ok: the same bits twice, $precision"
        else
            fail "two runs of one job differ, $precision"
        fi
    done
}

check_speed() {
    for preset in l25 l80; do
        for precision in fp32 auto; do
            for batch in 32 256; do
                try "speed: $preset $precision, batch $batch" "$islrd" bench train --device cuda --preset $preset \
                    --precision $precision --batch $batch && tail -n 1 "$scratch/log"
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
echo "all holds on this card"
