#!/usr/bin/env bash
# islrd bench: batches that the recipe's groups do not divide.
. "$(dirname "$0")/../e2e/lib.sh"

# Batches that are smaller than the recipe's groups, or than what its OUSM leaves out of one.
for batch in 1 3 40; do
    for what in train predict; do
        expect 0 "$ISLRD" bench $what --preset tiny --steps 1 --batch $batch
        said "batch $batch, "
    done
done
