#pragma once

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <string>

#include "kernels/dispatch.h"
#include "kernels/launch.h"
#include "kernels/pack.cuh"
#include "kernels/reduce.cuh"

// A tensor read as a table whose columns are channels, 16 bytes a thread. A thread keeps to its columns, so that what
// belongs to a channel is loaded once. Where C does not fill whole packs, as many voxels as do make one row: any C is
// read in 16 bytes, if only the voxels divide so; else number by number.
//
// Two sums a channel are joined in double, in an order that depends on the shape only: a block's rows by halves, then a
// channel's blocks.
namespace iwseg::IWSEG_BACKEND {

constexpr int kTableThreads = 256;

/// Column i of a row belongs to channel i % channels. Blocks y share a row's packs; a block's threads take rows_at_once
/// rows of its stretch of packs.
struct Table {
    std::int64_t rows;
    int columns, channels, packs, stretch, rows_at_once;
};

struct Seat {
    int row, pack, column;  ///< among the rows at once; within the stretch; within the row
    bool taken;
};

template <int W>
__device__ __forceinline__ Seat seat_of(const Table& table) {
    const int thread = static_cast<int>(threadIdx.x), row = thread / table.stretch, pack = thread - row * table.stretch;
    const int in_row = static_cast<int>(blockIdx.y) * table.stretch + pack;
    return {row, pack, in_row * W, row < table.rows_at_once && in_row < table.packs};
}

/// Calls body(k, channel) for the columns of a thread.
template <int W, class Body>
__device__ __forceinline__ void each_channel(int column, int channels, Body&& body) {
    int channel = column % channels;
#pragma unroll
    for (int k = 0; k < W; ++k) {
        body(k, channel);
        channel = channel + 1 == channels ? 0 : channel + 1;
    }
}

/// Calls body(first number of the pack) for the thread's rows.
template <class Body>
__device__ __forceinline__ void each_row(const Table& table, const Seat& seat, Body&& body) {
    if (!seat.taken) return;
    const std::int64_t step = std::int64_t{gridDim.x} * table.rows_at_once;
#pragma unroll 2
    for (std::int64_t r = std::int64_t{blockIdx.x} * table.rows_at_once + seat.row; r < table.rows; r += step)
        body(r * table.columns + seat.column);
}

/// As each_row, kAhead rows at once: load(b, place) for all of them, so that their loads are under way together, then
/// use(b) in the order of rows. b is known when compiled: what load keeps under it stays in registers.
template <int kAhead, class Load, class Use>
__device__ __forceinline__ void each_rows(const Table& table, const Seat& seat, Load&& load, Use&& use) {
    if (!seat.taken) return;
    const std::int64_t step = std::int64_t{gridDim.x} * table.rows_at_once;
    std::int64_t r = std::int64_t{blockIdx.x} * table.rows_at_once + seat.row;
    for (; r + (kAhead - 1) * step < table.rows; r += kAhead * step) {
#pragma unroll
        for (int b = 0; b < kAhead; ++b) load(b, (r + b * step) * table.columns + seat.column);
#pragma unroll
        for (int b = 0; b < kAhead; ++b) use(b);
    }
    for (; r < table.rows; r += step) {
        load(0, r * table.columns + seat.column);
        use(0);
    }
}

/// Adds up a block's rows by halves and leaves the sums of each column in partial[column * per_column + block], those of b
/// behind all of a.
template <int W>
__device__ void join_rows(const Table& table, const Seat& seat, double (&a)[W], double (&b)[W], std::int64_t per_column,
                          double* partial) {
    constexpr int kHalf = kTableThreads / 2;
    SHARED(double, upper_half, 2 * W * kHalf);
    for (int rows = table.rows_at_once; rows > 1;) {
        const int half = (rows + 1) / 2;
        if (seat.row >= half && seat.row < rows) {
            const int slot = (seat.row - half) * table.stretch + seat.pack;
#pragma unroll
            for (int k = 0; k < W; ++k) upper_half[k * kHalf + slot] = a[k], upper_half[(W + k) * kHalf + slot] = b[k];
        }
        __syncthreads();
        if (seat.row + half < rows) {
            const int slot = seat.row * table.stretch + seat.pack;
#pragma unroll
            for (int k = 0; k < W; ++k) a[k] += upper_half[k * kHalf + slot], b[k] += upper_half[(W + k) * kHalf + slot];
        }
        __syncthreads();
        rows = half;
    }
    if (seat.row != 0 || !seat.taken) return;
#pragma unroll
    for (int k = 0; k < W; ++k) {
        double* to = partial + (seat.column + k) * per_column + blockIdx.x;
        to[0] = a[k];
        to[table.columns * per_column] = b[k];
    }
}

/// Both sums of one channel over its columns and their blocks, in thread 0.
__device__ __forceinline__ void join_blocks(const Table& table, const double* partial, std::int64_t per_column, int channel,
                                            double& a, double& b) {
    const double* behind = partial + table.columns * per_column;
    double sum_a = 0, sum_b = 0;
    for (int column = channel; column < table.columns; column += table.channels)
        for (std::int64_t i = threadIdx.x; i < per_column; i += kTableThreads) {
            sum_a += partial[column * per_column + i];
            sum_b += behind[column * per_column + i];
        }
    a = block_sum<kTableThreads>(sum_a);
    b = block_sum<kTableThreads>(sum_b);
}

// ---- launchers -------------------------------------------------------------------------------------------------------

/// How a tensor falls into tables: one where channels are innermost; else one for each sample and channel.
struct Tables {
    std::int64_t groups, samples, numbers;  ///< channels handled alone; tables of each; numbers in a table
    int channels;                           ///< of a table

    Tables(const Shape& shape, Layout layout, const char* operation) {
        if (layout != Layout::ndhwc && layout != Layout::ncdhw)
            throw std::invalid_argument(std::string(operation) + ": expected layout ndhwc or ncdhw");
        const bool apart = layout == Layout::ncdhw && shape.c > 1;
        groups = apart ? shape.c : 1;
        samples = apart ? shape.n : 1;
        channels = apart ? 1 : static_cast<int>(shape.c);
        numbers = shape.elements() / (groups * samples);
    }

    /// For packs of `width` numbers; columns become whole packs.
    Table table(int width) const {
        const int columns = std::lcm(channels, width), packs = columns / width;
        const int stretches = (packs + kTableThreads - 1) / kTableThreads, stretch = (packs + stretches - 1) / stretches;
        return {numbers / columns, columns, channels, packs, stretch, kTableThreads / stretch};
    }
    bool divides_by(int width) const { return numbers % std::lcm(channels, width) == 0; }

    /// Calls body(channel, sample, first number) for each table.
    template <class Body>
    void each(Body&& body) const {
        for (std::int64_t group = 0; group < groups; ++group)
            for (std::int64_t sample = 0; sample < samples; ++sample)
                body(group, sample, (sample * groups + group) * numbers);
    }
};

/// At most 64 rows a thread, as far as 1024 blocks do not already make it fewer; no block for under 8.
inline std::int64_t sum_blocks(const Table& table) {
    const std::int64_t turns = (table.rows + table.rows_at_once - 1) / table.rows_at_once;
    return std::max((turns + 63) / 64, std::min<std::int64_t>((turns + 7) / 8, 1024));
}

inline unsigned stretches(const Table& table) {
    return static_cast<unsigned>((table.packs + table.stretch - 1) / table.stretch);
}

inline LaunchShape sum_grid(const Table& table) {
    return {{static_cast<unsigned>(sum_blocks(table)), stretches(table)}, kTableThreads};
}

/// Rows enough for a thread to earn back what it loads of its channels.
inline LaunchShape plain_grid(const Table& table) {
    const std::int64_t turns = (table.rows + table.rows_at_once - 1) / table.rows_at_once;
    const std::int64_t blocks = std::max((turns + 31) / 32, std::min<std::int64_t>((turns + 3) / 4, 2048));
    return {{static_cast<unsigned>(blocks), stretches(table)}, kTableThreads};
}

/// Calls body(T{}, width, table) with a tensor's type and the widest pack it divides into.
template <class Body>
void with_table(const View& x, const Tables& tables, Body&& body) {
    with_real(x.type, [&](auto real) {
        constexpr int kWidth = kPackWidth<decltype(real)>;
        if (tables.divides_by(kWidth)) return body(real, std::integral_constant<int, kWidth>{}, tables.table(kWidth));
        return body(real, std::integral_constant<int, 1>{}, tables.table(1));
    });
}

}  // namespace iwseg::IWSEG_BACKEND
