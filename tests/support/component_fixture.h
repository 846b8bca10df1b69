#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <vector>

#include "kernels/components/component_weights.h"
#include "kernels/components/components.h"
#include "tests/support/backends.h"
#include "tests/support/kernel_tensor.h"
#include "tests/support/masks.h"

/// Components and their weights by a backend's kernels, beside those by a plain flood fill.
namespace iwseg {

inline Labels label(TestBackend backend, const Mask& mask, const Shape& shape, int connectivity,
                    std::vector<std::int32_t>* counts = nullptr, Stream stream = {}) {
    const Backend& device = backend_of(backend);
    const KernelArray<std::uint8_t> on_device(device, mask);
    const KernelArray<std::int32_t> labels(device, shape.elements() + 1, -7);  // the last is a sentinel
    const KernelArray<std::int32_t> found(device, shape.n, -1);
    const auto scratch = kernel_scratch(device, device.components_scratch_bytes(shape, connectivity));
    device.label_components(stream, {on_device.data(), shape, Type::u8}, {labels.data(), shape, Type::i32},
                            found.data(), connectivity, scratch.data());
    Labels result = labels.host();
    EXPECT_EQ(result.back(), -7) << "wrote past the labels";
    result.pop_back();
    if (counts) *counts = found.host();
    if (backend == TestBackend::simt) simt::check_sentinels();
    return result;
}

inline std::int32_t largest(const Labels& labels) {
    std::int32_t most = 0;
    for (const std::int32_t l : labels) most = std::max(most, l);
    return most;
}

inline void expect_as_flooded(TestBackend backend, const Mask& mask, const Shape& shape) {
    for (const int connectivity : kConnectivities) {
        SCOPED_TRACE(testing::Message() << "connectivity " << connectivity << ", shape " << shape.d << " x " << shape.h
                                        << " x " << shape.w);
        const Labels expected = flood_fill(mask, shape, connectivity);
        std::vector<std::int32_t> counts;
        const Labels found = label(backend, mask, shape, connectivity, &counts);
        ASSERT_TRUE(found == expected);
        ASSERT_EQ(counts[0], largest(expected));
    }
}

/// The weight of each voxel, as a loss looks it up.
inline std::vector<float> voxel_weights(TestBackend backend, const Mask& mask, const Shape& shape, int connectivity,
                                        WeightClip clip = {}) {
    const Backend& device = backend_of(backend);
    const std::int64_t stride = component_label_bound(shape, connectivity);
    const KernelArray<std::uint8_t> on_device(device, mask);
    const KernelArray<std::int32_t> labels(device, shape.elements() + 1, -7);  // the last is a sentinel
    const KernelArray<float> table(device, shape.n * stride + 1, -7.0f);
    const auto scratch = kernel_scratch(device, device.component_weights_scratch_bytes(shape, connectivity));
    device.component_weights({}, {on_device.data(), shape, Type::u8}, connectivity, clip,
                             {labels.data(), shape, Type::i32}, table.data(), scratch.data());
    const Labels found = labels.host();
    const std::vector<float> weight_of = table.host();
    EXPECT_EQ(found.back(), -7) << "wrote past the labels";
    EXPECT_EQ(weight_of.back(), -7.0f) << "wrote past the table";
    if (backend == TestBackend::simt) simt::check_sentinels();
    std::vector<float> weights;
    for (std::size_t v = 0; v < mask.size(); ++v) {
        const std::int64_t label = mask[v] != 0 ? found[v] : 0;
        if (label < (mask[v] != 0) || label >= stride) throw std::logic_error("a label outside of the bound");
        weights.push_back(weight_of[static_cast<std::int64_t>(v) / shape.voxels() * stride + label]);
    }
    return weights;
}

/// The definition, by flood fill and voxel by voxel.
inline std::vector<float> by_definition(const Mask& mask, const Shape& shape, int connectivity, WeightClip clip = {}) {
    std::vector<float> weights;
    const Shape one{1, 1, shape.d, shape.h, shape.w};
    for (std::int64_t n = 0; n < shape.n; ++n) {
        const auto from = mask.begin() + n * one.voxels();
        const Labels labels = flood_fill(Mask(from, from + one.voxels()), one, connectivity);
        std::map<std::int32_t, double> sizes;
        for (const std::int32_t l : labels) ++sizes[l];
        for (const std::int32_t l : labels)
            weights.push_back(static_cast<float>(
                std::clamp<double>(static_cast<double>(labels.size()) / (static_cast<double>(sizes.size()) * sizes[l]),
                                   clip.low, clip.high)));
    }
    return weights;
}

}  // namespace iwseg
