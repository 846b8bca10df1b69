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

# Runs a command; what it writes is shown only if it fails, or if it asks something of the user.
quietly() {
    local log
    log=$(mktemp)
    if ! "$@" >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        echo "demo.sh: this failed: $*" >&2
        exit 1
    fi
    rm -f "$log"
}

cat <<TEXT
This builds iwseg, makes 40 phantom scans, trains two networks on 16 of them,
without and with inverse weights, and compares what they find in the other 24. It
takes about four minutes on two idle cores, two of them to build, and goes on
where it was stopped.

step 1 of 4: packages (what is missing is installed from Debian)
TEXT
quietly scripts/setup.sh
echo "step 2 of 4: building iwseg (two minutes the first time)"
# The demo computes on what is here: kernels for a GPU that is not are left to scripts/test.sh to build. Tests are, too.
cuda=OFF
[[ -e /proc/driver/nvidia/version ]] && cuda=AUTO
quietly cmake --preset release -D IWSEG_CUDA=$cuda
quietly cmake --build --preset release --target iwseg
echo "step 3 of 4: scans, and training of two networks (two minutes)"
build/release/bin/iwseg demo --out "$out"
cat <<TEXT

step 4 of 4: done. Open in a browser:
  $out/report.html
The same on scans of your own: docs/getting_started.md
TEXT
