#!/usr/bin/env bash
# Builds iwseg and times it beside its peers, interleaved, on this machine. Peers come from the Python given in
# PEERS_PYTHON (default python3), and PyTorch also from Debian's, where it has one. What is not installed is named as
# missing. Further arguments go to bench/beside_peers.py: --only step label, --rounds 5, --out FILE.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup.sh
cmake --preset release -D IWSEG_CUDA=OFF
cmake --build --preset release --target iwseg
python=${PEERS_PYTHON:-python3}
arguments=(--iwseg build/release/bin/iwseg)
[[ -d ../shared ]] && arguments+=(--shared ../shared)
debian=/usr/bin/python3
if [[ -x $debian && $(command -v "$python") != "$debian" ]]; then arguments+=(--more-python "$debian"); fi
"$python" bench/beside_peers.py "${arguments[@]}" "$@"
