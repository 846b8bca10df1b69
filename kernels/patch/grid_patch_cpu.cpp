#include "kernels/patch/grid_patch.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/cpu/parallel.h"

namespace iwseg::cpu {
namespace {

/// The part of a patch along one axis that lies inside the scan: patch voxels [low, high).
struct Range {
    std::int64_t start, low, high;

    Range(const GridPatch& p, unsigned axis)
        : start(p.start[axis]),
          low(std::clamp<std::int64_t>(-start, 0, p.patch)),
          high(std::clamp<std::int64_t>(p.scan[axis] - start, 0, p.patch)) {}
    bool holds(std::int64_t v) const { return v >= low && v < high; }
};

float sigmoid(float z) {
    return static_cast<float>(1.0 / (1.0 + std::exp(-static_cast<double>(z))));
}

}  // namespace

std::int64_t extract_patch_scratch_bytes(std::int64_t) {
    return 0;
}

void extract_patch(Stream stream, View scan, const GridPatch& patch, View seen, void*) {
    const Range rd(patch, 0), rh(patch, 1), rw(patch, 2);
    const std::int64_t p = patch.padded, side = patch.patch, margin = patch.margin;
    const auto outside = [&](std::int64_t v) { return v < margin || v >= margin + side; };
    for (std::int64_t c = 0; c < scan.shape.c; ++c) {
        const float* from = scan.as<const float>() + c * scan.shape.voxels();
        float* to = seen.as<float>() + c * p * p * p;
        std::vector<float> lowest_in(static_cast<std::size_t>(side), std::numeric_limits<float>::infinity());
        parallel_for(stream, side, [&](std::int64_t d) {
            for (std::int64_t h = 0; h < side; ++h) {
                float* row = to + ((margin + d) * p + margin + h) * p + margin;
                std::fill_n(row, side, 0.0f);
                if (rd.holds(d) && rh.holds(h) && rw.high > rw.low)
                    std::copy_n(
                        from + ((rd.start + d) * scan.shape.h + rh.start + h) * scan.shape.w + rw.start + rw.low,
                        rw.high - rw.low, row + rw.low);
                lowest_in[d] = std::min(lowest_in[d], *std::min_element(row, row + side));
            }
        });
        if (p == side) continue;
        const float lowest = *std::min_element(lowest_in.begin(), lowest_in.end());
        parallel_for(stream, p, [&](std::int64_t d) {
            for (std::int64_t h = 0; h < p; ++h)
                for (std::int64_t w = 0; w < p; ++w)
                    if (outside(d) || outside(h) || outside(w)) to[(d * p + h) * p + w] = lowest;
        });
    }
}

void accumulate_patch(Stream stream, View logit, const GridPatch& patch, float* logit_sum, float* probability_sum) {
    const Range rd(patch, 0), rh(patch, 1), rw(patch, 2);
    const std::int64_t p = patch.padded, margin = patch.margin;
    parallel_for(stream, rd.high - rd.low, [&](std::int64_t slice) {
        const std::int64_t d = rd.low + slice;
        for (std::int64_t h = rh.low; h < rh.high; ++h) {
            const float* row = logit.as<const float>() + ((margin + d) * p + margin + h) * p + margin;
            const std::int64_t to = ((rd.start + d) * patch.scan[1] + rh.start + h) * patch.scan[2] + rw.start;
            for (std::int64_t w = rw.low; w < rw.high; ++w) {
                logit_sum[to + w] += row[w];
                probability_sum[to + w] += sigmoid(row[w]);
            }
        }
    });
}

void average_patches(Stream stream, const GridCover& grid, float* logit_sum, float* probability_sum) {
    const std::int64_t height = grid.scan[1], width = grid.scan[2];
    parallel_for(stream, grid.scan[0], [&](std::int64_t i) {
        for (std::int64_t j = 0; j < height; ++j)
            for (std::int64_t k = 0; k < width; ++k) {
                const auto share = 1.0f / static_cast<float>(cover_along(grid, 0, i) * cover_along(grid, 1, j) *
                                                             cover_along(grid, 2, k));
                logit_sum[(i * height + j) * width + k] *= share;
                probability_sum[(i * height + j) * width + k] *= share;
            }
    });
}

}  // namespace iwseg::cpu
