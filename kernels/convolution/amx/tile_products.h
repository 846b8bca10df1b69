#pragma once

#include <cstdint>

#include "kernels/convolution/amx/tiles.h"

/// The innermost loops of convolutions by tiles (tiles.h): all that is written in tile instructions.
///
/// A tile of sums stays in its register while 32 products a sum and instruction pass: tiles 0 to 3 hold sums, the
/// others what is multiplied. The processor multiplies two tiles in 16 cycles and loads one in 8, so that four sums of
/// two and two operands leave half of the loads idle, and four of one and four leave three eighths.
namespace iwseg::cpu {

constexpr std::int64_t kTileBytes = 1024, kTileRow = 64;

/// 32 products of each sum: bytes from where voxels and weights begin.
struct TileTerm {
    std::int64_t voxels, weights;
};

/// Sums of 16 voxels by 16 output channels each, over all terms.
struct TermSums {
    const char* voxels;     ///< a row of 64 bytes a voxel: 32 elements
    const char* weights;    ///< a tile a term: two rows of weights interleaved in each of its rows
    const TileTerm* terms;  ///< `count` of them
    std::int64_t count;
    std::int64_t voxel_stride;  ///< bytes from a voxel to the next
    std::int64_t next_block;    ///< bytes from a term's weights to those of the next 16 output channels
    float* sums;                ///< (blocks, 16 voxels of each tile, 16)
};

/// What voxels of two tensors add to sums over voxels.
struct GradientSums {
    const char* diff;        ///< a tile for 32 voxels: rows of 16 channels
    std::int64_t next_diff;  ///< bytes to the next 16 channels
    const char* const* src;  ///< for each column of sums a tile for 32 voxels: rows of two voxels, interleaved
    std::int64_t count;      ///< of 32 voxels
    float* const* sums;      ///< (16, 16) each, added to: row by row, of `columns` each
};

/// A step of term_sums: the weights go to tile kB and the one after it.
template <class Tiles, int kTiles, int kBlocks, int kB>
[[gnu::always_inline]] IWSEG_AMX inline void add_term(const TermSums& of, const TileTerm& term) {
    const char* voxels = of.voxels + term.voxels;
    const char* weights = of.weights + term.weights;
    const std::int64_t tile = 16 * of.voxel_stride;
    Tiles::template load<kB>(weights, kTileRow);
    Tiles::template load<4>(voxels, of.voxel_stride);
    Tiles::template multiply<0, 4, kB>();
    if constexpr (kBlocks == 2) {
        Tiles::template load<7>(weights + of.next_block, kTileRow);
        Tiles::template multiply<kTiles, 4, 7>();
    }
    if constexpr (kTiles > 1) {
        Tiles::template load<5>(voxels + tile, of.voxel_stride);
        Tiles::template multiply<1, 5, kB>();
        if constexpr (kBlocks == 2) Tiles::template multiply<kTiles + 1, 5, 7>();
    }
    if constexpr (kTiles > 2) {
        Tiles::template load<4>(voxels + 2 * tile, of.voxel_stride);
        Tiles::template multiply<2, 4, kB>();
    }
    if constexpr (kTiles > 3) {
        Tiles::template load<5>(voxels + 3 * tile, of.voxel_stride);
        Tiles::template multiply<3, 5, kB>();
    }
}

template <class Tiles, int kSums>
[[gnu::always_inline]] IWSEG_AMX inline void zero_sums() {
    Tiles::template zero<0>();
    if constexpr (kSums > 1) Tiles::template zero<1>();
    if constexpr (kSums > 2) Tiles::template zero<2>();
    if constexpr (kSums > 3) Tiles::template zero<3>();
}

/// kTiles of 16 voxels by kBlocks of 16 output channels: at most four sums.
template <class Tiles, int kTiles, int kBlocks>
IWSEG_AMX void term_sums(const TermSums& given) {
    static_assert(kTiles * kBlocks <= 4 && (kBlocks == 1 || kBlocks == 2));
    constexpr int kSums = kTiles * kBlocks;
    const TermSums of = given;  // tile instructions may write anywhere else, for all that the compiler knows
    zero_sums<Tiles, kSums>();
    std::int64_t t = 0;
    if constexpr (kBlocks == 1) {
        // A term's weights are loaded while those of the one before are still in use.
        for (; t + 1 < of.count; t += 2) {
            add_term<Tiles, kTiles, 1, 6>(of, of.terms[t]);
            add_term<Tiles, kTiles, 1, 7>(of, of.terms[t + 1]);
        }
    }
    for (; t < of.count; ++t) add_term<Tiles, kTiles, kBlocks, 6>(of, of.terms[t]);
    Tiles::template store<0>(of.sums, kTileRow);
    if constexpr (kSums > 1) Tiles::template store<1>(of.sums + 256, kTileRow);
    if constexpr (kSums > 2) Tiles::template store<2>(of.sums + 512, kTileRow);
    if constexpr (kSums > 3) Tiles::template store<3>(of.sums + 768, kTileRow);
}

/// kRows of 16 channels of diff by kColumns of 16 of src: at most four sums.
template <class Tiles, int kRows, int kColumns>
IWSEG_AMX void gradient_sums(const GradientSums& given) {
    static_assert(kRows * kColumns <= 4 && (kRows == 1 || kRows == 2));
    constexpr int kSums = kRows * kColumns;
    const GradientSums of = given;
    Tiles::template load<0>(of.sums[0], kTileRow);
    if constexpr (kSums > 1) Tiles::template load<1>(of.sums[1], kTileRow);
    if constexpr (kSums > 2) Tiles::template load<2>(of.sums[2], kTileRow);
    if constexpr (kSums > 3) Tiles::template load<3>(of.sums[3], kTileRow);
    for (std::int64_t k = 0; k < of.count * kTileBytes; k += kTileBytes) {
        Tiles::template load<4>(of.diff + k, kTileRow);
        Tiles::template load<6>(of.src[0] + k, kTileRow);
        Tiles::template multiply<0, 4, 6>();
        if constexpr (kColumns > 1) {
            Tiles::template load<7>(of.src[1] + k, kTileRow);
            Tiles::template multiply<1, 4, 7>();
        }
        if constexpr (kRows == 2) {
            Tiles::template load<5>(of.diff + of.next_diff + k, kTileRow);
            Tiles::template multiply<kColumns, 5, 6>();
            if constexpr (kColumns > 1) Tiles::template multiply<kColumns + 1, 5, 7>();
        }
        if constexpr (kColumns > 2) {
            Tiles::template load<5>(of.src[2] + k, kTileRow);
            Tiles::template multiply<2, 4, 5>();
        }
        if constexpr (kColumns > 3) {
            Tiles::template load<6>(of.src[3] + k, kTileRow);
            Tiles::template multiply<3, 4, 6>();
        }
    }
    Tiles::template store<0>(of.sums[0], kTileRow);
    if constexpr (kSums > 1) Tiles::template store<1>(of.sums[1], kTileRow);
    if constexpr (kSums > 2) Tiles::template store<2>(of.sums[2], kTileRow);
    if constexpr (kSums > 3) Tiles::template store<3>(of.sums[3], kTileRow);
}

/// Products as fast as they can be computed, of tiles that stay in their registers: what other loops are measured by.
/// Four sums of 16 by 16, of so many products of 32 each, go to `sums`. Operations done.
/// operand: a tile.
template <class Tiles>
IWSEG_AMX double products_in_registers(std::int64_t products, const void* operand, float* sums) {
    zero_sums<Tiles, 4>();
    Tiles::template load<4>(operand, kTileRow);
    Tiles::template load<5>(operand, kTileRow);
    Tiles::template load<6>(operand, kTileRow);
    Tiles::template load<7>(operand, kTileRow);
    for (std::int64_t i = 0; i < products; ++i) {
        Tiles::template multiply<0, 4, 6>();
        Tiles::template multiply<1, 4, 7>();
        Tiles::template multiply<2, 5, 6>();
        Tiles::template multiply<3, 5, 7>();
    }
    Tiles::template store<0>(sums, kTileRow);
    Tiles::template store<1>(sums + 256, kTileRow);
    Tiles::template store<2>(sums + 512, kTileRow);
    Tiles::template store<3>(sums + 768, kTileRow);
    return 4.0 * 2 * 16 * 16 * 32 * static_cast<double>(products);
}

/// These loops for one class of tile operations.
struct TileProducts {
    void (*configure)(const TileConfiguration&);
    void (*release)();
    void (*terms[2][4])(const TermSums&);          ///< [blocks - 1][tiles of voxels - 1]; null beyond four sums
    void (*gradients[2][4])(const GradientSums&);  ///< [rows - 1][columns - 1]
    double (*in_registers)(std::int64_t products, const void* operand, float* sums);
};

template <class Tiles>
constexpr TileProducts tile_products() {
    return {Tiles::configure,
            Tiles::release,
            {{term_sums<Tiles, 1, 1>, term_sums<Tiles, 2, 1>, term_sums<Tiles, 3, 1>, term_sums<Tiles, 4, 1>},
             {term_sums<Tiles, 1, 2>, term_sums<Tiles, 2, 2>, nullptr, nullptr}},
            {{gradient_sums<Tiles, 1, 1>, gradient_sums<Tiles, 1, 2>, gradient_sums<Tiles, 1, 3>,
              gradient_sums<Tiles, 1, 4>},
             {gradient_sums<Tiles, 2, 1>, gradient_sums<Tiles, 2, 2>, nullptr, nullptr}},
            products_in_registers<Tiles>};
}

/// The thread's tiles, configured while it lives.
class TilesInUse {
  public:
    explicit TilesInUse(const TileProducts& products) : products_(products) { products.configure(kFull); }
    ~TilesInUse() { products_.release(); }
    TilesInUse(const TilesInUse&) = delete;
    TilesInUse& operator=(const TilesInUse&) = delete;

  private:
    static constexpr TileConfiguration kFull = full_tiles();
    const TileProducts& products_;
};

}  // namespace iwseg::cpu
