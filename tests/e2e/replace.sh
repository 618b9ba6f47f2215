#!/usr/bin/env bash
# islrd run --replace that is killed, or finds the disk full, in the middle: what is there then is never taken for a run
# that it is not, the reason is said, and the next try ends as if nothing had been.
. "$(dirname "$0")/lib.sh"
export XDG_CACHE_HOME=$scratch/cache
make_recordings 48
write_job 1
run=("$ISLRD" run "$scratch/job.yaml" --threads 1 --out)
dir=$scratch/run
new=(train.seed=7 train.epochs=2)
trials=6 quarters=(0 1 2 3 4)
[ -z "${ISLR_E2E_SHORT:-}" ] || trials=2 quarters=(0 2)

files() { (cd "$1" && find . -type f ! -name lock | sort); }
is_run() { [ "$(files "$1")" = "$(files "$2")" ] && [ "$(hashes "$1")" = "$(hashes "$2")" ]; }

began=$(date +%s%N)
expect 0 "${run[@]}" "$scratch/new" "${new[@]}"
took_ms=$((($(date +%s%N) - began) / 1000000))
expect 0 "${run[@]}" "$scratch/old"

# ---- kills ----------------------------------------------------------------------------------------------------------

# lay_old FILES: with so many files to remove that a kill comes in time.
lay_old() {
    rm -rf "$dir"
    cp -a "$scratch/old" "$dir"
    (cd "$dir/checkpoints" && seq -f 'filler-%g' "$1" | xargs touch)
}
fillers() { find "$dir/checkpoints" -name 'filler-*' 2>/dev/null | wc -l; }
replace() { start replace "${run[@]}" "$dir" --replace "${new[@]}"; }
end_it() {
    kill -9 "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
}

for then in old new; do
    for files in 10000 40000 160000 0; do
        [ $files != 0 ] || fail "the kill did not come while the files were removed: $(tail -n 3 "$scratch/replace.log")"
        lay_old $files
        replace
        while [ -e "$dir/summary.json" ] && alive "$pid"; do :; done
        end_it
        [ -e "$dir/summary.json" ] || [ "$(fillers)" = 0 ] || break
    done
    expect 2 "${run[@]}" "$dir"
    said 'holds a run already'
    if [ $then = old ]; then
        expect 0 "${run[@]}" "$dir" --resume
    else
        expect 0 "${run[@]}" "$dir" --replace "${new[@]}"
    fi
    is_run "$dir" "$scratch/$then" || fail "after a kill within the removal: not the $then run, or mixed with another"
done
for ((trial = 0; trial < trials; trial++)); do
    rm -rf "$dir"
    cp -a "$scratch/old" "$dir"
    replace
    pause $((took_ms * 5 / 4))
    end_it
    if [ -e "$dir/summary.json" ]; then
        hashes "$dir" | cmp -s - <(hashes "$scratch/old") || hashes "$dir" | cmp -s - <(hashes "$scratch/new") ||
            fail "a killed replacement leaves what looks like a run that has ended and is none"
    fi
    [ -z "$(find "$dir" -name '*.tmp-*')" ] || fail "a kill leaves $(find "$dir" -name '*.tmp-*')"
    "${run[@]}" "$dir" --resume "${new[@]}" >"$scratch/last.log" 2>&1
    if [ $? -eq 2 ]; then # it had not come to that
        said 'holds a run of another job'
        expect 0 "${run[@]}" "$dir" --replace "${new[@]}"
    fi
    is_run "$dir" "$scratch/new" || fail "after a kill: not the new run, or mixed with another"
done

# ---- a full disk ----------------------------------------------------------------------------------------------------

disk=$scratch/disk
mkdir "$disk"
if [ "$(id -u)" != 0 ] || ! mount -t tmpfs -o size=64m none "$disk" 2>/dev/null; then
    echo "no small file system can be mounted here: full disks are not tested"
    exit 0
fi
trap 'umount -l "$disk"; finish' EXIT
dir=$disk/run
size() { du -sk "$1" | cut -f1; }
# full KIB COMMAND..: with so much room besides what the old run's removal gives.
full() {
    local room
    room=$(df -k --output=avail "$disk" | tail -n 1)
    fallocate -l $(((room - $1) * 1024)) "$disk/ballast" || fail "no ballast"
    shift
    expect 1 "$@"
    said "cannot (write|create)[^:]* $dir[^:]*: No space left on device"
    [ ! -e "$dir/summary.json" ] || fail "a run that met a full disk has a summary"
    [ -z "$(find "$dir" -name '*.tmp-*')" ] || fail "a full disk leaves $(find "$dir" -name '*.tmp-*')"
    rm "$disk/ballast"
}
more=$(($(size "$scratch/new") - $(size "$scratch/old")))
[ $more -gt 100 ] || fail "the new run is not larger than the old one"
for quarter in "${quarters[@]}"; do
    cp -a "$scratch/old" "$dir"
    full $((more * quarter / 4)) "${run[@]}" "$dir" --replace "${new[@]}"
    expect 0 "${run[@]}" "$dir" --resume "${new[@]}"
    is_run "$dir" "$scratch/new" || fail "after a full disk: not the new run, or mixed with another"
    rm -r "$dir"
done
# Nothing comes free, on two ranks: from the first file on.
cp -a "$scratch/old" "$dir"
rm -r "$dir/checkpoints" "$dir/final" "$dir"/predictions.*
full 0 "${mpirun[@]}" -np 2 "${run[@]}" "$dir" --replace "${new[@]}"
expect 0 "${run[@]}" "$dir" --replace "${new[@]}"
is_run "$dir" "$scratch/new" || fail "after a full disk: not the new run, or mixed with another"
