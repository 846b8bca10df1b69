#!/usr/bin/env bash
# Builds tests for ARM of 64 bits, without oneDNN, and runs them under an emulator (qemu): whether what is computed is right.
# How fast it is an emulator cannot tell, nor does it show ARM's weaker order of memory between threads.
# usage: scripts/arm.sh [--all] [TEST...]
#        TEST: the name of a test's program without test_; default: tests of the CPU's kernels that take an emulator seconds
#        --all: with the program and what it alone needs; without a TEST, every test, which takes hours. On Debian alone: their
#        libraries are packages of arm64, which are downloaded and unpacked into build/arm/sysroot
# Left out: the executor and what runs on it (the same source on any processor), and the examples.
# Installs what is missing from Debian, nothing of another architecture (scripts/setup.sh --arm).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
whole=OFF
if [[ ${1:-} == --all ]]; then
    whole=ON
    shift
fi
tests=(arithmetic components_of const_view convolution_epilogue instruction_set inverse_weights_of nvidia_card plan_file
    tap_convolution thread_count thread_pool thread_start winograd_convolution)
only=(--exclude-regex 'AgreesWhereTheWholeSourceIsPackedBefore')  # which takes as long as all others
if (($#)) || [[ $whole == ON ]]; then
    tests=("$@") only=()
fi

# apt is given folders of its own, so that neither its lists nor what is installed know of another architecture.
unpack_libraries() {
    local apt=$PWD/build/arm/apt sysroot=$PWD/build/arm/sysroot
    [[ ! -e $sysroot ]] || return 0
    mkdir -p "$apt"/{lists,archives}/partial "$sysroot.part"
    local get=(apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User="$(id -un)"
        -o Dir::State::Lists="$apt/lists" -o Dir::State::status=/dev/null -o Dir::Cache="$apt")
    "${get[@]}" update
    (cd "$apt" && "${get[@]}" download zlib1g-dev libdeflate-dev libpng-dev libpugixml-dev libpugixml1v5 libnifti2-dev \
        libniftiio-dev libznz-dev)
    local package
    for package in "$apt"/*.deb; do
        dpkg -x "$package" "$sysroot.part"
    done
    mv "$sysroot.part" "$sysroot"
    rm -r "$apt"
}

scripts/setup.sh --arm
[[ $whole == OFF ]] || unpack_libraries
# What links statically wants no libraries of arm64 to run, and takes fmt's headers alone.
cmake --preset release -B build/arm --toolchain cmake/aarch64.cmake -D IWSEG_SYSROOT="$PWD/build/arm/sysroot" \
    -D IWSEG_STATIC=ON -D IWSEG_ONEDNN=OFF -D IWSEG_CUDA=OFF -D IWSEG_APPS=$whole -D IWSEG_SHARED=$whole \
    -D IWSEG_EXECUTOR=OFF -D IWSEG_WERROR=ON
cmake --build build/arm ${tests[@]+--target "${tests[@]/#/test_}"}
((${#tests[@]} == 0)) || only+=(--label-regex "^($(IFS='|'; echo "${tests[*]}"))$")
ctest --test-dir build/arm --output-on-failure --parallel "$(nproc)" "${only[@]}"
