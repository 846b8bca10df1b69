#include "kernels/elementwise/channel_copy.h"

#include <numeric>

#include "kernels/cuda/cells.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/pack.cuh"
#include "kernels/device/dispatch.h"

// The channels are columns of a table: of voxels where channels are innermost, of samples (with all their voxels) where
// they are plain. A thread moves one pack, 16 bytes where rows and offsets divide so.
namespace iwseg::IWSEG_BACKEND {
namespace {

/// Rows of so many elements.
struct Rows {
    std::int64_t from, to;
};

template <bool kAdd, class T, int W>
__global__ void __launch_bounds__(kCellThreads) copy_channels_kernel(const T* from, Cells cells, Rows rows, T* to) {
    const Cell cell = cell_of(cells);
    if (!cell.inside) return;
    const std::int64_t row = ((std::int64_t{cell.n} * cells.d + cell.d) * cells.h + cell.h) * cells.w + cell.w;
    // Counted in packs: so nvcc sees that a pack is aligned, and moves it at once.
    from += (row * (rows.from / W) + cell.pack) * W;
    to += (row * (rows.to / W) + cell.pack) * W;
    float values[W];
    load_pack<W>(from, values);
    if constexpr (kAdd) {
        float before[W];
        load_pack<W>(to, before);
#pragma unroll
        for (int k = 0; k < W; ++k) values[k] += before[k];
    }
    store_pack<W>(to, values);
}

}  // namespace

void copy_channels(Stream stream, View from, std::int64_t from_channel, View to, std::int64_t to_channel,
                   std::int64_t channels, Write write) {
    require_channels(from, from_channel, to, to_channel, channels);
    Shape table = innermost(to, "copy_channels");
    std::int64_t column = 1;  // elements of one channel in a row
    if (to.layout == Layout::ncdhw) {
        column = to.shape.voxels();
        table = {to.shape.n, 1, 1, 1, 1};
    }
    table.c = channels * column;
    const Rows rows{from.shape.c * column, to.shape.c * column};
    const std::int64_t first = from_channel * column, second = to_channel * column;
    with_real(to.type, [&](auto real) {
        using T = decltype(real);
        // All four divide by a pack's width where their greatest common divisor does.
        with_pack<T>(std::gcd(std::gcd(table.c, std::gcd(rows.from, rows.to)), std::gcd(first, second)),
                     [&](auto width) {
                         const Cells cells = cells_of(table, width);
                         const auto kernel = write == Write::accumulate ? copy_channels_kernel<true, T, width>
                                                                        : copy_channels_kernel<false, T, width>;
                         launch(kernel, grid_of(cells, table.n), stream, from.as<const T>() + first, cells, rows,
                                to.as<T>() + second);
                     });
    });
}

}  // namespace iwseg::IWSEG_BACKEND
