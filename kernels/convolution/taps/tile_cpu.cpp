#include "kernels/convolution/taps/tile.h"

#include <algorithm>

#include "kernels/convolution/row_tile.h"
#include "kernels/convolution/weight_gradient_pairs.h"
#include "kernels/cpu/instruction_set.h"

namespace iwseg::cpu {

Vectors best_vectors() {
#if IWSEG_TAPS_ON_X86
    if (row_tiles_work()) return Vectors::avx512;
    if (may_use(InstructionSet::avx2)) return Vectors::eight;
#elif IWSEG_TAPS_OF_EIGHT
    if (may_use(InstructionSet::neon)) return Vectors::eight;
#endif
    return Vectors::none;
}

const char* name_of(Vectors vectors) {
    if (vectors == Vectors::none) return "none";
    return vectors == Vectors::avx512 ? "AVX-512" : IWSEG_TAPS_ON_X86 ? "AVX2" : "NEON";
}

bool tap_pairs_work() {
    return pairs_work();
}

int most_tap_outputs(Vectors vectors) {
    return vectors == Vectors::eight ? 16 : kTapTileOutputs;
}

TapTileSize largest_tap_tile(const TapTileKind& kind, std::int64_t width) {
    const int most = kind.vectors == Vectors::eight ? 96 / kind.outputs : kTapTilePositions;
    // As many rows as fit at the whole width, so that narrow volumes fill the registers too.
    const auto rows = static_cast<int>(std::clamp<std::int64_t>(most / std::max<std::int64_t>(width, 1), 1, 4));
    return {rows, most / rows};
}

TapTile tap_tile(const TapTileKind& kind, TapTileSize size) {
    if (kind.pairs) return tap_tile_pairs(kind.outputs, size);
    return kind.vectors == Vectors::avx512 ? tap_tile_avx512(kind, size) : tap_tile_of_eight(kind, size);
}

}  // namespace iwseg::cpu
