#!/usr/bin/env bash
# Prepared sets of recordings of real signers against the published preparation, where recordings and Python are at
# hand. They are in ISLR_SHARED_DATA, or beside the source tree.
. "$(dirname "$0")/../e2e/lib.sh"
source=$here/../..
data=${ISLR_SHARED_DATA:-$source/../shared/data}
[ -f "$data/expand.py" ] || skip "no recordings in $data"
python=$source/.deps/python/bin/python
"$python" -c 'import numpy, pyarrow' 2>/dev/null || skip "no Python with numpy and pyarrow in .deps/python"

# Three signers alone, since expand.py unpacks all that it is given.
mkdir "$scratch/signers"
cp "$data"/signs14/sign_to_prediction_index_map.json "$data"/signs14/P01.xz "$data"/signs14/P33.xz \
    "$data"/signs14/P88.xz "$scratch/signers/"
grep -E '^(participant_id|1|33|88),' "$data/signs14/index.csv" >"$scratch/signers/index.csv"

for options in "--codec snappy" "--codec zstd --float32"; do
    rm -rf "$scratch/recordings"
    # shellcheck disable=SC2086
    "$python" "$data/expand.py" --set "$scratch/signers" "$scratch/recordings" --per-sign 3 $options \
        >"$scratch/expand.log" 2>&1 || fail "the recordings could not be expanded"
    for max_len in 10 25 80; do
        expect 0 "$ISLRD" prepare --data "$scratch/recordings" --out "$scratch/set.islr" --max-len $max_len --k 2 \
            --strict
        "$python" "$source/tests/data/published.py" "$ISLRD" "$scratch/recordings" "$scratch/set.islr" $max_len \
            >"$scratch/last.log" 2>&1 || fail "the prepared clips are not the published ones"
        cat "$scratch/last.log"
    done
done
