#include "kernels/convolution/taps/tile_body.h"

// 32 registers of 16 numbers: up to 28 sums beside weights and a number of the source.
namespace iwseg::cpu {

#if IWSEG_TAPS_ON_X86
namespace {

template <int L, int N, int S>
struct OfAvx512 {
    template <int R, int W>
    struct Tile {
        IWSEG_FOR_AVX512 static void run(const TapTileInput& input, float* sums) {
            tap_tile_body<L, N, S, R, W>(input, sums);
        }
    };
    static TapTile of(TapTileSize size) { return tap_tile_among<Tile, kTapTilePositions>(size); }
};

template <int S>
TapTile of_source(int outputs, TapTileSize size) {
    return outputs == 8    ? OfAvx512<8, 1, S>::of(size)
           : outputs == 16 ? OfAvx512<16, 1, S>::of(size)
                           : OfAvx512<16, 2, S>::of(size);
}

}  // namespace

TapTile tap_tile_avx512(const TapTileKind& kind, TapTileSize size) {
    if (kind.depthwise) return kind.outputs == 8 ? OfAvx512<8, 1, 0>::of(size) : OfAvx512<16, 1, 0>::of(size);
    switch (kind.src_block) {
        case 1:
            return of_source<1>(kind.outputs, size);
        case 8:
            return of_source<8>(kind.outputs, size);
        default:
            return kind.outputs == 16 ? OfAvx512<16, 1, 16>::of(size) : OfAvx512<16, 2, 16>::of(size);
    }
}

#else

TapTile tap_tile_avx512(const TapTileKind&, TapTileSize) {
    throw std::logic_error("tap_tile: not on this processor");
}

#endif

}  // namespace iwseg::cpu
