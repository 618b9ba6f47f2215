#!/bin/sh
# Installs what islr needs to be built and run on Debian 12 and 13, Ubuntu 24.04 or newer, as root or with sudo.
# Says what it installs; does nothing, quickly, when all is there.
#
# usage: deploy/deps.sh [--tests]
#   --tests   also what the tests use: cmocka, the openssl and sqlite3 commands, pgrep, ip, clang's libFuzzer, and a Python
#             environment in .deps/python with numpy, pyarrow and safetensors (tests check our files with them; islr itself
#             needs no Python), and in it cuobjdump where nvcc came without
#
# Arrow C++ (the parquet reader) comes from its own packages where `pkg-config parquet` finds them; otherwise headers
# and libraries are taken out of the pyarrow wheel and put into .deps/arrow. ISLR_ARROW_WHEEL=FILE gives a wheel that is
# already at hand (machines without network).
set -eu

ARROW_VERSION=26.0.1
SHA256_x86_64=39cb0f2418282c24bea6ceda77b03e5a8f0a5766b63a8bf194d4e2a2c423548c
SHA256_aarch64=22a96a225de107eb9acd1ad9a818198ca832df2a4c0952412f754a7ed2105a98

BUILD_PACKAGES="build-essential meson ninja-build pkg-config ca-certificates python3 python3-pip
    libdnnl-dev libopenmpi-dev openmpi-bin libuv1-dev libprotobuf-c-dev protobuf-c-compiler libfyaml-dev
    libjansson-dev libsqlite3-dev libssl-dev libzstd-dev"
TEST_PACKAGES="libcmocka-dev python3-venv openssl sqlite3 procps iproute2"
FUZZ_PACKAGES="clang libclang-rt-dev" # libFuzzer; with the tests, where the system has them

root=$(cd "$(dirname "$0")/.." && pwd)
deps=$root/.deps
scratch=
trap 'test -z "$scratch" || rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

say() { echo "deps: $*" >&2; }
die() {
    say "$*"
    exit 1
}

# /usr/bin first: the packages above belong to the system's Python, whatever another one is first in the caller's PATH.
python=/usr/bin/python3
test -x $python || python=python3

missing_packages() {
    for package in "$@"; do
        test "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed || echo "$package"
    done
}

known_packages() {
    for package in "$@"; do
        apt-cache show "$package" >/dev/null 2>&1 && echo "$package"
    done
    return 0
}

install_packages() {
    command -v dpkg-query >/dev/null ||
        die "not a Debian or Ubuntu system: install the counterparts of these by hand: $(echo "$@" | tr -s ' \n' ' ')"
    missing=$(missing_packages "$@" | tr '\n' ' ')
    test -n "$missing" || return 0
    sudo=
    if [ "$(id -u)" != 0 ]; then
        sudo=$(command -v sudo) || die "must run as root, or with sudo installed, to install: $missing"
    fi
    say "installing packages: $missing"
    log=$scratch/apt.log
    # shellcheck disable=SC2086 # the list is meant to be split
    if ! { $sudo apt-get -q update && $sudo env DEBIAN_FRONTEND=noninteractive \
        apt-get -q install -y --no-install-recommends $missing; } >"$log" 2>&1 </dev/null; then
        tail -n 20 "$log" >&2
        die "apt-get could not install them (its last lines are above)"
    fi
}

# Puts the wheel into $1: the one the caller gives and vouches for, or the package index's, if it has the hash above.
fetch_wheel() {
    if [ -n "${ISLR_ARROW_WHEEL:-}" ]; then
        test -f "$ISLR_ARROW_WHEEL" || die "ISLR_ARROW_WHEEL: $ISLR_ARROW_WHEEL is not a file"
        cp "$ISLR_ARROW_WHEEL" "$1"
        return
    fi
    machine=$(uname -m)
    case $machine in
    x86_64) hash=$SHA256_x86_64 ;;
    aarch64) hash=$SHA256_aarch64 ;;
    *) die "no Arrow C++ for $machine: install Arrow's own packages, so that pkg-config finds parquet" ;;
    esac
    say "fetching Arrow C++ $ARROW_VERSION (out of the pyarrow wheel) into .deps/arrow"
    echo "pyarrow==$ARROW_VERSION --hash=sha256:$hash" >"$scratch/requirements.txt"
    # The libraries in it are the same for every Python: 3.11's wheel does, whatever this machine has.
    $python -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
        --implementation cp --python-version 3.11 --platform "manylinux_2_28_$machine" --dest "$1" \
        -r "$scratch/requirements.txt" || die "pip could not fetch pyarrow $ARROW_VERSION"
}

install_arrow() {
    if pkg-config --exists 'parquet >= 10' 'arrow >= 10'; then
        return 0
    fi
    if [ "$(cat "$deps/arrow/VERSION" 2>/dev/null)" = "$ARROW_VERSION" ]; then
        return 0
    fi
    mkdir -p "$scratch/wheel" "$scratch/arrow/lib"
    fetch_wheel "$scratch/wheel"
    $python -m zipfile -e "$scratch"/wheel/*.whl "$scratch/unpacked" || die "the wheel is not a zip archive"
    from=$scratch/unpacked/pyarrow
    mv "$from/include" "$scratch/arrow/include"
    for name in libarrow libparquet; do
        library=$(cd "$from" && ls $name.so.*) || die "the wheel holds no $name.so"
        mv "$from/$library" "$scratch/arrow/lib/"
        ln -s "$library" "$scratch/arrow/lib/$name.so"
    done
    cp "$scratch"/unpacked/pyarrow-*.dist-info/licenses/* "$scratch/arrow/" 2>/dev/null || true
    echo "$ARROW_VERSION" >"$scratch/arrow/VERSION"
    rm -rf "$deps/arrow"
    mv "$scratch/arrow" "$deps/arrow"
}

# A virtual environment, since the system's Python does not take packages (PEP 668).
install_python() {
    stamp="numpy pyarrow==$ARROW_VERSION safetensors"
    if [ "$(cat "$deps/python/STAMP" 2>/dev/null)" = "$stamp" ]; then
        return 0
    fi
    say "installing into .deps/python: $stamp"
    rm -rf "$deps/python"
    $python -m venv "$deps/python"
    # shellcheck disable=SC2086
    "$deps/python/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary=:all: $stamp ||
        die "pip could not install them"
    echo "$stamp" >"$deps/python/STAMP"
}

# What reads machine code, where there is a CUDA compiler without it. Only one test needs it, which is skipped without.
install_cuobjdump() {
    PATH=$PATH:/usr/local/cuda/bin command -v nvcc >/dev/null || return 0
    ! PATH=$PATH:/usr/local/cuda/bin command -v cuobjdump >/dev/null || return 0
    ! ls "$deps"/python/lib/python*/site-packages/nvidia/*/bin/cuobjdump >/dev/null 2>&1 || return 0
    say "installing into .deps/python: nvidia-cuda-cuobjdump"
    "$deps/python/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary=:all: \
        nvidia-cuda-cuobjdump || say "pip could not: what the CUDA kernels take of a card goes untested"
}

tests=no
case ${1:-} in
'') ;;
--tests) tests=yes ;;
-h | --help)
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p;}' "$0"
    exit 0
    ;;
*) die "unknown argument $1 (usage: deploy/deps.sh [--tests])" ;;
esac

mkdir -p "$deps"
scratch=$(mktemp -d "$deps/tmp-XXXXXX")
# shellcheck disable=SC2086
if [ $tests = yes ]; then
    install_packages $BUILD_PACKAGES $TEST_PACKAGES
    install_packages $(known_packages $(missing_packages $FUZZ_PACKAGES))
else
    install_packages $BUILD_PACKAGES
fi
install_arrow
if [ $tests = yes ]; then
    install_python
    install_cuobjdump
fi
