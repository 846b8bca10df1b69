#!/usr/bin/env bash
# Checks the form of the sources: formatting, a build by clang, clang-tidy on changed files, and the libraries' tests without
# the applications. Installs what is missing from Debian.
# usage: scripts/check.sh [BASE]    BASE: the commit that files have changed since; else the tenth before this one
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
base=${1:-$(git rev-parse -q --verify HEAD~10 || git rev-list --max-parents=0 HEAD)}
scripts/setup.sh --checks

echo "== formatting"
git ls-files -- '*.cpp' '*.h' '*.cu' '*.cuh' | xargs clang-format-14 --dry-run --Werror

echo "== clang"
cmake --preset debug -B build/clang -D CMAKE_CXX_COMPILER=clang++-14 -D CMAKE_CXX_FLAGS_DEBUG=-O0 -D IWSEG_CUDA=OFF \
    -D IWSEG_WERROR=ON
cmake --build build/clang

echo "== clang-tidy, of files changed since $base"
git diff --name-only --diff-filter=d "$base" -- '*.cpp' |
    xargs -r -P "$(nproc)" -n 4 clang-tidy-14 -p build/clang --quiet --warnings-as-errors='*'

echo "== without the applications"
cmake --preset release -B build/library -D IWSEG_APPS=OFF -D IWSEG_CUDA=OFF -D IWSEG_WERROR=ON
cmake --build build/library
ctest --test-dir build/library --output-on-failure --parallel "$(nproc)"
