#!/usr/bin/env bash
# Builds iwseg, makes phantom scans, trains two networks on them and writes a report. Continues where it was stopped.
# usage: scripts/demo.sh [folder; default: demo in the repository]
set -euo pipefail
if [[ ${1:-} == -* ]]; then
    echo "usage: scripts/demo.sh [folder; default: demo in the repository]" >&2
    exit 2
fi
root=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")
out=$(realpath -m "${1:-$root/demo}")
cd "$root"

scripts/setup.sh
# The demo computes on what is here: kernels for a GPU that is not are left to scripts/test.sh to build.
cuda=OFF
[[ -e /proc/driver/nvidia/version ]] && cuda=AUTO
cmake --preset release -D IWSEG_CUDA=$cuda
cmake --build --preset release --target iwseg
build/release/bin/iwseg demo --out "$out"
