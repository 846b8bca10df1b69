#!/usr/bin/env bash
# Builds tests of the CPU's kernels for ARM of 64 bits, without oneDNN, and runs them under an emulator (qemu): whether what
# is computed is right. How fast it is an emulator cannot tell, nor does it show ARM's weaker order of memory between threads.
# usage: scripts/arm.sh [TEST...]
#        TEST: the name of a test's program without test_; default: those of instruction sets, threads and convolutions
# Installs what is missing from Debian (scripts/setup.sh --arm).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tests=(instruction_set thread_pool convolution_epilogue winograd_convolution tap_convolution)
if (($#)); then
    tests=("$@")
fi
scripts/setup.sh --arm
cmake -B build/arm -G Ninja --toolchain cmake/aarch64.cmake -D CMAKE_BUILD_TYPE=Release -D IWSEG_ONEDNN=OFF \
    -D IWSEG_CUDA=OFF -D IWSEG_APPS=OFF -D IWSEG_SHARED=OFF -D IWSEG_WERROR=ON
cmake --build build/arm --target "${tests[@]/#/test_}"
for name in "${tests[@]}"; do
    echo "== $name"
    # Kernels of the executor are the same source on any processor, and long under an emulator.
    qemu-aarch64 "build/arm/bin/test_$name" --gtest_brief=1 --gtest_filter='-*simt*:*cuda*'
done
