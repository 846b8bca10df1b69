#include "kernels/components/size_weights.h"

#include <algorithm>
#include <bit>
#include <stdexcept>
#include <string>

#include "kernels/cpu/parallel.h"

namespace iwseg {

void require_lesions(const View& target, const View& labels, std::int64_t stride, const char* operation) {
    if (target.type != Type::u8 || labels.type != Type::i32 || target.shape.c != 1 || !(target.shape == labels.shape) ||
        stride < 1)
        throw std::invalid_argument(std::string(operation) +
                                    ": expected a u8 target of one channel, i32 labels of its shape and a table of one "
                                    "label or more");
}

namespace cpu {

void size_weights(Stream stream, View target, View labels, float* table, std::int64_t stride) {
    require_lesions(target, labels, stride, "size_weights");
    const std::int64_t voxels = target.shape.voxels(), samples = target.shape.n;
    const auto sizes_of = [&](std::int64_t n) { return table + n * stride; };
    parallel_for(stream, samples, [&](std::int64_t n) {
        const auto* lesion = target.as<const std::uint8_t>() + n * voxels;
        const auto* label = labels.as<const std::int32_t>() + n * voxels;
        float* const sizes = sizes_of(n);
        std::fill_n(sizes, stride, std::bit_cast<float>(std::uint32_t{0}));
        std::uint32_t all = 0;
        for (std::int64_t v = 0; v < voxels; ++v) {
            if (lesion[v] != 1) continue;
            ++all;
            sizes[label[v]] = std::bit_cast<float>(std::bit_cast<std::uint32_t>(sizes[label[v]]) + 1);
        }
        sizes[0] = std::bit_cast<float>(all);
    });
    const bool any = [&] {
        for (std::int64_t n = 0; n < samples; ++n)
            if (std::bit_cast<std::uint32_t>(sizes_of(n)[0]) > 0) return true;
        return false;
    }();
    parallel_for(stream, samples, [&](std::int64_t n) {
        float* const weights = sizes_of(n);
        weights[0] = any ? kRestWeight : 0.0f;
        for (std::int64_t l = 1; l < stride; ++l) {
            const auto size = std::bit_cast<std::uint32_t>(weights[l]);
            weights[l] = size > 0 ? 1.0f / (static_cast<float>(size) + kAddedVoxels) : 0.0f;
        }
    });
}

}  // namespace cpu
}  // namespace iwseg
