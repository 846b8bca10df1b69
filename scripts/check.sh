#!/usr/bin/env bash
# Checks what scripts/test.sh does not: formatting; the libraries without the applications, built by clang, with their tests,
# and without oneDNN; how large a program is that needs nothing but the C library; tests of kernels for ARM under an emulator;
# all sources as the release preset compiles them, several in one; clang-tidy on changed files. Says how long each took.
# Installs what is missing from Debian.
# usage: scripts/check.sh [--all] [BASE]
#        BASE: the commit that files have changed since; else where this branch left origin/main, or the tenth commit before
#        this one, or, where the history is shorter, its beginning
#        --all: clang-tidy on every file, instead of on those changed last
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tidied=40  # files that clang-tidy looks at: two to six seconds of one core each

all=false
if [[ ${1:-} == --all ]]; then
    all=true
    shift
fi
(($# < 2)) || { echo "usage: scripts/check.sh [--all] [BASE]" >&2; exit 2; }
base=""
if (($#)); then
    base=$(git rev-parse -q --verify "$1^{commit}") || { echo "check.sh: there is no commit $1 here" >&2; exit 2; }
else
    base=$(git merge-base HEAD origin/main 2>/dev/null) || base=""
    # A shallow clone ends early: then all files count as changed.
    [[ -n $base && $base != $(git rev-parse HEAD) ]] || base=$(git rev-parse -q --verify HEAD~10) || base=""
fi
scripts/setup.sh --checks

part="" begun=$SECONDS times=()
begin() {  # begin NAME: ends the part before
    [[ -z $part ]] || times+=("$(printf '%4d s  %s' $((SECONDS - begun)) "$part")")
    part=$1 begun=$SECONDS
    [[ -z $part ]] || echo "== $part"
}
jobs=$(nproc)

begin "formatting"
git ls-files -- '*.cpp' '*.h' '*.cu' '*.cuh' | xargs -d '\n' clang-format-14 --dry-run --Werror

begin "libraries without applications, by clang"
# Without the headers that scripts/test.sh has read for all tests, so that each file includes what it uses.
clang=(-D CMAKE_CXX_COMPILER=clang++-14 -D IWSEG_CUDA=OFF -D IWSEG_WERROR=ON -D CMAKE_DISABLE_PRECOMPILE_HEADERS=ON)
# Only whether it compiles, links and runs is asked: -O0 does that soonest.
cmake --preset debug -B build/library "${clang[@]}" -D CMAKE_CXX_FLAGS_DEBUG=-O0 -D IWSEG_APPS=OFF -D IWSEG_ONEDNN=ON
cmake --build build/library
# Programs that compute much were run by scripts/test.sh, optimised.
computing='amx_convolution|amx_network|backends|cuda_backends|cuda_host|fused_normalisation|packed_weights|plane_slabs'
computing+='|step_traffic|winograd_slabs'
ctest --test-dir build/library --output-on-failure --parallel "$jobs" \
    --label-exclude "^($computing)\$"

begin "the same without oneDNN"
# No flag changes, so that only what stands in its place is compiled, and all is linked anew. The package is installed too.
cmake -B build/library -D IWSEG_ONEDNN=OFF
cmake --build build/library
ctest --test-dir build/library --output-on-failure --parallel "$jobs" \
    --label-regex '^(convolution_epilogue|epilogue|sliding_window|plan|c_api)$'
ctest --test-dir build/library --output-on-failure --tests-regex '^examples$'

begin "the program without oneDNN, alone"
scripts/lean.sh -D IWSEG_WERROR=ON  # with the flags of scripts/test.sh: a compiler cache has most of it

begin "the CPU's kernels for ARM, under an emulator"
scripts/arm.sh

begin "all sources as the release preset joins them, by clang"
cmake --preset release -B build/joined "${clang[@]}"
# What the build before had not: the joined files, and the applications' tests. Joined, a local name may be that of another
# file's constant. A file of the applications by itself is seen by clang-tidy, where it changed.
awk -F '"' '/"command":/ { command = $0 }
            /"file":/ { if (FNR == NR) built[$4]; else if (!($4 in built)) print command }' \
    build/library/compile_commands.json build/joined/compile_commands.json |
    sed -E 's/^ *"command": "//; s/",?$//; s/\\(.)/\1/g; s/ -o [^ ]+ / -fsyntax-only -Wno-shadow /' >build/joined/parse
joined=$(grep -c /Unity/ build/joined/parse) || { echo "check.sh: the release preset joins no files" >&2; exit 1; }
(cd build/joined && xargs -d '\n' -P "$jobs" -I COMMAND sh -c COMMAND <parse)
echo "$joined joined files and $(($(wc -l <build/joined/parse) - joined)) others are without error"

begin "clang-tidy"
cmake --preset debug -B build/tidy "${clang[@]}" >/dev/null
changed() {  # those changed last first; a file that was only moved is not looked at again
    git diff --name-only HEAD -- '*.cpp'
    git log --format= --name-only --find-renames=90% --diff-filter=AM ${base:+"$base.."}HEAD -- '*.cpp'
}
if $all; then
    git ls-files -- '*.cpp'
else
    changed
fi | awk -F '"' -v root="$(pwd -P)/" 'FNR == NR { if (/"file":/) built[$4]; next }
                                 (root $0) in built && !seen[$0]++' build/tidy/compile_commands.json - >build/tidy/files
files=$(wc -l <build/tidy/files)
if $all || ((files < tidied)); then
    tidied=$files
fi
head -n "$tidied" build/tidy/files | xargs -r -d '\n' -P "$jobs" -n 1 clang-tidy-14 -p build/tidy --quiet \
    --warnings-as-errors='*' 2>&1 | sed '/^[0-9]* warnings* generated\.$/d'
echo "$tidied files looked at, those that changed last; $((files - tidied)) left out: scripts/check.sh --all takes every file"

begin ""
printf '%s\n' "check.sh:" "${times[@]}" "$(printf '%4d s  in all' $SECONDS)"
