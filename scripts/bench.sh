#!/usr/bin/env bash
# Builds iwseg and times it beside PyTorch and SciPy, in turn, on this machine. Peers come from the Python given in
# PEERS_PYTHON (default python3); those it does not have are left out. Further arguments go to bench/beside_peers.py.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup.sh
cmake --preset release -D IWSEG_CUDA=OFF
cmake --build --preset release --target iwseg
arguments=(--iwseg build/release/bin/iwseg)
[[ -d ../shared ]] && arguments+=(--oracle ../shared/reference/unet_torch.py --masks ../shared/data/lesion_masks)
"${PEERS_PYTHON:-python3}" bench/beside_peers.py "${arguments[@]}" "$@"
