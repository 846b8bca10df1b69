#!/usr/bin/env bash
# Everything that needs a GPU, in one go, what tells most first: a step, every kernel, PyTorch's step in its variants, the
# convolutions of 16 channels, components beside CuPy, tests of kernels and networks on the card, a short real training,
# compute-sanitizer. Results, as JSON and text, go to $OUT (default gpu-results). It ends within $BUDGET seconds (default
# 570), and says what it left out.
#   scripts/gpu.sh bundle [ARCHITECTURES]  builds what the card needs into build/bundle, and packs it as build/bundle.tar.xz
#                                          (default: all seven that iwseg is written for, Turing to Blackwell, and by
#                                          PTX what comes after; fewer where the packed one would be above 64 MiB)
#   scripts/gpu.sh                         runs it; unpacks or builds it first where that has not been done
# build/bundle or build/bundle.tar.xz may be carried to a machine that has neither compilers nor Debian's packages.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bundle=$PWD/build/bundle
packed=$bundle.tar.xz
most=$((64 << 20))  # bytes, packed: what may be carried to a machine in one go
# The first to go come last: cards of servers are the ones that are lent.
architectures=(90 80-real 100-real 89-real 86-real 120-real 75-real)

mib() { awk -v bytes="$1" 'BEGIN { printf "%.1f MiB", bytes / 1048576 }'; }

# Libraries that would not come from the bundle, and are neither glibc's nor the GPU vendor's.
missing_libraries() {
    env -u LD_LIBRARY_PATH ldd "$bundle"/bin/* |
        awk -v bundle="$bundle/" '$2 == "=>" && index($3, bundle) != 1 { print $1 }' | sort -u |
        grep -vE '^lib(c|m|dl|rt|pthread|cuda|cudnn.*|cublas.*|nvrtc.*)\.so'
}

build_bundle() {  # build_bundle ARCHITECTURES: separated by semicolons
    scripts/setup.sh &&
        cmake -S . -B build/gpu -G Ninja -DCMAKE_BUILD_TYPE=Release -DIWSEG_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES="$1" &&
        cmake --build build/gpu --target iwseg test_backends && rm -rf "$bundle" "$packed" &&
        cmake --install build/gpu --prefix "$bundle" --component bundle --strip >build/gpu/install.log || return 1
    local missing
    missing=$(missing_libraries)
    if [[ -n $missing ]]; then
        echo "the bundle lacks" $missing "(its programs would look elsewhere)" >&2
        return 1
    fi
    tar -C build -cJf "$packed" bundle || return 1
    echo "build/bundle: $(mib "$(du -sb "$bundle" | cut -f1)"), packed $(mib "$(stat -c %s "$packed")"), for $1;" \
        "left out: symbols, and the libraries of glibc, CUDA and cuDNN"
}

bundle_that_fits() {
    local kept=("${architectures[@]}") left=()
    while build_bundle "$(IFS=';'; echo "${kept[*]}")"; do
        (($(stat -c %s "$packed") > most)) || return 0
        left+=("${kept[-1]}")
        unset 'kept[-1]'
        ((${#kept[@]})) || break
        echo "that is above $(mib $most): without ${left[*]}"
    done
    return 1
}

if [[ ${1:-} == bundle && $# -eq 1 ]]; then
    bundle_that_fits
    exit
elif [[ ${1:-} == bundle && $# -eq 2 ]]; then
    build_bundle "$2" || exit
    (($(stat -c %s "$packed") <= most)) || { echo "that is above $(mib $most): name fewer architectures" >&2; exit 1; }
    exit
elif [[ $# -gt 0 ]]; then
    echo "usage: scripts/gpu.sh [bundle [ARCHITECTURES]]" >&2
    exit 2
fi
[[ -x $bundle/bin/iwseg || ! -f $packed ]] || tar -C build -xJf "$packed" || exit 1
[[ -x $bundle/bin/iwseg ]] || bundle_that_fits || exit 1

out=${OUT:-gpu-results}
mkdir -p "$out"
python=${PEERS_PYTHON:-python3}
# cuDNN and cuBLAS come with the CUDA toolkit, or inside Python's packages.
packages=$("$python" - 2>/dev/null <<'PYTHON'
import importlib.util, os
folders = []
for name in ("nvidia.cudnn", "nvidia.cublas", "nvidia.cu13"):
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        continue
    if spec:
        folders += [os.path.join(place, "lib") for place in spec.submodule_search_locations]
print(":".join(folders))
PYTHON
)
export LD_LIBRARY_PATH=$packages${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
# A card's clocks and the driver, for whoever reads the figures.
command -v nvidia-smi >/dev/null && nvidia-smi -q -d CLOCK,POWER >"$out/card.txt" 2>&1
shared=$PWD/../shared
[[ -d $shared ]] || shared=$PWD/shared
export IWSEG_GOLDEN_DIR=$bundle/share/golden IWSEG_SHARED_DIR=$shared
iwseg=$bundle/bin/iwseg

if ! message=$("$iwseg" info --device cuda 2>&1); then
    echo "nothing is run: $message"
    exit 77
fi
echo "$message" | tee "$out/info.txt"
failed=0
budget=${BUDGET:-570}
left_out=()
step() {  # step NAME SECONDS command...: runs it for at most so long, its output in $out/NAME.txt, and says how it went
    local name=$1 limit=$2 begin=$SECONDS left=$((budget - SECONDS)) code=0
    shift 2
    # What would be cut short at once is not begun.
    if ((left < 5)); then
        left_out+=("$name")
        return
    fi
    ((limit < left)) || limit=$left
    timeout "$limit" "$@" >"$out/$name.txt" 2>&1 || code=$?
    if ((code == 0)); then
        echo "$name: done, $((SECONDS - begin)) s"
    elif ((code == 124)); then
        echo "$name: not finished within $limit s"
        left_out+=("$name")
    else
        echo "$name: failed ($code), $((SECONDS - begin)) s; the end of $out/$name.txt:"
        tail -5 "$out/$name.txt"
        failed=1
    fi
}

size=(--device cuda --patch 128 --batch 2)
for precision in bf16 fp32; do
    step "step_$precision" 60 "$iwseg" bench step "${size[@]}" --steps 30 --precision $precision --json
    step "kernels_$precision" 60 "$iwseg" bench kernels "${size[@]}" --steps 10 --precision $precision --json
done
oracle=$shared/reference/unet_torch.py
if [[ -f $oracle ]]; then
    for precision in bf16 fp32; do
        torch=("$python" "$oracle" "${size[@]}" --steps 20 --precision $precision)
        step "torch_$precision" 60 "${torch[@]}"
        step "torch_${precision}_channels_last" 60 "${torch[@]}" --channels-last
    done
    step torch_bf16_channels_last_compiled 120 "$python" "$oracle" "${size[@]}" --steps 20 --precision bf16 --channels-last --compile
else
    left_out+=("PyTorch's step (its script is not here)")
fi
for pass in forward data_gradient weight_gradient; do
    step "convolution16_$pass" 40 "$iwseg" kernel convolution_$pass --shape 2 16 128 128 128 --dtype bf16 --launches 50 \
        --device cuda --check
done
step weights 20 "$iwseg" bench weights "${size[@]}" --steps 20 --json
step weights_cupy 40 "$python" bench/components_cupy.py --patch 128 --batch 2
tests=$bundle/bin/test_backends
step tests 200 "$tests" --gtest_filter='*cuda*' --gtest_output="json:$out/tests.json"
step label 30 "$iwseg" bench label --device cuda --size 256 --json
step predict 60 "$iwseg" bench predict --device cuda --size 256 --patch 160 --precision bf16 --json
step demo 90 "$iwseg" demo --out "$out/demo" --device cuda
find "$out/demo" \( -name '*.nii.gz' -o -name '*.safetensors' \) -delete 2>/dev/null
if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck initcheck synccheck; do
        # Whole networks are left out: their kernels are those of the other tests. Only our kernels are looked at, cuDNN's
        # are many and not ours to change.
        step "$tool" 240 compute-sanitizer --tool $tool --kernel-regex kns=iwseg --error-exitcode 9 "$tests" \
            --gtest_filter='*cuda*-*Unet*:*NetworkGradient*:*GoldenGrid*:*ResidentTraining*'
    done
else
    left_out+=("compute-sanitizer (not installed)")
fi
if ((${#left_out[@]})); then
    printf 'left out: %s\n' "${left_out[@]}"
fi
exit $failed
