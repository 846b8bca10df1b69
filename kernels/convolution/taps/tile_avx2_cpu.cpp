#include "kernels/convolution/taps/tile_body.h"

// 16 registers of 8 numbers, of NEON 32 of 4: 12 sums beside weights and a number of the source.
namespace iwseg::cpu {

#if IWSEG_TAPS_OF_EIGHT
namespace {

constexpr int kLanes = IWSEG_LANES_OF_EIGHT;

/// N times eight outputs.
template <int N, int S>
struct OfEight {
    template <int R, int W>
    struct Tile {
        IWSEG_FOR_EIGHT static void run(const TapTileInput& input, float* sums) {
            tap_tile_body<kLanes, N * 8 / kLanes, S, R, W>(input, sums);
        }
    };
    static TapTile of(TapTileSize size) { return tap_tile_among<Tile, 12 / N>(size); }
};

}  // namespace

TapTile tap_tile_of_eight(const TapTileKind& kind, TapTileSize size) {
    if (kind.depthwise) return kind.outputs == 8 ? OfEight<1, 0>::of(size) : OfEight<2, 0>::of(size);
    switch (kind.src_block) {
        case 1:
            return kind.outputs == 8 ? OfEight<1, 1>::of(size) : OfEight<2, 1>::of(size);
        case 8:
            return kind.outputs == 8 ? OfEight<1, 8>::of(size) : OfEight<2, 8>::of(size);
        default:
            return OfEight<2, 16>::of(size);
    }
}

#else

TapTile tap_tile_of_eight(const TapTileKind&, TapTileSize) {
    throw std::logic_error("tap_tile: not on this processor");
}

#endif

}  // namespace iwseg::cpu
