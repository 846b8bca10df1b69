#!/usr/bin/env bash
# Everything that needs a GPU, in one go: tests of kernels and networks on the card, compute-sanitizer, times of every
# kernel and of a step beside PyTorch's, a short real training. Results, as JSON and text, go to $OUT (default
# gpu-results).
#   scripts/gpu.sh bundle [ARCHITECTURE]   builds what the card needs into build/bundle (default 90: H100, H200)
#   scripts/gpu.sh                         runs it; builds it first where that has not been done
# build/bundle may be carried to a machine that has neither compilers nor Debian's packages.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bundle=$PWD/build/bundle

build_bundle() {
    scripts/setup.sh &&
        cmake -S . -B build/gpu -G Ninja -DCMAKE_BUILD_TYPE=Release -DIWSEG_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES="$1" &&
        cmake --build build/gpu --target iwseg test_backends && rm -rf "$bundle" &&
        cmake --install build/gpu --prefix "$bundle" --component bundle --strip >build/gpu/install.log &&
        du -sh "$bundle"
}

if [[ ${1:-} == bundle ]]; then
    build_bundle "${2:-90}"
    exit
elif [[ $# -gt 0 ]]; then
    echo "usage: scripts/gpu.sh [bundle [ARCHITECTURE]]" >&2
    exit 2
fi
[[ -x $bundle/bin/iwseg ]] || build_bundle 90 || exit 1

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
export IWSEG_GOLDEN_DIR=$bundle/share/golden IWSEG_SHARED_DIR=$PWD/../shared
iwseg=$bundle/bin/iwseg

if ! message=$("$iwseg" info --device cuda 2>&1); then
    echo "nothing is run: $message"
    exit 77
fi
echo "$message" | tee "$out/info.txt"
failed=0
step() {  # step NAME command...: runs it, its output in $out/NAME.txt, and says how it went
    local name=$1 begin=$SECONDS
    shift
    if "$@" >"$out/$name.txt" 2>&1; then
        echo "$name: done, $((SECONDS - begin)) s"
    else
        echo "$name: failed ($?), $((SECONDS - begin)) s; the end of $out/$name.txt:"
        tail -5 "$out/$name.txt"
        failed=1
    fi
}

tests=$bundle/bin/test_backends
step tests timeout 300 "$tests" --gtest_filter='*cuda*' --gtest_output="json:$out/tests.json"
if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck initcheck synccheck; do
        # Whole networks are left out: their kernels are those of the other tests.
        step "$tool" timeout 240 compute-sanitizer --tool $tool --error-exitcode 9 "$tests" \
            --gtest_filter='*cuda*-*Unet*:*NetworkGradient*:*GoldenGrid*:*ResidentTraining*'
    done
fi
for precision in bf16 fp32; do
    step "step_$precision" "$iwseg" bench step --device cuda --patch 128 --batch 2 --steps 30 --precision $precision --json
    step "kernels_$precision" "$iwseg" bench kernels --device cuda --patch 128 --batch 2 --steps 10 --precision $precision
    step "kernels_json_$precision" "$iwseg" bench kernels --device cuda --patch 128 --batch 2 --steps 10 --precision $precision --json
    if [[ -f ../shared/reference/unet_torch.py || -f shared/reference/unet_torch.py ]]; then
        oracle=../shared/reference/unet_torch.py
        [[ -f $oracle ]] || oracle=shared/reference/unet_torch.py
        torch=("$python" "$oracle" --device cuda --patch 128 --batch 2 --steps 20 --precision $precision)
        step "torch_$precision" timeout 120 "${torch[@]}"
        step "torch_${precision}_channels_last" timeout 120 "${torch[@]}" --channels-last
        step "torch_${precision}_channels_last_compiled" timeout 240 "${torch[@]}" --channels-last --compile
    fi
done
step "label" "$iwseg" bench label --device cuda --size 256
step "predict" "$iwseg" bench predict --device cuda --size 256 --patch 160 --precision bf16 --json
step "demo" "$iwseg" demo --out "$out/demo" --device cuda
find "$out/demo" \( -name '*.nii.gz' -o -name '*.safetensors' \) -delete 2>/dev/null
exit $failed
