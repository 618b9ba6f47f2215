#!/usr/bin/env bash
# islrd bench: batches that the recipe's groups do not divide.
. "$(dirname "$0")/../e2e/lib.sh"

export TMPDIR=$scratch/tmp
mkdir "$TMPDIR"

# Batches that are smaller than the recipe's groups, or than what its OUSM leaves out of one.
for batch in 1 3 40; do
    for what in train predict; do
        expect 0 "$ISLRD" bench $what --preset tiny --steps 1 --batch $batch
        said "batch $batch, "
    done
done

# Ctrl-c: nothing is left where temporary files go.
begun() { [ -n "$(ls -A "$TMPDIR"/islr-bench-*)" ]; }
for what in train prepare; do
    [ -z "$(ls -A "$TMPDIR")" ] || fail "a bench left $(ls "$TMPDIR")"
    start bench "$ISLRD" bench $what --preset tiny --steps 1000000 --batch 8
    until_true 30 "files of bench $what" begun
    kill -INT "$pid"
    wait "$pid"
    status=$?
    [ $status -eq 130 ] || fail "an interrupted bench $what ended with $status"
done
[ -z "$(ls -A "$TMPDIR")" ] || fail "a bench left $(ls "$TMPDIR")"
