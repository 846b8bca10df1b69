#include "kernels/resample/max_pool.h"

#include "kernels/cuda/cells.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/pack.cuh"
#include "kernels/device/dispatch.h"

// A thread takes one window: of 2 x 2 x 2 voxels eight packs of channels, 16 bytes each. Forward reads x and writes y,
// an eighth of it; backward finds the place of the largest again, so it reads x and diff_y and writes diff_x, all once.
namespace iwseg::IWSEG_BACKEND {
namespace {

/// Where a thread's window of 2 x 2 x 2 voxels begins in x and in y, and how far it is to the next number along w, h
/// and d of x.
struct Octet {
    std::int64_t in_x, in_y, w, h, d;

    __device__ __forceinline__ Octet(const Cells& cells, const Cell& cell, int pack_width)
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

/// Takes voxel i where it is the largest so far: in raster order the first of several, but of NaNs the last, as in
/// PyTorch: a broken activation must not vanish.
template <int W>
__device__ __forceinline__ void take_larger(const float (&value)[W], int i, float (&largest)[W], int (&place)[W]) {
#pragma unroll
    for (int k = 0; k < W; ++k) {
        const bool take = value[k] > largest[k] || value[k] != value[k];
        largest[k] = take ? value[k] : largest[k];
        place[k] = take ? i : place[k];
    }
}

template <int W, class T>
__device__ __forceinline__ void find_largest(const T* x, const Octet& window, float (&largest)[W], int (&place)[W]) {
    load_pack<W>(x + window.voxel(0), largest);
#pragma unroll
    for (int k = 0; k < W; ++k) place[k] = 0;
#pragma unroll
    for (int i = 1; i < 8; ++i) {
        float value[W];
        load_pack<W>(x + window.voxel(i), value);
        take_larger(value, i, largest, place);
    }
}

template <class T, int W>
__global__ void __launch_bounds__(kCellThreads) pool_kernel(const T* x, Cells cells, T* y) {
    const Cell cell = cell_of(cells);
    if (!cell.inside) return;
    const Octet window(cells, cell, W);
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
    const Octet window(cells, cell, W);
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

// Windows of any other sizes: voxel by voxel, x read twice in the backward pass, from the cache.

/// As Octet.
struct AnyPlace {
    std::int64_t in_x, in_y, w, h, d;

    __device__ __forceinline__ AnyPlace(const Cells& cells, const Cell& cell, const Sides& window, int pack_width)
        : w(std::int64_t{cells.packs} * pack_width), h(w * cells.w * window.w), d(h * cells.h * window.h) {
        const std::int64_t plane = std::int64_t{cell.n} * cells.d + cell.d;
        in_x =
            plane * window.d * d + cell.h * window.h * h + cell.w * window.w * w + std::int64_t{cell.pack} * pack_width;
        in_y = (((plane * cells.h + cell.h) * cells.w + cell.w) * cells.packs + cell.pack) * pack_width;
    }
};

// The bound of registers is far above what they take; without one ptxas keeps so few that it spills.

/// Calls body(number, offset in x) for a window's voxels in raster order.
template <class Body>
__device__ __forceinline__ void each_voxel(const Sides& window, const AnyPlace& place, Body&& body) {
    int i = 0;
    for (int d = 0; d < window.d; ++d)
        for (int h = 0; h < window.h; ++h)
            for (int w = 0; w < window.w; ++w, ++i) body(i, place.in_x + d * place.d + h * place.h + w * place.w);
}

/// As find_largest.
template <int W, class T>
__device__ __forceinline__ void find_largest_of_any(const T* x, const Sides& window, const AnyPlace& at,
                                                    float (&largest)[W], int (&place)[W]) {
    load_pack<W>(x + at.in_x, largest);
#pragma unroll
    for (int k = 0; k < W; ++k) place[k] = 0;
    each_voxel(window, at, [&](int i, std::int64_t voxel) {
        float value[W];
        load_pack<W>(x + voxel, value);
        take_larger(value, i, largest, place);
    });
}

template <class T, int W>
__global__ void __launch_bounds__(kCellThreads, 8) any_pool_kernel(const T* x, Cells cells, Sides window, T* y) {
    const Cell cell = cell_of(cells);
    if (!cell.inside) return;
    const AnyPlace at(cells, cell, window, W);
    float largest[W];
    int place[W];
    find_largest_of_any(x, window, at, largest, place);
    store_pack<W>(y + at.in_y, largest);
}

template <class T, int W>
__global__ void __launch_bounds__(kCellThreads, 8)
    any_pool_gradient_kernel(const T* x, const T* diff_y, Cells cells, Sides window, bool accumulate, T* diff_x) {
    const Cell cell = cell_of(cells);
    if (!cell.inside) return;
    const AnyPlace at(cells, cell, window, W);
    float gradient[W], largest[W];
    int place[W];
    load_pack<W>(diff_y + at.in_y, gradient);
    find_largest_of_any(x, window, at, largest, place);
    each_voxel(window, at, [&](int i, std::int64_t voxel) {
        float value[W] = {};
        if (accumulate) load_pack<W>(diff_x + voxel, value);
#pragma unroll
        for (int k = 0; k < W; ++k) value[k] += place[k] == i ? gradient[k] : 0.0f;
        store_pack<W>(diff_x + voxel, value);
    });
}

// ----------------------------------------------------------------------------------------------------------------------

bool is_octet(const Sides& window) {
    return window.d == 2 && window.h == 2 && window.w == 2;
}

}  // namespace

void max_pool(Stream stream, View x, View y) {
    const Sides window = pool_window(x, y);
    const Shape shape = innermost(y, "max_pool");
    with_real(x.type, [&](auto real) {
        using T = decltype(real);
        with_pack<T>(shape.c, [&](auto width) {
            const Cells cells = cells_of(shape, width);
            if (is_octet(window))
                launch(pool_kernel<T, width>, grid_of(cells, shape.n), stream, x.as<const T>(), cells, y.as<T>());
            else
                launch(any_pool_kernel<T, width>, grid_of(cells, shape.n), stream, x.as<const T>(), cells, window,
                       y.as<T>());
        });
    });
}

void max_pool_backward(Stream stream, View x, View diff_y, View diff_x, Write write) {
    const Sides window = pool_window(x, diff_y);
    require_same_form(x, diff_x, "max_pool_backward");
    const Shape shape = innermost(diff_y, "max_pool_backward");
    const bool accumulate = write == Write::accumulate;
    with_real(x.type, [&](auto real) {
        using T = decltype(real);
        with_pack<T>(shape.c, [&](auto width) {
            const Cells cells = cells_of(shape, width);
            if (is_octet(window))
                launch(pool_gradient_kernel<T, width>, grid_of(cells, shape.n), stream, x.as<const T>(),
                       diff_y.as<const T>(), cells, accumulate, diff_x.as<T>());
            else
                launch(any_pool_gradient_kernel<T, width>, grid_of(cells, shape.n), stream, x.as<const T>(),
                       diff_y.as<const T>(), cells, window, accumulate, diff_x.as<T>());
        });
    });
}

}  // namespace iwseg::IWSEG_BACKEND
