#!/usr/bin/env bash
# The whole way on recordings of real signers, where they are at hand: prepare, train a little, evaluate, predict.
# They are in ISLR_SHARED_DATA, or beside the source tree.
. "$(dirname "$0")/lib.sh"
data=${ISLR_SHARED_DATA:-$here/../../../shared/data}
[ -f "$data/expand.py" ] || skip "no recordings in $data"
python=$here/../../.deps/python/bin/python
"$python" -c 'import numpy, pyarrow' 2>/dev/null || skip "no Python with numpy and pyarrow in .deps/python"

# Four signers, a handful of clips of each sign.
"$python" "$data/expand.py" "$scratch/recordings" --participants 1,3,4,5 --per-sign 6 >"$scratch/expand.log" 2>&1 ||
    fail "the recordings could not be expanded"
write_job 6
expect 0 "$ISLRD" prepare --data "$scratch/recordings" --out "$scratch/set.islr" --max-len 25 --k 2 --strict
expect 0 "$ISLRD" run "$scratch/job.yaml" data.path="$scratch/set.islr" --out "$scratch/run"
expect 0 "$ISLRD" run "$scratch/job.yaml" --out "$scratch/direct"
# The files name their job, which differs; what the models say does not.
cmp -s "$scratch/run/predictions.npy" "$scratch/direct/predictions.npy" ||
    fail "a prepared set and its recordings train to other models"
"$python" "$here/check_run.py" "$scratch/run" 6 >"$scratch/last.log" 2>&1 || fail "the run's files are not as documented"
expect 0 "$ISLRD" evaluate --model "$scratch/run/final/soup.safetensors" --json "$scratch/set.islr"
