#pragma once

#include <algorithm>

#include "kernels/cuda/channel_table.cuh"
#include "kernels/cuda/last_block.cuh"

// Sums a channel over a table, in one launch and in double, in an order that depends on the shape only: a block's rows
// by halves, then, in the last block to end, the blocks in fixed groups. Blocks y hold other channels, as a rule, and
// those of one y have a last block of their own; where several columns belong to one channel (C does not fill whole
// packs) one block joins all.
namespace iwseg::IWSEG_BACKEND {

/// Which blocks' sums are joined: those of all tables of a launch, or each table's by themselves.
enum class Joined { all_tables, each_table };

/// What the blocks leave: partial[block][sum][column], blocks x and z counted together. counters: a launch's blocks y
/// have one each and, where tables are by themselves, those of each z.
struct BlockSums {
    double* partial;
    unsigned* counters;
};

/// Adds up a block's rows; the sums of each column are then those of the threads of row 0.
template <int S, int W>
__device__ __forceinline__ void join_rows(const Table& table, const Position& position, double (&sums)[S][W],
                                          double* shared) {
    constexpr int kHalf = kTableThreads / 2;
    for (int rows = table.rows_at_once; rows > 1;) {
        const int half = (rows + 1) / 2;
        if (position.row >= half && position.row < rows) {
            const int slot = (position.row - half) * table.block_packs + position.pack;
#pragma unroll
            for (int i = 0; i < S * W; ++i) shared[i * kHalf + slot] = sums[i / W][i % W];
        }
        __syncthreads();
        if (position.row + half < rows) {
            const int slot = position.row * table.block_packs + position.pack;
#pragma unroll
            for (int i = 0; i < S * W; ++i) sums[i / W][i % W] += shared[i * kHalf + slot];
        }
        __syncthreads();
        rows = half;
    }
}

/// Joins so many blocks' sums of channels `first` to `end`: threads side by side take channels, and groups of them
/// every so many blocks; the groups are then added in their order. Calls finish(channel, sums) by one thread for each
/// channel.
template <int S, class Finish>
__device__ __forceinline__ void join_blocks(const Table& table, const double* partial, int blocks, int first, int end,
                                            double* shared, Finish&& finish) {
    const int thread = static_cast<int>(threadIdx.x);
    for (; first < end; first += kTableThreads) {
        const int here = min(end - first, kTableThreads), groups = kTableThreads / here;
        const int channel = first + thread % here, group = thread / here;
        double sums[S] = {};
        if (group < groups)
            for (int column = channel; column < table.columns; column += table.channels) {
                const double* from = partial + column;
#pragma unroll 4
                for (int block = group; block < blocks; block += groups)
#pragma unroll
                    for (int s = 0; s < S; ++s)
                        sums[s] += relaxed_load(from + (std::int64_t{block} * S + s) * table.columns);
            }
#pragma unroll
        for (int s = 0; s < S; ++s) shared[s * kTableThreads + thread] = sums[s];
        __syncthreads();
        if (group == 0) {
            for (int g = 1; g < groups; ++g)
#pragma unroll
                for (int s = 0; s < S; ++s) sums[s] += shared[s * kTableThreads + g * here + thread];
            finish(channel, sums);
        }
        __syncthreads();
    }
}

/// sums: of the thread's rows and columns. Called by all threads of a launch of sum_grid, once.
template <Joined kJoined = Joined::all_tables, int S, int W, class Finish>
__device__ __forceinline__ void finish_sums(const Table& table, const Position& position, double (&sums)[S][W],
                                            const BlockSums& blocks, Finish&& finish) {
    SHARED(double, shared, S*(W > 1 ? W : 2) * kTableThreads / 2);
    join_rows(table, position, sums, shared);
    constexpr bool kEach = kJoined == Joined::each_table;
    const std::int64_t own = std::int64_t{blockIdx.z} * gridDim.x;
    double* const partial = blocks.partial + (kEach ? own * S * table.columns : 0);
    if (position.row == 0 && position.taken) {
        const std::int64_t block = (kEach ? 0 : own) + blockIdx.x;
#pragma unroll
        for (int i = 0; i < S * W; ++i)
            relaxed_store(partial + (block * S + i / W) * table.columns + position.column + i % W, sums[i / W][i % W]);
    }
    const bool apart = table.columns == table.channels;
    const unsigned all = kEach ? gridDim.x : gridDim.x * gridDim.z;
    unsigned* const counters = blocks.counters + (kEach ? blockIdx.z * gridDim.y : 0);
    if (!is_last_block(counters + (apart ? blockIdx.y : 0), apart ? all : all * gridDim.y)) return;
    const int first = apart ? static_cast<int>(blockIdx.y) * table.block_packs * W : 0;
    join_blocks<S>(table, partial, static_cast<int>(all), first,
                   apart ? min(first + table.block_packs * W, table.channels) : table.channels, shared, finish);
}

// ---- launchers ------------------------------------------------------------------------------------------------------

/// Blocks of a sum, in all: an H100 holds 528 with four an SM. Fixed, so that sums do not depend on the card.
constexpr std::int64_t kMostSumBlocks = 512;

/// Blocks z take the tables of samples. At most 64 rows a thread, as f32 sums are to lose no more than two digits, as
/// far as the most blocks do not already make it fewer; no block for under 8.
inline LaunchShape sum_grid(const Tables& tables, const Table& table) {
    const std::int64_t turns = (table.rows + table.rows_at_once - 1) / table.rows_at_once;
    const std::int64_t most = std::max<std::int64_t>(1, kMostSumBlocks / (column_blocks(table) * tables.samples));
    const std::int64_t blocks = std::max((turns + 63) / 64, std::min((turns + 7) / 8, most));
    return {{static_cast<unsigned>(blocks), column_blocks(table), static_cast<unsigned>(tables.samples)},
            kTableThreads};
}

/// Bytes of BlockSums::partial for `sums` sums a channel of a tensor of any type.
inline std::int64_t block_sums_bytes(const Tables& tables, int sums) {
    std::int64_t most = 0;
    for (const int width : {1, kPackWidth<float>, kPackWidth<Bf16>}) {
        const Table table = tables.table(width);
        const dim3 grid = sum_grid(tables, table).grid;
        most = std::max(most, std::int64_t{grid.x} * grid.z * sums * table.columns);
    }
    return most * static_cast<std::int64_t>(sizeof(double));
}

}  // namespace iwseg::IWSEG_BACKEND
