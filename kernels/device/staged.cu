#include <stdexcept>

#include "kernels/components/ignored.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/pack.cuh"
#include "kernels/device/staged.h"

// A batch is copied from the host to a place beside the one that a step reads, while the step before is at work, as
// bf16 and 16-bit labels where they suffice. This moves it over, all parts in one launch and 16 bytes a thread at a
// time: 2 x 128^3 voxels are 21 MB read and 38 MB written in bf16 with labels, some 20 us of an H100, where the copy
// itself takes a millisecond or so that no step waits for.
namespace iwseg::IWSEG_BACKEND {
namespace {

constexpr int kThreads = 256;
constexpr unsigned kMostBlocks = 1024;

struct Parts {
    int count = 0;
    StagedPart parts[kMostStagedParts];
};

/// 16 bytes of `from`; W elements of them become as many of 4 bytes.
__device__ __forceinline__ void take_pack(const StagedPart& part, std::int64_t pack) {
    constexpr int W = kPackWidth<std::uint16_t>;
    const uint4 bits = static_cast<const uint4*>(part.from)[pack];
    if (part.form == StagedForm::as_they_are) return store_16_bytes(static_cast<uint4*>(part.to) + pack, bits);
    const auto narrow = std::bit_cast<Pack<std::uint16_t, W>>(bits);
    Pack<std::uint32_t, W> wide;
#pragma unroll
    for (int i = 0; i < W; ++i) {
        const std::uint32_t value = narrow.values[i];
        const bool label = part.form == StagedForm::u16_to_label;
        wide.values[i] = !label                   ? value << 16
                         : value == kShortIgnored ? static_cast<std::uint32_t>(kIgnoredLabel)
                                                  : value;
    }
    uint4* to = static_cast<uint4*>(part.to) + 2 * pack;
    store_16_bytes(to, {wide.values[0], wide.values[1], wide.values[2], wide.values[3]});
    store_16_bytes(to + 1, {wide.values[4], wide.values[5], wide.values[6], wide.values[7]});
}

__global__ void __launch_bounds__(kThreads) take_kernel(Parts parts) {
    const std::int64_t first = std::int64_t{blockIdx.x} * kThreads + threadIdx.x,
                       step = std::int64_t{gridDim.x} * kThreads;
    for (int p = 0; p < parts.count; ++p) {
        const std::int64_t packs = (parts.parts[p].bytes + 15) / 16;
        for (std::int64_t i = first; i < packs; i += step) take_pack(parts.parts[p], i);
    }
}

}  // namespace

void take_staged(Stream stream, std::span<const StagedPart> parts) {
    if (parts.size() > kMostStagedParts) throw std::invalid_argument("take_staged: more parts than one launch takes");
    Parts list;
    std::int64_t most = 0;
    for (const StagedPart& part : parts) {
        list.parts[list.count++] = part;
        most = std::max(most, part.bytes);
    }
    launch(take_kernel, {blocks_for((most + 15) / 16, kThreads, kMostBlocks), kThreads}, stream, list);
}

}  // namespace iwseg::IWSEG_BACKEND
