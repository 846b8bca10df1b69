#include "kernels/components/nearest_lesion.h"

#include <cstdint>

#include "kernels/components/nearest_offset.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/reduce.cuh"

// Three launches, an axis each. Rows are searched by bits, a warp a row; columns voxel by voxel, outwards from each
// until nothing nearer can come: as many steps as the lesion is far, by threads that read side by side.
namespace iwseg::IWSEG_BACKEND {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;

__global__ void __launch_bounds__(kThreads)
    search_rows_kernel(const std::uint8_t* target, std::int64_t rows, int width, NearestOffset* found) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    for (std::int64_t row = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / 32; row < rows;
         row += std::int64_t{gridDim.x} * kWarps) {
        const std::uint8_t* from = target + row * width;
        NearestOffset* to = found + row * width;
        int last = -1;  // lesion voxel before these 32
        for (int first = 0; first < width; first += 32) {
            const int w = first + lane;
            const unsigned bits = __ballot_sync(kAllLanes, w < width && from[w] == 1);
            const unsigned before = bits & (0xFFFFFFFFu >> (31 - lane));
            const int left = before != 0 ? first + 31 - __clz(static_cast<int>(before)) : last;
            if (w < width) to[w] = left < 0 ? kNoOffset : offset_to(0, left - w);
            if (bits != 0) last = first + 31 - __clz(static_cast<int>(bits));
        }
        int next = -1;  // and after them
        for (int first = (width - 1) / 32 * 32; first >= 0; first -= 32) {
            const int w = first + lane;
            const unsigned bits = __ballot_sync(kAllLanes, w < width && from[w] == 1);
            const unsigned after = bits & (0xFFFFFFFFu << lane);
            const int right = after != 0 ? first + __ffs(static_cast<int>(after)) - 1 : next;
            if (w < width && right >= 0 && (to[w] == kNoOffset || right - w < -offset_w(to[w])))
                to[w] = offset_to(0, right - w);
            if (bits != 0) next = first + __ffs(static_cast<int>(bits)) - 1;
        }
    }
}

/// Which place along a column of `length`, `step` apart, the nearest is at, seen from place x; -1: there is none.
__device__ __forceinline__ int nearest_along(const NearestOffset* column, int x, int length, std::int64_t step) {
    std::int64_t best = INT64_MAX;
    int found = -1;
    const auto consider = [&](int at, std::int64_t along) {
        if (at < 0 || at >= length) return;
        const NearestOffset offset = column[at * step];
        if (offset == kNoOffset) return;
        const std::int64_t distance = along + squared(offset);
        if (distance > best || (distance == best && at > found)) return;
        best = distance;
        found = at;
    };
    for (int r = 0; r < length; ++r) {
        const std::int64_t along = std::int64_t{r} * r;
        if (along > best) break;
        consider(x - r, along);
        if (r > 0) consider(x + r, along);
    }
    return found;
}

__global__ void __launch_bounds__(kThreads)
    search_slices_kernel(const NearestOffset* of_row, Shape shape, NearestOffset* of_slice) {
    const std::int64_t all = shape.n * shape.voxels();
    for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < all;
         i += std::int64_t{gridDim.x} * kThreads) {
        const int h = static_cast<int>(i / shape.w % shape.h);
        const NearestOffset* column = of_row + (i - h * shape.w);
        const int to = nearest_along(column, h, static_cast<int>(shape.h), shape.w);
        of_slice[i] = to < 0 ? kNoOffset : offset_to(to - h, offset_w(column[to * shape.w]));
    }
}

__global__ void __launch_bounds__(kThreads) search_volumes_kernel(const NearestOffset* of_slice, Shape shape,
                                                                  const std::int32_t* labels, std::int32_t* nearest) {
    const std::int64_t all = shape.n * shape.voxels(), slice = shape.h * shape.w;
    for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < all;
         i += std::int64_t{gridDim.x} * kThreads) {
        const int d = static_cast<int>(i / slice % shape.d);
        const std::int64_t begin = i - d * slice;
        const int to = nearest_along(of_slice + begin, d, static_cast<int>(shape.d), slice);
        std::int32_t label = 0;
        if (to >= 0) {
            const NearestOffset across = of_slice[begin + to * slice];
            label = labels[begin + to * slice + offset_h(across) * shape.w + offset_w(across)];
        }
        nearest[i] = label;
    }
}

}  // namespace

std::int64_t nearest_lesion_scratch_bytes(const Shape& target) {
    return 2 * target.elements() * static_cast<std::int64_t>(sizeof(NearestOffset));
}

void nearest_lesion(Stream stream, View target, View labels, std::int32_t* nearest, void* scratch) {
    require_nearest_lesion(target, labels);
    const Shape& s = target.shape;
    auto* of_row = static_cast<NearestOffset*>(scratch);
    NearestOffset* of_slice = of_row + s.elements();
    const std::int64_t rows = s.n * s.d * s.h;
    const LaunchShape voxels{blocks_for(s.elements(), kThreads), kThreads};
    launch(search_rows_kernel, {blocks_for(rows, kWarps), kThreads}, stream, target.as<const std::uint8_t>(), rows,
           static_cast<int>(s.w), of_row);
    launch(search_slices_kernel, voxels, stream, of_row, s, of_slice);
    launch(search_volumes_kernel, voxels, stream, of_slice, s, labels.as<const std::int32_t>(), nearest);
}

}  // namespace iwseg::IWSEG_BACKEND
