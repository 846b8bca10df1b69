#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <vector>

#include "kernels/components/components.h"
#include "kernels/device/view.h"

/// Binary masks for tests, and their components the plain way.
namespace iwseg {

using Mask = std::vector<std::uint8_t>;
using Labels = std::vector<std::int32_t>;

/// The reference: voxels in raster order, each unlabelled one floods its component.
inline Labels flood_fill(const Mask& mask, const Shape& shape, int connectivity) {
    const int steps = connectivity == 6 ? 1 : connectivity == 18 ? 2 : 3;  // axes along which neighbours may differ
    Labels labels(mask.size(), 0);
    std::vector<std::int64_t> front;
    std::int32_t count = 0;
    for (std::int64_t first = 0; first < static_cast<std::int64_t>(mask.size()); ++first) {
        if (mask[first] == 0 || labels[first] != 0) continue;
        labels[first] = ++count;
        front.push_back(first);
        while (!front.empty()) {
            const std::int64_t v = front.back(), x = v % shape.w, y = v / shape.w % shape.h, z = v / shape.w / shape.h;
            front.pop_back();
            for (int step = 0; step < 27; ++step) {
                const int dz = step / 9 - 1, dy = step / 3 % 3 - 1, dx = step % 3 - 1;
                if (std::abs(dz) + std::abs(dy) + std::abs(dx) > steps) continue;
                if (z + dz < 0 || z + dz >= shape.d || y + dy < 0 || y + dy >= shape.h) continue;
                if (x + dx < 0 || x + dx >= shape.w) continue;
                const std::int64_t next = ((z + dz) * shape.h + y + dy) * shape.w + x + dx;
                if (mask[next] == 0 || labels[next] != 0) continue;
                labels[next] = count;
                front.push_back(next);
            }
        }
    }
    return labels;
}

inline Mask random_mask(const Shape& shape, double density, std::mt19937& random) {
    Mask mask(shape.elements());
    std::bernoulli_distribution lesion(density);
    std::uniform_int_distribution<int> value(1, 254);  // any nonzero byte is foreground; 255 may be kIgnored
    for (auto& voxel : mask) voxel = lesion(random) ? static_cast<std::uint8_t>(value(random)) : 0;
    return mask;
}

/// A square spiral over the two axes of a shape that are n long: walks inwards, keeping one empty row between the arms.
inline Mask spiral_mask(const Shape& shape, int n) {
    Mask spiral(shape.elements(), 0);
    auto at = [&](int y, int x) -> std::uint8_t& { return spiral[y * n + x]; };
    int y = 0, x = 0, dy = 0, dx = 1;
    at(0, 0) = 1;
    for (int turns = 0; turns < 2;) {
        const auto free = [&](int k) {
            const int v = y + k * dy, u = x + k * dx;
            return v < 0 || v >= n || u < 0 || u >= n ? k == 2 : at(v, u) == 0;
        };
        if (free(1) && free(2)) {
            y += dy, x += dx, turns = 0;
            at(y, x) = 1;
        } else {
            const int turned = dx;
            dx = -dy, dy = turned, ++turns;
        }
    }
    return spiral;
}

/// Teeth along the last axis but one, which meet in the last row, where there is a back to the comb.
inline Mask comb_mask(const Shape& shape, bool back) {
    Mask comb(shape.elements(), 0);
    for (std::int64_t v = 0; v < shape.elements(); ++v)
        comb[v] = v % shape.w % 2 == 0 || (back && v / shape.w % shape.h == shape.h - 1);
    return comb;
}

}  // namespace iwseg
