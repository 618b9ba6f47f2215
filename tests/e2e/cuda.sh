#!/usr/bin/env bash
# islrd on a CUDA device, where there is none: over the host model of a card (tests/cudahost). A run in fp16 that is
# killed goes on with its loss scale and ends with the same bits; two ranks train over NCCL's stand-in; a card with too
# little memory and ranks of two kinds are refused; a worker whose card fails ends, and another goes on with its run.
. "$(dirname "$0")/lib.sh"
make_recordings 8
cat >"$scratch/job.yaml" <<JOB
kind: train
name: cuda
preset: tiny
data: {path: $scratch/recordings, k: 2, fold: 0}
model: {max_len: 8, dense_dim: 16, widths: [16, 32, 32, 32]}
distill: {dense_dim: 16, widths: [16, 16, 32, 32]}
train: {steps: 6, batch: 2, group: 1, ousm: 0, precision: fp16, eval_every: 100}
checkpoint: {soup_last: 1, resume_minutes: 0}
JOB
run=("$ISLRD" run "$scratch/job.yaml" --device cuda)

expect 0 "${run[@]}" --out "$scratch/whole"
grep -q '"loss_scale": 65536' "$scratch/whole/metrics.jsonl" || fail "the loss scale is not told"
grep -q '"device": "cuda"' "$scratch/whole/summary.json" || fail "the device is not told"

start killed "${run[@]}" --out "$scratch/killed"
until_true 60 "a resume point" compgen -G "$scratch/killed/resume/point-[2-5].islr-resume"
kill -9 "$pid"
wait "$pid" 2>/dev/null
expect 0 "${run[@]}" --out "$scratch/killed" --resume
same_models "$scratch/whole" "$scratch/killed" "a killed run in fp16"
said 'going on after step'

export CUDAHOST_DEVICES=2 ISLR_NCCL_LIBRARY=$ISLR_CUDA_LIBRARY
expect 0 "${mpirun[@]}" -np 2 "${run[@]}" --out "$scratch/two" train.steps=2
said 'gradients travel by NCCL'

CUDAHOST_DEVICES=1 expect 2 "${mpirun[@]}" -np 2 "${run[@]}" --out "$scratch/three"
said '2 ranks on .* see 1 CUDA device: a rank needs a card of its own'
# Two programs by the rank's number: the mpirun of Open MPI 5.0.7 dies of "-np 1 .. : -np 1 ..", whatever they are.
mixed='[ "$OMPI_COMM_WORLD_RANK" = 0 ] || set -- "${@/#cuda/cpu}" train.precision=fp32; exec "$@"'
expect 2 "${mpirun[@]}" -np 2 bash -c "$mixed" mixed "${run[@]}" --out "$scratch/four"
said 'computes on cuda .* on cpu .*: a run.s ranks must be of one kind'

CUDAHOST_MEMORY_MIB=64 expect 2 "${run[@]}" --out "$scratch/five"
said 'has 6[0-9] MiB free of 64 MiB, and this run needs'
said 'student: gradients and moments'
expect 2 "$ISLRD" run "$scratch/job.yaml" --device cpu --out "$scratch/six"
said 'train.precision is fp16: the CPU trains in fp32 or bf16'

CUDAHOST_FAULT_FILE=$scratch/fault start up "$ISLRD" up -n 1 --device cuda --dir "$scratch/server" --socket "$scratch/socket"
until_true 60 "a worker" workers_up 1
submit train.steps=12
until_true 90 "a few steps" eval '[ "$(ctl metrics "$run" --csv -m lr | wc -l)" -gt 3 ]'
touch "$scratch/fault"
until_true 60 "the fault" eval '[ ! -e "$scratch/fault" ]'
expect 0 ctl wait "$run" --timeout "$(within 200)"
[ "$(state_of "$run")" = succeeded ] || fail "run $run is $(state_of "$run")"
ctl show "$run" >"$scratch/last.log"
said 'CUDA device 0 \(host model\): .*this rank.s device can do no more'
