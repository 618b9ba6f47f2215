#!/usr/bin/env bash
# islrd run into a directory that holds a run: refused, gone on with, or replaced, and never a mixture of two.
. "$(dirname "$0")/lib.sh"
make_recordings
write_job
run=("$ISLRD" run "$scratch/job.yaml" --threads 1 --out)
# Names, hashes and times of all files.
content() { (cd "$1" && find . -type f -printf '%p %T@ ' -exec sha256sum {} \; | sort); }

expect 0 "${run[@]}" "$scratch/one"
before=$(content "$scratch/one")
expect 2 "${run[@]}" "$scratch/one"
said "$scratch/one holds a run already .*--resume.*--replace"
expect 2 "${mpirun[@]}" -np 2 "${run[@]}" "$scratch/one" train.epochs=2
said "^islrd run: rank 0 on .*: $scratch/one holds a run already" # the ranks agree on it, and one says so
[ "$(grep -c '^islrd run:' "$scratch/last.log")" = 1 ] || fail "the ranks of a refused run say more than that"
expect 2 "${run[@]}" "$scratch/one" --resume --replace
said 'exclude each other'

# A run that has ended is not trained again, and is no other job's.
expect 0 "${run[@]}" "$scratch/one" --resume
said 'has ended already'
expect 0 "${mpirun[@]}" -np 2 "${run[@]}" "$scratch/one" --resume resources.ranks=2
said 'has ended already'
expect 2 "${run[@]}" "$scratch/one" --resume train.seed=7
said "$scratch/one holds a run of another job"
expect 3 "${run[@]}" "$scratch/one" --replace data.path="$scratch/nowhere"
[ "$(content "$scratch/one")" = "$before" ] || fail "the files of a run that had ended were touched"

# Of fewer epochs, in its place: nothing of the one before stays, all else does.
echo mine >"$scratch/one/notes.txt"
: >"$scratch/one/summary.json.tmp-0123abcd" # left by a kill
expect 0 "${run[@]}" "$scratch/one" --replace train.epochs=2
expect 0 "${run[@]}" "$scratch/two" train.epochs=2
same_models "$scratch/two" "$scratch/one" "a run in the place of another"
[ "$(cd "$scratch/one" && find . | sort)" = "$( (cd "$scratch/two" && find . && echo ./notes.txt) | sort)" ] ||
    fail "what a run was replaced by is mixed with it"
expect 0 "${run[@]}" "$scratch/one" --replace train.epochs=2 init.student="$scratch/one/final/student.safetensors"

# A final file that is not whole any more is made again.
printf x >>"$scratch/two/final/soup.safetensors"
expect 0 "${run[@]}" "$scratch/two" --resume train.epochs=2
said 'starting from the beginning'
expect 0 "${run[@]}" "$scratch/two" --resume train.epochs=2
said 'has ended already'

# All folds.
expect 0 "${run[@]}" "$scratch/folds" data.fold=all train.epochs=1
before=$(content "$scratch/folds")
expect 2 "${run[@]}" "$scratch/folds" data.fold=all train.epochs=1
expect 0 "${run[@]}" "$scratch/folds" data.fold=all train.epochs=1 --resume
said 'has ended already'
[ "$(content "$scratch/folds")" = "$before" ] || fail "folds that had ended were touched"
rm "$scratch/folds/fold-1/summary.json" "$scratch/folds/summary.json"
expect 0 "${run[@]}" "$scratch/folds" data.fold=all train.epochs=1 --resume
! grep -q 'fold 0:' "$scratch/last.log" || fail "a fold that had ended was trained again"
expect 0 "${run[@]}" "$scratch/folds" --replace train.epochs=1
[ ! -e "$scratch/folds/fold-0" ] && [ -s "$scratch/folds/final/soup.safetensors" ] || fail "folds were not replaced"
expect 0 "${run[@]}" "$scratch/folds" --replace data.fold=all train.epochs=1
[ ! -e "$scratch/folds/final" ] && [ -s "$scratch/folds/fold-1/summary.json" ] || fail "folds are mixed with a run"
