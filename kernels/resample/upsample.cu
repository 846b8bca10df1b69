#include "kernels/resample/upsample.h"

#include "kernels/cuda/cells.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/pack.cuh"
#include "kernels/device/dispatch.h"

// With corners aligned, output o of an axis of n inputs lies at o (n - 1) / (2n - 1), so outputs 2i + 1 and 2i + 2 both
// lie between inputs i and i + 1, for i from -1 (output 0 alone) to n - 1 (the last alone):
//
//     input        i                         i+1
//     output          2i+1          2i+2                far share of 2i+1: (n - 1 - i) / (2n - 1)
//                                                       near share of 2i+2: (i + 1) / (2n - 1)
//
// With half-pixel corners the shares are a quarter, but for outputs 0 and 2n - 1, which are the inputs beside them.
// Forward, a thread takes such a cell along all three axes: eight packs in, eight out; x is read eight times, from the
// cache, and y written once. Backward, an input gathers from four outputs an axis, 2i - 1 to 2i + 2. A thread marches
// along d through kRun inputs and adds up each plane of diff_y in its window once, for both inputs beside it: 40 reads
// an input instead of 64, from the cache; diff_y comes from memory once.
namespace iwseg::IWSEG_BACKEND {
namespace {

constexpr int kRun = 4;

/// The shares of the cell between inputs i and i + 1 of n.
template <Corners kCorners>
struct Shares {
    float odd_far, even_near;

    __device__ __forceinline__ Shares(int i, int n)
        : odd_far(i + 1 < n ? 0.25f : 0.0f), even_near(i < 0 ? 0.0f : 0.25f) {}
};
template <>
struct Shares<Corners::aligned> {
    float odd_far, even_near;

    __device__ __forceinline__ Shares(int i, int n)
        : odd_far(static_cast<float>(n - 1 - i) / static_cast<float>(2 * n - 1)),
          even_near(static_cast<float>(i + 1) / static_cast<float>(2 * n - 1)) {}
};

/// Outputs 2i + 1 and 2i + 2 between two inputs.
template <int W, class AnyShares>
__device__ __forceinline__ void interpolate(const AnyShares& s, const float (&near)[W], const float (&far)[W],
                                            float (&odd)[W], float (&even)[W]) {
#pragma unroll
    for (int k = 0; k < W; ++k) {
        odd[k] = (1.0f - s.odd_far) * near[k] + s.odd_far * far[k];
        even[k] = s.even_near * near[k] + (1.0f - s.even_near) * far[k];
    }
}

/// n inputs of one axis and the cell i of them: the inputs beside it, at the border the same one twice.
template <Corners kCorners>
struct Axis {
    int near, far, odd;  ///< odd: the output 2i + 1; it or the next may lie outside
    Shares<kCorners> shares;

    __device__ __forceinline__ Axis(int i, int n)
        : near(max(i, 0)), far(min(i + 1, n - 1)), odd(2 * i + 1), shares(i, n) {}
};

/// x: (N, d, h, w, C); cells are one more than that along each axis.
template <Corners kCorners, class T, int W>
__global__ void __launch_bounds__(kCellThreads) upsample_kernel(const T* x, Cells cells, int d, int h, int w, T* y) {
    const Cell cell = cell_of(cells);
    if (!cell.inside) return;
    const Axis<kCorners> along_d(cell.d - 1, d), along_h(cell.h - 1, h), along_w(cell.w - 1, w);
    const std::int64_t channels = std::int64_t{cells.packs} * W, pack = std::int64_t{cell.pack} * W;
    float planes[2][4][W];  // of the inputs near and far along d, interpolated along h and w
#pragma unroll
    for (int z = 0; z < 2; ++z) {
        const std::int64_t plane = std::int64_t{cell.n} * d + (z ? along_d.far : along_d.near);
        float rows[2][2][W];
#pragma unroll
        for (int v = 0; v < 2; ++v) {
            const T* row = x + (plane * h + (v ? along_h.far : along_h.near)) * w * channels + pack;
            float near[W], far[W];
            load_pack<W>(row + along_w.near * channels, near);
            load_pack<W>(row + along_w.far * channels, far);
            interpolate(along_w.shares, near, far, rows[v][0], rows[v][1]);
        }
        interpolate(along_h.shares, rows[0][0], rows[1][0], planes[z][0], planes[z][2]);
        interpolate(along_h.shares, rows[0][1], rows[1][1], planes[z][1], planes[z][3]);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const int v = along_h.odd + (i >> 1), u = along_w.odd + (i & 1);
        if (v < 0 || v >= 2 * h || u < 0 || u >= 2 * w) continue;
        float odd[W], even[W];
        interpolate(along_d.shares, planes[0][i], planes[1][i], odd, even);
        const std::int64_t plane = std::int64_t{4} * h * w * channels;
        T* to =
            y + (std::int64_t{cell.n} * 2 * d + along_d.odd) * plane + (std::int64_t{2} * w * v + u) * channels + pack;
        if (along_d.odd >= 0) store_pack<W>(to, odd);
        if (along_d.odd + 1 < 2 * d) store_pack<W>(to + plane, even);
    }
}

// ----------------------------------------------------------------------------------------------------------------------

/// The four outputs that read input i of n, and how much; those outside count nothing.
template <Corners kCorners>
struct Readers {
    int output[4];
    float share[4];

    __device__ __forceinline__ Readers(int i, int n) {
        const Shares<kCorners> before(i - 1, n), after(i, n);
        const float shares[4] = {i > 0 ? before.odd_far : 0.0f, 1.0f - before.even_near, 1.0f - after.odd_far,
                                 i + 1 < n ? after.even_near : 0.0f};
#pragma unroll
        for (int t = 0; t < 4; ++t) {
            output[t] = min(max(2 * i - 1 + t, 0), 2 * n - 1);
            share[t] = shares[t];
        }
    }
};

/// What an input gathers from one plane of outputs; `plane` points to the thread's pack of its first voxel.
template <int W, class T, class AnyReaders>
__device__ __forceinline__ void gather_plane(const T* plane, std::int64_t row, std::int64_t voxel,
                                             const AnyReaders& along_h, const AnyReaders& along_w, float (&sum)[W]) {
#pragma unroll
    for (int k = 0; k < W; ++k) sum[k] = 0;
#pragma unroll
    for (int v = 0; v < 4; ++v) {
        float part[W] = {};
#pragma unroll
        for (int u = 0; u < 4; ++u) {
            float value[W];
            load_pack<W>(plane + along_h.output[v] * row + along_w.output[u] * voxel, value);
#pragma unroll
            for (int k = 0; k < W; ++k) part[k] += along_w.share[u] * value[k];
        }
#pragma unroll
        for (int k = 0; k < W; ++k) sum[k] += along_h.share[v] * part[k];
    }
}

/// diff_x: (N, d, cells.h, cells.w, C); cells.d counts runs of kRun inputs.
template <Corners kCorners, class T, int W>
__global__ void __launch_bounds__(kCellThreads)
    upsample_gradient_kernel(const T* diff_y, Cells cells, int d, bool accumulate, T* diff_x) {
    const Cell cell = cell_of(cells);
    if (!cell.inside) return;
    const int h = static_cast<int>(cells.h), w = static_cast<int>(cells.w);
    const std::int64_t channels = std::int64_t{cells.packs} * W, pack = std::int64_t{cell.pack} * W;
    const std::int64_t row = 2 * w * channels, plane = 2 * h * row;
    const Readers<kCorners> along_h(cell.h, h), along_w(cell.w, w);
    const T* from = diff_y + std::int64_t{cell.n} * 2 * d * plane + pack;
    T* to = diff_x + ((std::int64_t{cell.n} * d * h + cell.h) * w + cell.w) * channels + pack;
    const int first = cell.d * kRun, end = min(first + kRun, d);
    float sum[W] = {};  // of the planes before, for input i
    for (int i = first - 1; i < end; ++i) {
        const Shares<kCorners> shares(i, d);
        float odd[W] = {}, even[W] = {};
        if (i >= 0) gather_plane(from + (2 * i + 1) * plane, row, channels, along_h, along_w, odd);
        if (i + 1 < d) gather_plane(from + (2 * i + 2) * plane, row, channels, along_h, along_w, even);
        if (i >= first) {
            T* at = to + std::int64_t{i} * h * w * channels;
            float before[W] = {};
            if (accumulate) load_pack<W>(at, before);
#pragma unroll
            for (int k = 0; k < W; ++k)
                before[k] += sum[k] + ((1.0f - shares.odd_far) * odd[k] + shares.even_near * even[k]);
            store_pack<W>(at, before);
        }
#pragma unroll
        for (int k = 0; k < W; ++k) sum[k] = shares.odd_far * odd[k] + (1.0f - shares.even_near) * even[k];
    }
}

// ----------------------------------------------------------------------------------------------------------------------

void require_double(const View& x, const View& y) {
    const Shape twice{x.shape.n, x.shape.c, 2 * x.shape.d, 2 * x.shape.h, 2 * x.shape.w};
    if (!(y.shape == twice) || x.layout != y.layout)
        throw std::invalid_argument("upsample: the result is twice the size of the input, in its layout");
}

}  // namespace

void upsample(Stream stream, View x, Corners corners, View y) {
    require_double(x, y);
    const Shape shape = innermost(x, "upsample"), with_borders{shape.n, shape.c, shape.d + 1, shape.h + 1, shape.w + 1};
    with_real(x.type, [&](auto real) {
        using T = decltype(real);
        with_pack<T>(shape.c, [&](auto width) {
            const Cells cells = cells_of(with_borders, width);
            const auto kernel = corners == Corners::aligned ? upsample_kernel<Corners::aligned, T, width>
                                                            : upsample_kernel<Corners::half, T, width>;
            launch(kernel, grid_of(cells, shape.n), stream, x.as<const T>(), cells, shape.d, shape.h, shape.w,
                   y.as<T>());
        });
    });
}

void upsample_backward(Stream stream, View diff_y, Corners corners, View diff_x, Write write) {
    require_double(diff_x, diff_y);
    const Shape shape = innermost(diff_x, "upsample_backward");
    const Shape runs{shape.n, shape.c, (shape.d + kRun - 1) / kRun, shape.h, shape.w};
    with_real(diff_x.type, [&](auto real) {
        using T = decltype(real);
        with_pack<T>(shape.c, [&](auto width) {
            const Cells cells = cells_of(runs, width);
            const auto kernel = corners == Corners::aligned ? upsample_gradient_kernel<Corners::aligned, T, width>
                                                            : upsample_gradient_kernel<Corners::half, T, width>;
            launch(kernel, grid_of(cells, shape.n), stream, diff_y.as<const T>(), cells, shape.d,
                   write == Write::accumulate, diff_x.as<T>());
        });
    });
}

}  // namespace iwseg::IWSEG_BACKEND
