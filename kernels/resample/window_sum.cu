#include "kernels/resample/window_sum.h"

#include "kernels/cuda/cells.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/pack.cuh"

// A thread takes a voxel of the result and a pack of its channels: all of a window to sum, one voxel to spread. Both
// tensors come from memory once, voxels of `small` again from the cache.
namespace iwseg::IWSEG_BACKEND {
namespace {

/// The pack of a voxel, counted in packs: so nvcc sees that it is aligned.
template <int W>
__device__ __forceinline__ std::int64_t place_of(const Cells& cells, const Cell& cell) {
    const std::int64_t plane = std::int64_t{cell.n} * cells.d + cell.d;
    return (((plane * cells.h + cell.h) * cells.w + cell.w) * cells.packs + cell.pack) * W;
}

template <int W, class T>
__device__ __forceinline__ void store_result(const float (&values)[W], bool accumulate, T* to) {
    float result[W] = {};
    if (accumulate) load_pack<W>(to, result);
#pragma unroll
    for (int k = 0; k < W; ++k) result[k] = accumulate ? result[k] + values[k] : values[k];
    store_pack<W>(to, result);
}

template <class T, int W>
__global__ void __launch_bounds__(kCellThreads)
    sum_windows_kernel(const T* big, Cells cells, Sides window, float scale, bool accumulate, T* small) {
    const Cell cell = cell_of(cells);
    if (!cell.inside) return;
    const std::int64_t voxel = std::int64_t{cells.packs} * W, row = voxel * cells.w * window.w,
                       plane = row * cells.h * window.h;
    const T* from = big + (std::int64_t{cell.n} * cells.d + cell.d) * window.d * plane + cell.h * window.h * row +
                    cell.w * window.w * voxel + std::int64_t{cell.pack} * W;
    float sum[W] = {};
    for (int d = 0; d < window.d; ++d)
        for (int h = 0; h < window.h; ++h)
            for (int w = 0; w < window.w; ++w) {
                float value[W];
                load_pack<W>(from + d * plane + h * row + w * voxel, value);
#pragma unroll
                for (int k = 0; k < W; ++k) sum[k] += value[k];
            }
#pragma unroll
    for (int k = 0; k < W; ++k) sum[k] *= scale;
    store_result(sum, accumulate, small + place_of<W>(cells, cell));
}

template <class T, int W>
__global__ void __launch_bounds__(kCellThreads)
    spread_windows_kernel(const T* small, Cells cells, Sides window, float scale, bool accumulate, T* big) {
    const Cell cell = cell_of(cells);
    if (!cell.inside) return;
    const Cells few{cells.d / window.d, cells.h / window.h, cells.w / window.w, cells.packs, 0};
    const Cell from{cell.n, cell.d / window.d, cell.h / window.h, cell.w / window.w, cell.pack, true};
    float value[W];
    load_pack<W>(small + place_of<W>(few, from), value);
#pragma unroll
    for (int k = 0; k < W; ++k) value[k] *= scale;
    store_result(value, accumulate, big + place_of<W>(cells, cell));
}

}  // namespace

void sum_windows(Stream stream, View big, float scale, View small, Write write) {
    const Sides window = window_between(big, small, "sum_windows");
    const Shape shape = innermost(small, "sum_windows");
    with_real(big.type, [&](auto real) {
        using T = decltype(real);
        with_pack<T>(shape.c, [&](auto width) {
            const Cells cells = cells_of(shape, width);
            launch(sum_windows_kernel<T, width>, grid_of(cells, shape.n), stream, big.as<const T>(), cells, window,
                   scale, write == Write::accumulate, small.as<T>());
        });
    });
}

void spread_windows(Stream stream, View small, float scale, View big, Write write) {
    const Sides window = window_between(big, small, "spread_windows");
    const Shape shape = innermost(big, "spread_windows");
    with_real(big.type, [&](auto real) {
        using T = decltype(real);
        with_pack<T>(shape.c, [&](auto width) {
            const Cells cells = cells_of(shape, width);
            launch(spread_windows_kernel<T, width>, grid_of(cells, shape.n), stream, small.as<const T>(), cells, window,
                   scale, write == Write::accumulate, big.as<T>());
        });
    });
}

}  // namespace iwseg::IWSEG_BACKEND
