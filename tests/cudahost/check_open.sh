#!/usr/bin/env bash
# How a program finds the CUDA backend, and what it says where something is lacking; and a job on the host model from
# end to end.
#
# usage: check_open.sh ISLRD LIBISLR_CUDAHOST
set -u
islrd=$1 model=$2
failed=0

# expect STATUS WORDS COMMAND...: its exit status, and words that stand in what it says.
expect() {
    local status=$1 words=$2 said rc
    shift 2
    said=$("$@" 2>&1 </dev/null)
    rc=$?
    if [ $rc != "$status" ] || ! grep -qF -- "$words" <<<"$said"; then
        printf 'FAILED: %s: status %s instead of %s, or not said: %s\n%s\n' "$*" $rc "$status" "$words" "$said"
        failed=$((failed + 1))
    fi
}

bench=("$islrd" bench predict --preset tiny --steps 1 --batch 4)
with() { env ISLR_CUDA_LIBRARY="$model" "$@"; }

expect 1 "ISLR_CUDA_LIBRARY=/nowhere: No such file" env ISLR_CUDA_LIBRARY=/nowhere "${bench[@]}" --device cuda
expect 1 "the CUDA backend cannot be loaded" env ISLR_CUDA_LIBRARY="$islrd" "${bench[@]}" --device cuda
expect 1 "no CUDA device" with env CUDAHOST_DEVICES=0 "${bench[@]}" --device cuda
expect 1 "compute capability 6.1: 7.5 or newer is needed" with env CUDAHOST_CAPABILITY=6.1 "${bench[@]}" --device cuda
expect 1 "compute capability 8.6, for which this build has no code" with env CUDAHOST_CAPABILITY=8.6 CUDAHOST_CODE=75,90 \
    "${bench[@]}" --device cuda
expect 0 '"precision": "bf16"' with env CUDAHOST_CAPABILITY=8.6 CUDAHOST_CODE=75,80 "${bench[@]}" --device cuda --json
expect 0 '"precision": "fp16"' with env CUDAHOST_CAPABILITY=8.6 CUDAHOST_CODE=75 "${bench[@]}" --device cuda --json
expect 2 "CUDAHOST_DEVICES=many: a number" with env CUDAHOST_DEVICES=many "${bench[@]}" --device cuda
expect 1 "out of memory on CUDA device 0 (host model)" with env CUDAHOST_MEMORY_MIB=1 "${bench[@]}" --device cuda
expect 0 "no card: no CUDA device" with env CUDAHOST_DEVICES=0 "$islrd" doctor
expect 0 "cuda: host model, 1 multiprocessors" with "$islrd" doctor
expect 0 '"backends": [' with "$islrd" doctor --json

# "auto" takes a card where there is one, and the CPU where there is none.
expect 0 '"device": "host model"' with "${bench[@]}" --json
expect 0 'instruction set' with env CUDAHOST_DEVICES=0 "${bench[@]}" --json

# Without a driver, and without the backend: only where this machine has neither.
if ! ldconfig -p | grep -q libcuda.so.1; then
    copy=$(mktemp -d)
    trap 'rm -rf "$copy"' EXIT
    cp "$islrd" "$copy/"
    expect 1 "this islr has no CUDA backend" env -u ISLR_CUDA_LIBRARY "$copy/islrd" bench predict --preset tiny \
        --device cuda
    touch "$copy/libislr_cuda.so"
    expect 1 "this machine has no NVIDIA driver" env -u ISLR_CUDA_LIBRARY "$copy/islrd" bench predict --preset tiny \
        --device cuda
fi
[ $failed = 0 ] && echo "all as it should be"
exit $((failed != 0))
