#!/usr/bin/env bash
# Installs what the build needs from Debian's packages; touches nothing, and needs no network, when all is there.
set -euo pipefail

packages=(
    build-essential cmake ninja-build
    libdnnl-dev libnifti2-dev libfmt-dev libcli11-dev libtomlplusplus-dev nlohmann-json3-dev
    zlib1g-dev libdeflate-dev libpng-dev libpugixml-dev libgtest-dev
)

if ! command -v dpkg-query >/dev/null; then
    echo "setup.sh: this is not a Debian system; install what these packages hold and build with" \
        "'cmake --preset release && cmake --build --preset release': ${packages[*]}" >&2
    exit 1
fi

missing=()
for package in "${packages[@]}"; do
    status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [[ $status == installed ]] || missing+=("$package")
done
((${#missing[@]})) || exit 0

as_root=()
if ((EUID != 0)); then
    if ! command -v sudo >/dev/null; then
        echo "setup.sh: neither root nor sudo here; as root, run: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi
echo "Installing from Debian: ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
