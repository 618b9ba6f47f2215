#!/usr/bin/env bash
# Builds islr and runs all its tests: as users build it, and with AddressSanitizer and UndefinedBehaviorSanitizer.
# Works from a fresh clone on Debian 12 or Ubuntu 24.04: installs what is missing (deploy/deps.sh; root or sudo).
# The last line says "N passed, N failed[, N skipped]" over both builds; the exit status is 0 only if nothing failed.
#
# usage: tests/run.sh [-DOPTION=VALUE..]   options for meson setup, as in -Dwerror=true
# Builds in build/ and build-asan/; full logs are in their meson-logs/.
set -u
cd "$(dirname "$0")/.." || exit 1
# The system's meson and python first, whatever else the caller's PATH holds.
export PATH=/usr/bin:$PATH
# Several tests run at once: threads that have nothing to do should sleep, not spin.
export OMP_WAIT_POLICY=passive
# One more than there are cores: whole programs wait as much as they compute.
export MESON_TESTTHREADS=${MESON_TESTTHREADS:-$(($(nproc) + 1))}
broken=0

step() { printf '\n== %s (%d s)\n' "$1" $SECONDS; }

# Configures DIRECTORY with the given options, anew or over what is there, and builds it.
build() {
    local directory=$1 log=$1.log again=()
    shift
    [ ! -f "$directory/build.ninja" ] || again=(--reconfigure)
    step "build $directory"
    mkdir -p "$directory"
    if ! meson setup "${again[@]}" "$directory" "$@" >"$log" 2>&1 &&
        ! meson setup --wipe "$directory" "$@" >"$log" 2>&1; then
        tail -n 30 "$log"
        echo "$directory cannot be configured"
        return 1
    fi
    if ! ninja -C "$directory" >"$log" 2>&1; then
        grep -E -A 12 '^FAILED:|error:|undefined reference' "$log" | head -n 60
        echo "$directory does not build"
        return 1
    fi
    grep -E 'warning:' "$log" | sort -u | head -n 20
    rm -f "$log"
}

# Builds, then runs the tests; a build that fails counts as one failure.
run() {
    local directory=$1
    rm -f "$directory"/meson-logs/testlog*.json
    if ! build "$@"; then
        broken=$((broken + 1))
        return
    fi
    step "test $directory"
    meson test -C "$directory" --no-rebuild --quiet --print-errorlogs </dev/null
}

step "install what is missing"
if ! deploy/deps.sh --tests; then
    echo "0 passed, 1 failed"
    exit 1
fi
run build -Dbuildtype=release -Db_sanitize=none -Dtests=true "$@"
# With sanitizers gcc warns of formats on paths that they alone make: those two warnings are the other build's. -O1 and lines
# without variables build in half the time; the tests take as long.
flags='-g1 -Wno-format-truncation -Wno-format-overflow'
run build-asan -Doptimization=1 -Ddebug=true "-Dc_args=$flags" "-Dcpp_args=$flags" \
    -Db_sanitize=address,undefined -Db_lundef=false -Dtests=true "$@"

step "done"
python3 tests/count.py "$broken" build build-asan
