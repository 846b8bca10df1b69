#include "kernels/convolution/taps/tile_body.h"

// 16 registers of 8 numbers: 12 sums beside weights and a number of the source.
namespace iwseg::cpu {

#if IWSEG_TAPS_ON_X86
namespace {

template <int N, int S>
struct OfAvx2 {
    template <int R, int W>
    struct Tile {
        IWSEG_FOR_AVX2 static void run(const TapTileInput& input, float* sums) {
            tap_tile_body<8, N, S, R, W>(input, sums);
        }
    };
    static TapTile of(TapTileSize size) { return tap_tile_among<Tile, 12 / N>(size); }
};

}  // namespace

TapTile tap_tile_avx2(const TapTileKind& kind, TapTileSize size) {
    if (kind.depthwise) return kind.outputs == 8 ? OfAvx2<1, 0>::of(size) : OfAvx2<2, 0>::of(size);
    switch (kind.src_block) {
        case 1:
            return kind.outputs == 8 ? OfAvx2<1, 1>::of(size) : OfAvx2<2, 1>::of(size);
        case 8:
            return kind.outputs == 8 ? OfAvx2<1, 8>::of(size) : OfAvx2<2, 8>::of(size);
        default:
            return OfAvx2<2, 16>::of(size);
    }
}

#else

TapTile tap_tile_avx2(const TapTileKind&, TapTileSize) {
    throw std::logic_error("tap_tile: not on this processor");
}

#endif

}  // namespace iwseg::cpu
