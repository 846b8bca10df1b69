#!/usr/bin/env bash
# Builds everything and runs all tests. With --asan: under AddressSanitizer and UndefinedBehaviorSanitizer.
# Further arguments go to ctest, for example: scripts/test.sh -R components
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

preset=release
if [[ ${1:-} == --asan ]]; then
    preset=asan
    shift
fi
scripts/setup.sh
# Where nvcc is, all CUDA code is compiled too; sanitizers do not reach into it, but into its run on the CPU.
cuda=AUTO
[[ $preset == asan ]] && cuda=OFF
# Warnings are errors here, and nowhere else: another compiler has others.
cmake --preset "$preset" -D IWSEG_CUDA=$cuda -D IWSEG_WERROR=ON
cmake --build --preset "$preset"
ctest --test-dir "build/$preset" --output-on-failure --parallel "$(nproc)" "$@"
