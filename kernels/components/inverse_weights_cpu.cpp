#include "kernels/components/inverse_weights.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "kernels/cpu/cpu_blocks.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vector_clones.h"

namespace iwseg::cpu {
namespace {

/// Length of the run of one label that starts at `labels`.
IWSEG_VECTOR_CLONES std::int64_t run_length(const std::int32_t* labels, std::int64_t voxels) {
    constexpr std::int64_t kStep = 64;  // compared at once: most of a patch is background
    std::int64_t length = 0;
    while (length + kStep <= voxels) {
        bool same = true;
        for (std::int64_t i = 0; i < kStep; ++i) same &= labels[length + i] == labels[0];
        if (!same) break;
        length += kStep;
    }
    while (length < voxels && labels[length] == labels[0]) ++length;
    return length;
}

/// The weights of one patch. Sizes are counted in the table itself, as integers. False: a label outside of the table.
bool weights_of_patch(const std::int32_t* labels, std::int64_t voxels, float* table, std::int64_t stride,
                      WeightClip clip) {
    std::fill_n(table, stride, 0.0f);
    std::int64_t ignored = 0;
    for (std::int64_t v = 0; v < voxels;) {
        const std::int64_t length = run_length(labels + v, voxels - v);
        const std::int32_t label = labels[v];
        v += length;
        if (label == kIgnoredLabel) {
            ignored += length;
            continue;
        }
        if (label < 0 || label >= stride) return false;
        float& place = table[label];
        place = std::bit_cast<float>(std::bit_cast<std::uint32_t>(place) + static_cast<std::uint32_t>(length));
    }
    // K + 1: background is one of these, where there is any.
    const double present = static_cast<double>(
        std::count_if(table, table + stride, [](float size) { return std::bit_cast<std::uint32_t>(size) != 0; }));
    for (std::int64_t l = 0; l < stride; ++l) {
        const std::uint32_t size = std::bit_cast<std::uint32_t>(table[l]);
        if (size == 0) continue;
        table[l] = inverse_weight(static_cast<double>(voxels - ignored), present, size, clip);
    }
    return true;
}

}  // namespace

void inverse_weight_table(Stream stream, View labels, float* table, std::int64_t stride, WeightClip clip) {
    require_labels(labels, stride, "inverse_weight_table");
    const std::int64_t voxels = labels.shape.voxels();
    std::atomic<bool> inside = true;
    parallel_for(stream, labels.shape.n, [&](std::int64_t n) {
        const auto* patch = labels.as<const std::int32_t>() + n * voxels;
        if (!weights_of_patch(patch, voxels, table + n * stride, stride, clip)) inside = false;
    });
    if (!inside)
        throw std::invalid_argument("inverse_weight_table: a label is outside of the table's 0 to " +
                                    std::to_string(stride - 1));
}

void look_up_weights(Stream stream, View labels, const float* table, std::int64_t stride, View weights) {
    require_labels(labels, stride, "look_up_weights");
    require_same(labels, weights, "look_up_weights");
    if (weights.type != Type::f32) throw std::invalid_argument("look_up_weights: weights are f32");
    const auto* from = labels.as<const std::int32_t>();
    auto* to = weights.as<float>();
    for (std::int64_t n = 0; n < labels.shape.n; ++n) {
        const std::int64_t start = n * labels.shape.voxels();
        parallel_ranges(stream, labels.shape.voxels(), [&](std::int64_t first, std::int64_t last) {
            for (std::int64_t v = start + first; v < start + last; ++v)
                to[v] = from[v] == kIgnoredLabel ? 0.0f : table[n * stride + from[v]];
        });
    }
}

}  // namespace iwseg::cpu
