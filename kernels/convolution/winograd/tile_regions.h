#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/convolution/winograd/transforms.h"
#include "kernels/device/view.h"

namespace iwseg::cpu {

constexpr std::int64_t parts_of(std::int64_t count, std::int64_t size) {
    return (count + size - 1) / size;
}

/// Vectors from one position to the next: an odd number, so that positions of a tile do not fall on the same lines of a
/// cache.
constexpr std::int64_t vectors_of_position(std::int64_t vectors) {
    return vectors | 1;
}

/// How tiles of a plane are cut into regions that a step takes: of one plane or, where planes are small, of several,
/// samples' planes following one another. By shape alone, as gradients of weights are summed step by step and are to be
/// the same bytes on any number of threads.
struct TileRegions {
    /// Of a step: so many that reading weights is no burden, and few enough for the second cache at few channels.
    static constexpr std::int64_t kStepTiles = 64;

    Shape shape;
    std::int64_t rows, columns;  ///< of tiles of a plane
    std::int64_t region_rows, region_columns;
    std::int64_t down, across;  ///< regions
    std::int64_t step_planes;

    explicit TileRegions(const Shape& of) : shape(of), rows(parts_of(of.h, 2)), columns(parts_of(of.w, 2)) {
        region_columns = parts_of(columns, parts_of(columns, kStepTiles));
        region_rows = parts_of(rows, parts_of(rows, std::clamp<std::int64_t>(kStepTiles / region_columns, 1, rows)));
        down = parts_of(rows, region_rows);
        across = parts_of(columns, region_columns);
        step_planes = std::clamp<std::int64_t>(kStepTiles / (region_rows * region_columns), 1, planes());
    }
    std::int64_t count() const { return down * across; }
    std::int64_t planes() const { return shape.n * shape.d; }
    std::int64_t largest() const { return region_rows * region_columns; }
    WinogradTiles tiles(std::int64_t region) const {
        const std::int64_t row = region / across * region_rows, column = region % across * region_columns;
        return {.first_row = row,
                .rows = std::min(region_rows, rows - row),
                .first_column = column,
                .columns = std::min(region_columns, columns - column),
                .height = shape.h,
                .width = shape.w};
    }
    /// Blocks' planes from a tensor's start to this one; channels in so many blocks.
    std::int64_t plane_at(std::int64_t plane, std::int64_t block, std::int64_t blocks) const {
        return (plane / shape.d * blocks + block) * shape.d + plane % shape.d;
    }
};

}  // namespace iwseg::cpu
