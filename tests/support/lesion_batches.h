#pragma once

#include <algorithm>
#include <cstdint>
#include <random>

#include "tests/support/loss_fixture.h"
#include "tests/support/masks.h"

/// Batches whose labels are the connected components of their targets, for losses that look at single lesions.
namespace iwseg {

/// target: of each voxel of the shape, 0, 1 or kIgnored. Logits are random, of deviation `spread`.
inline Batch lesion_batch(const Shape& shape, const Mask& target, int connectivity, double spread,
                          std::mt19937& random) {
    Batch b{shape, {}, target, {}, {}, 1};
    std::normal_distribution<float> logit(0.0f, static_cast<float>(spread));
    for (std::int64_t v = 0; v < shape.elements(); ++v) b.logit.push_back(logit(random));
    const Shape one{1, 1, shape.d, shape.h, shape.w};
    for (std::int64_t n = 0; n < shape.n; ++n) {
        Mask lesion(target.begin() + n * one.voxels(), target.begin() + (n + 1) * one.voxels());
        std::replace(lesion.begin(), lesion.end(), kIgnored, std::uint8_t{0});
        const Labels labels = flood_fill(lesion, one, connectivity);
        b.labels.insert(b.labels.end(), labels.begin(), labels.end());
    }
    b.stride = 1 + *std::max_element(b.labels.begin(), b.labels.end());
    b.nearest_wanted = shape.elements() <= 2000;
    b.table.assign(static_cast<std::size_t>(shape.n * b.stride), 1.0f);
    return b;
}

/// Lesions by chance, of which more and larger ones the denser; some voxels are ignored.
inline Mask random_lesions(const Shape& shape, double density, double ignored, std::mt19937& random) {
    Mask target(static_cast<std::size_t>(shape.elements()));
    std::bernoulli_distribution lesion(density), unknown(ignored);
    for (auto& voxel : target) voxel = unknown(random) ? kIgnored : static_cast<std::uint8_t>(lesion(random));
    return target;
}

}  // namespace iwseg
