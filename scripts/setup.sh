#!/usr/bin/env bash
# Installs what the build needs from Debian's packages; touches nothing, and needs no network, when all is there.
# usage: scripts/setup.sh                            on Debian 12 or newer, and on Ubuntu 24.04 or newer
#        scripts/setup.sh --checks                   the same, and what scripts/check.sh needs
#        scripts/setup.sh --arm                      the first, and what scripts/arm.sh needs: a compiler and an emulator
#        scripts/setup.sh --list fedora|arch|opensuse|conda   prints the command for another system, and installs nothing
set -euo pipefail

packages=(
    build-essential cmake ninja-build
    libdnnl-dev libnifti2-dev libfmt-dev libcli11-dev libtomlplusplus-dev nlohmann-json3-dev
    zlib1g-dev libdeflate-dev libpng-dev libpugixml-dev libgtest-dev
    pkgconf python3  # for the tests of what is installed
)

# The names elsewhere, by those systems' own lists; only Debian's have been built with. CMake 3.25 and g++ 12 or newer.
list_for() {
    case $1 in
        fedora)
            echo "dnf install gcc-c++ cmake ninja-build onednn-devel fmt-devel cli11-devel tomlplusplus-devel json-devel" \
                "zlib-devel libdeflate-devel libpng-devel pugixml-devel gtest-devel nifticlib-devel" ;;
        arch)
            echo "pacman -S base-devel cmake ninja onednn fmt cli11 tomlplusplus nlohmann-json zlib libdeflate" \
                "libpng pugixml gtest   # and nifticlib from the AUR" ;;
        opensuse)
            echo "zypper install gcc-c++ cmake ninja onednn-devel fmt-devel cli11-devel tomlplusplus-devel" \
                "nlohmann_json-devel zlib-devel libdeflate-devel libpng16-devel pugixml-devel gtest nifticlib-devel" ;;
        conda)
            echo "conda install -c conda-forge cxx-compiler cmake ninja onednn fmt cli11 tomlplusplus nlohmann_json zlib" \
                "libdeflate libpng pugixml gtest" ;;
        *)
            echo "setup.sh: no list for $1: expected fedora, arch, opensuse or conda" >&2
            exit 2 ;;
    esac
    echo "# The NIfTI library must be nifti_clib 3 with NIfTI-2 (nifti2_io.h, libnifti2, libznz): where the system has" \
        "none or an older one, build it from its sources with -D USE_NIFTI2_CODE=ON -D BUILD_SHARED_LIBS=ON."
}

if [[ ${1:-} == --list ]]; then
    list_for "${2:-}"
    exit 0
fi
arm=(g++-aarch64-linux-gnu qemu-user googletest)  # GoogleTest's sources
if [[ ${1:-} == --checks ]]; then
    packages+=(ccache clang-14 clang-format-14 clang-tidy-14 libomp-14-dev "${arm[@]}")
    shift
elif [[ ${1:-} == --arm ]]; then
    packages+=("${arm[@]}")
    shift
fi
if (($#)); then
    echo "usage: scripts/setup.sh [--checks | --arm | --list fedora|arch|opensuse|conda]" >&2
    exit 2
fi

if ! command -v dpkg-query >/dev/null; then
    # ID and ID_LIKE, as in ID=rocky and ID_LIKE="rhel centos fedora".
    system=$(. /etc/os-release 2>/dev/null && echo "${ID:-} ${ID_LIKE:-}" || true)
    case " $system " in
        *fedora* | *rhel*) name=fedora ;;
        *arch*) name=arch ;;
        *suse*) name=opensuse ;;
        *) name=conda ;;
    esac
    {
        echo "setup.sh: this is not a Debian system, so nothing is installed. This should install what is needed (names not" \
            "tried); then: cmake --preset release && cmake --build --preset release"
        list_for $name
    } >&2
    exit 1
fi
missing=()
for package in "${packages[@]}"; do
    status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [[ $status == installed* ]] || missing+=("$package")  # of two architectures it says so twice
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
