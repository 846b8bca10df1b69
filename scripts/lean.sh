#!/usr/bin/env bash
# Builds iwseg without oneDNN, with all that it needs beyond the C library held in it, into build/lean/installed, and says how
# large the program and libiwseg.so are. Ends with exit code 1 where one of them has 8 MB or more, or needs another library.
# usage: scripts/lean.sh [OPTION...]   OPTION: of cmake, for example -D IWSEG_WERROR=ON
# Installs what is missing from Debian (scripts/setup.sh).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/setup.sh
most=8000000 failed=0
cmake --preset release -B build/lean -D IWSEG_STATIC=ON -D IWSEG_ONEDNN=OFF -D IWSEG_CUDA=OFF \
    -D IWSEG_TESTS=OFF "$@" >/dev/null
cmake --build build/lean --target iwseg
cmake --install build/lean --prefix build/lean/installed --strip >/dev/null
for file in build/lean/installed/bin/iwseg build/lean/installed/lib*/{,*/}libiwseg.so; do
    [[ -e $file ]] || continue
    bytes=$(stat --dereference --format=%s "$file")
    needs=$(objdump -p "$file" | awk '$1 == "NEEDED" && $2 !~ /^(lib(c|m|dl|pthread)\.so|ld-linux)/ { print $2 }')
    echo "$bytes bytes  ${file#build/lean/installed/}"
    if ((bytes >= most)); then
        echo "lean.sh: $file has $bytes bytes: expected fewer than $most" >&2
        failed=1
    fi
    if [[ -n $needs ]]; then
        echo "lean.sh: $file needs more than the C library:" $needs >&2
        failed=1
    fi
done
build/lean/installed/bin/iwseg info >/dev/null || failed=1
exit $failed
