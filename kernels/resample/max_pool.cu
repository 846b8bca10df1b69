#include "kernels/resample/max_pool.h"

#include "kernels/cuda/cells.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/pack.cuh"
#include "kernels/device/dispatch.h"

// A thread takes one window: eight packs of channels, 16 bytes each. Forward reads x and writes y, an eighth of it;
// backward finds the place of the largest again, so it reads x and diff_y and writes diff_x, all once.
namespace iwseg::IWSEG_BACKEND {
namespace {

/// Where a thread's window begins in x and in y, and how far it is to the next number along w, h and d of x.
struct Window {
    std::int64_t in_x, in_y, w, h, d;

    __device__ __forceinline__ Window(const Cells& cells, const Cell& cell, int pack_width)
        : w(std::int64_t{cells.packs} * pack_width), h(w * 2 * cells.w), d(h * 2 * cells.h) {
        const std::int64_t sample = cell.n, pack = std::int64_t{cell.pack} * pack_width;
        in_x = (sample * cells.d + cell.d) * 2 * d + cell.h * 2 * h + cell.w * 2 * w + pack;
        // Counted in packs: so nvcc sees that a pack is aligned, and stores it at once.
        in_y = ((((sample * cells.d + cell.d) * cells.h + cell.h) * cells.w + cell.w) * cells.packs + cell.pack) *
               pack_width;
    }
    /// The window's voxels in raster order.
    __device__ __forceinline__ std::int64_t voxel(int i) const {
        return in_x + (i >> 2) * d + (i >> 1 & 1) * h + (i & 1) * w;
    }
};

/// The first of the largest in raster order. A NaN wins, as in PyTorch: a broken activation must not vanish.
template <int W, class T>
__device__ __forceinline__ void find_largest(const T* x, const Window& window, float (&largest)[W], int (&place)[W]) {
    load_pack<W>(x + window.voxel(0), largest);
#pragma unroll
    for (int k = 0; k < W; ++k) place[k] = 0;
#pragma unroll
    for (int i = 1; i < 8; ++i) {
        float value[W];
        load_pack<W>(x + window.voxel(i), value);
#pragma unroll
        for (int k = 0; k < W; ++k) {
            const bool take = value[k] > largest[k] || value[k] != value[k];
            largest[k] = take ? value[k] : largest[k];
            place[k] = take ? i : place[k];
        }
    }
}

template <class T, int W>
__global__ void __launch_bounds__(kCellThreads) pool_kernel(const T* x, Cells cells, T* y) {
    const Cell cell = cell_of(cells);
    if (!cell.inside) return;
    const Window window(cells, cell, W);
    float largest[W];
    int place[W];
    find_largest(x, window, largest, place);
    store_pack<W>(y + window.in_y, largest);
}

template <class T, int W>
__global__ void __launch_bounds__(kCellThreads)
    pool_gradient_kernel(const T* x, const T* diff_y, Cells cells, bool accumulate, T* diff_x) {
    const Cell cell = cell_of(cells);
    if (!cell.inside) return;
    const Window window(cells, cell, W);
    float gradient[W], largest[W];
    int place[W];
    load_pack<W>(diff_y + window.in_y, gradient);
    find_largest(x, window, largest, place);
    Pack<T, W> before[8] = {};  // all under way before the first is written: a store is not overtaken by loads
    if (accumulate) {
#pragma unroll
        for (int i = 0; i < 8; ++i) before[i] = pack_at<W>(diff_x + window.voxel(i));
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        float value[W];
#pragma unroll
        for (int k = 0; k < W; ++k) value[k] = to_f32(before[i].values[k]) + (place[k] == i ? gradient[k] : 0.0f);
        store_pack<W>(diff_x + window.voxel(i), value);
    }
}

// ----------------------------------------------------------------------------------------------------------------------

void require_halves(const View& x, const View& y) {
    const Shape half{x.shape.n, x.shape.c, x.shape.d / 2, x.shape.h / 2, x.shape.w / 2};
    if (!(y.shape == half) || x.shape.d % 2 || x.shape.h % 2 || x.shape.w % 2 || x.layout != y.layout)
        throw std::invalid_argument("max_pool: the result is half the size of an input of even sides, in its layout");
}

}  // namespace

void max_pool(Stream stream, View x, View y) {
    require_halves(x, y);
    const Shape shape = innermost(y, "max_pool");
    with_real(x.type, [&](auto real) {
        using T = decltype(real);
        with_pack<T>(shape.c, [&](auto width) {
            const Cells cells = cells_of(shape, width);
            launch(pool_kernel<T, width>, grid_of(cells, shape.n), stream, x.as<const T>(), cells, y.as<T>());
        });
    });
}

void max_pool_backward(Stream stream, View x, View diff_y, View diff_x, Write write) {
    require_halves(x, diff_y);
    require_same(x, diff_x, "max_pool_backward");
    const Shape shape = innermost(diff_y, "max_pool_backward");
    with_real(x.type, [&](auto real) {
        using T = decltype(real);
        with_pack<T>(shape.c, [&](auto width) {
            const Cells cells = cells_of(shape, width);
            launch(pool_gradient_kernel<T, width>, grid_of(cells, shape.n), stream, x.as<const T>(),
                   diff_y.as<const T>(), cells, write == Write::accumulate, diff_x.as<T>());
        });
    });
}

}  // namespace iwseg::IWSEG_BACKEND
