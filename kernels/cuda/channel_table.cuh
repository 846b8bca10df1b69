#pragma once

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <string>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/pack.cuh"
#include "kernels/device/dispatch.h"

// A tensor read as a table whose columns are channels, 16 bytes a thread. A thread keeps to its columns, so that what
// belongs to a channel is loaded once. Where C does not fill whole packs, as many voxels as do make one row: any C is
// read in 16 bytes, if only the voxels divide so; else element by element.
namespace iwseg::IWSEG_BACKEND {

constexpr int kTableThreads = 256;
/// Columns of a block: a whole line of the cache in bf16, and few enough that wide tensors too have many rows at once.
constexpr int kBlockColumns = 64;

/// Column i of a row belongs to channel i % channels. Blocks y share a row's packs; a block's threads take rows_at_once
/// rows of its block_packs packs.
struct Table {
    std::int64_t rows;
    std::int64_t next;  ///< elements from one sample's table to the next one's; 0 where one table has all samples
    int columns, channels, packs, block_packs, rows_at_once;
};

struct Position {
    int row, pack, column;  ///< among the rows at once; within the block's packs; within the row
    bool taken;
};

template <int W>
__device__ __forceinline__ Position position_of(const Table& table) {
    const int thread = static_cast<int>(threadIdx.x), row = thread / table.block_packs,
              pack = thread - row * table.block_packs;
    const int in_row = static_cast<int>(blockIdx.y) * table.block_packs + pack;
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

/// How many rows a thread has.
__device__ __forceinline__ std::int64_t rows_of(const Table& table, const Position& position) {
    const std::int64_t step = std::int64_t{gridDim.x} * table.rows_at_once;
    const std::int64_t first = std::int64_t{blockIdx.x} * table.rows_at_once + position.row;
    return position.taken && first < table.rows ? (table.rows - first + step - 1) / step : 0;
}

/// Calls body(first number of the pack) for the thread's rows.
template <class Body>
__device__ __forceinline__ void each_row(const Table& table, const Position& position, Body&& body) {
    if (!position.taken) return;
    const std::int64_t step = std::int64_t{gridDim.x} * table.rows_at_once;
#pragma unroll 2
    for (std::int64_t r = std::int64_t{blockIdx.x} * table.rows_at_once + position.row; r < table.rows; r += step)
        body(r * table.columns + position.column);
}

/// As each_row, kAhead rows at once: load(b, place) for all of them, so that their loads are under way together, then
/// use(b) in the order of rows. b is known when compiled: what load keeps under it stays in registers.
template <int kAhead, class Load, class Use>
__device__ __forceinline__ void each_rows(const Table& table, const Position& position, Load&& load, Use&& use) {
    if (!position.taken) return;
    const std::int64_t step = std::int64_t{gridDim.x} * table.rows_at_once;
    std::int64_t r = std::int64_t{blockIdx.x} * table.rows_at_once + position.row;
    for (; r + (kAhead - 1) * step < table.rows; r += kAhead * step) {
#pragma unroll
        for (int b = 0; b < kAhead; ++b) load(b, (r + b * step) * table.columns + position.column);
#pragma unroll
        for (int b = 0; b < kAhead; ++b) use(b);
    }
    for (; r < table.rows; r += step) {
        load(0, r * table.columns + position.column);
        use(0);
    }
}

// ---- launchers ------------------------------------------------------------------------------------------------------

/// How a tensor falls into tables: one where channels are innermost; else one for each sample and channel.
struct Tables {
    std::int64_t groups, samples, elements;  ///< channels handled alone; tables of each; elements in a table
    int channels;                            ///< of a table

    Tables(const Shape& shape, Layout layout, const char* operation) {
        if (layout != Layout::ndhwc && layout != Layout::ncdhw)
            throw std::invalid_argument(std::string(operation) + ": expected layout ndhwc or ncdhw");
        const bool apart = layout == Layout::ncdhw && shape.c > 1;
        groups = apart ? shape.c : 1;
        samples = apart ? shape.n : 1;
        channels = apart ? 1 : static_cast<int>(shape.c);
        elements = shape.elements() / (groups * samples);
    }

    /// For packs of `width` elements; columns become whole packs.
    Table table(int width) const {
        const int columns = std::lcm(channels, width), packs = columns / width;
        const int blocks = std::min((columns + kBlockColumns - 1) / kBlockColumns, kStreamCounters);
        const int block_packs = (packs + blocks - 1) / blocks;
        if (block_packs > kTableThreads) throw std::invalid_argument("a tensor of more channels than a launch takes");
        return {elements / columns, samples > 1 ? groups * elements : 0, columns, channels, packs,
                block_packs,        kTableThreads / block_packs};
    }
    bool divides_by(int width) const { return elements % std::lcm(channels, width) == 0; }

    /// Calls body(channel, sample, first number) for each table.
    template <class Body>
    void each(Body&& body) const {
        for (std::int64_t group = 0; group < groups; ++group)
            for (std::int64_t sample = 0; sample < samples; ++sample)
                body(group, sample, (sample * groups + group) * elements);
    }
};

inline unsigned column_blocks(const Table& table) {
    return static_cast<unsigned>((table.packs + table.block_packs - 1) / table.block_packs);
}

/// Rows enough for a thread to earn back what it loads of its channels.
inline LaunchShape plain_grid(const Table& table) {
    const std::int64_t turns = (table.rows + table.rows_at_once - 1) / table.rows_at_once;
    const std::int64_t blocks = std::max((turns + 31) / 32, std::min<std::int64_t>((turns + 3) / 4, 2048));
    return {{static_cast<unsigned>(blocks), column_blocks(table)}, kTableThreads};
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
