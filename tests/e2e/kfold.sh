#!/usr/bin/env bash
# A k-fold as one run of a server: its folds side by side, their predictions joined; the same files and figures as from
# `islrd run`, and the accuracy that numpy finds in the predictions.
. "$(dirname "$0")/lib.sh"
python=$here/../../.deps/python/bin/python
"$python" -c 'import numpy' 2>/dev/null || skip "no Python with numpy in .deps/python"
make_recordings
write_job
expect 0 "$ISLRD" run "$scratch/job.yaml" data.fold=all --threads 1 --out "$scratch/direct"

start up "$ISLRD" up -n 2 --threads 1 --dir "$scratch/server" --socket "$scratch/socket"
until_true 30 "two workers" workers_up 2
submit data.fold=all resources.ranks=1 --name cv
group=$run
[ "$group" = 1 ] || fail "the group has the number $group"
expect 0 ctl wait "$group" --timeout "$(within 120)"
for run in 1 2 3; do
    [ "$(state_of "$run")" = succeeded ] || fail "run $run: $(state_of "$run")"
done
began() { ctl show "$1" --json | json attempts 0 started; }
ended() { ctl show "$1" --json | json attempts 0 ended; }
[[ $(began 2) < $(ended 3) && $(began 3) < $(ended 2) ]] || fail "the folds were not run at once"
[ "$(ctl list --json | json runs | grep -o "'run'" | wc -l)" = 1 ] || fail "list shows the folds"
[ "$(ctl show "$group" --json | json step)" = $((2 * steps)) ] || fail "the group's progress is not its folds'"

expect 0 ctl pull "$group:predictions" -o "$scratch/pulled"
expect 0 ctl pull "$group:predictions.csv" -o "$scratch/pulled"
expect 0 ctl pull "$group:summary" -o "$scratch/pulled"
for file in predictions.npy predictions.csv summary.json; do
    cmp "$scratch/direct/$file" "$scratch/pulled/$file" || fail "$file differs from the one of islrd run"
done
expect 0 ctl pull "$group:all" -o "$scratch/whole"
for file in predictions.npy predictions.csv summary.json fold-{0,1}/predictions.npy \
    fold-{0,1}/final/{student,teacher,distilled,soup}.safetensors; do
    cmp "$scratch/direct/$file" "$scratch/whole/$file" || fail "$file differs from the one of islrd run"
done
expect 0 ctl plot "$group" -o "$scratch/curves.svg"
python3 -c 'import sys, xml.dom.minidom
curves = xml.dom.minidom.parse(sys.argv[1]).getElementsByTagName("polyline")
sys.exit(len(curves) != 2)' "$scratch/curves.svg" || fail "the plot does not show both folds"
expect 0 ctl compare "$group" --json
# A soup of the folds' soups, made by a worker, knows its ingredients.
expect 0 ctl soup "$group" --wait
[ "$(ctl show @last --json | json checkpoints 0 members | tr -cd , | wc -c)" = 1 ] || fail "the soup has not two ingredients"
# Collection says what it takes, and leaves the soups and all that is in them.
would=$(ctl gc --dry-run --json | json count)
[ "$would" -gt 0 ] && [ "$(ctl gc --json | json count)" = "$would" ] || fail "gc does not take what it said"
[ "$(ctl gc --json | json count)" = 0 ] || fail "gc takes more the second time"
[ "$(ctl show 2 --json | tr , '\n' | grep -c '"what": "distilled"')" = 4 ] || fail "a soup's ingredients are gone"
expect 0 ctl pull "$group:soup" -o "$scratch/soups"
cmp "$scratch/direct/fold-1/final/soup.safetensors" "$scratch/soups/fold-1/soup.safetensors" || fail "another soup"
ctl show "$group" --json >"$scratch/show.json"
"$python" "$here/check_kfold.py" "$scratch/recordings/train.csv" "$scratch/pulled" "$scratch/show.json" 2 \
    >"$scratch/last.log" 2>&1 || fail "the joined predictions do not give the recorded figures"
