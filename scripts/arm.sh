#!/usr/bin/env bash
# Builds tests of the CPU's kernels for ARM of 64 bits, without oneDNN, and runs them under an emulator (qemu): whether what
# is computed is right. How fast it is an emulator cannot tell, nor does it show ARM's weaker order of memory between threads.
# usage: scripts/arm.sh [TEST...]
#        TEST: the name of a test's program without test_; default: the programs of tests/kernels, but for those that multiply
#        by a model of another processor's tiles, which take minutes
# Left out: the executor and what runs on it (the same source on any processor), and the program with what it alone needs,
# whose libraries Debian does not install for two processors side by side (libnifti2-dev).
# Installs what is missing from Debian (scripts/setup.sh --arm).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tests=(components_of const_view convolution_epilogue instruction_set inverse_weights_of nvidia_card plan_file tap_convolution
    thread_count thread_pool thread_start winograd_convolution)
if (($#)); then
    tests=("$@")
fi
scripts/setup.sh --arm
cmake -B build/arm -G Ninja --toolchain cmake/aarch64.cmake -D CMAKE_BUILD_TYPE=Release -D IWSEG_ONEDNN=OFF \
    -D IWSEG_CUDA=OFF -D IWSEG_APPS=OFF -D IWSEG_SHARED=OFF -D IWSEG_EXECUTOR=OFF -D IWSEG_WERROR=ON
cmake --build build/arm --target "${tests[@]/#/test_}"
ctest --test-dir build/arm --output-on-failure --parallel "$(nproc)" \
    --label-regex "^($(IFS='|'; echo "${tests[*]}"))$"
