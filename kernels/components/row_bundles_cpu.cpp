#include "kernels/components/row_bundles.h"

#include <cstring>

#include "kernels/components/mask_bits.h"
#include "kernels/cpu/vector_clones.h"

namespace iwseg::cpu {
namespace {

/// One row, to every `stride`-th place. Returns whether it holds foreground.
[[gnu::always_inline]] inline bool read_row(const std::uint8_t* from, std::int64_t width, int stride,
                                            std::uint64_t* bits) {
    std::uint64_t any = 0;
    for (; width >= 64; width -= 64, from += 64, bits += stride) any |= * bits = bits_of_64(from);
    if (width > 0) {
        std::uint8_t tail[64] = {};
        std::memcpy(tail, from, width);
        any |= * bits = bits_of_64(tail);
    }
    return any != 0;
}

template <class B>
IWSEG_VECTOR_CLONES void find(const std::uint8_t* mask, const Shape& shape, BundleSlab& slab) {
    std::int32_t runs = 0;
    for (std::int64_t bundle = 0; bundle < slab.bundles(); ++bundle) {
        std::uint64_t* const bits = slab.bits.get() + bundle * slab.words * B::kRows;
        slab.runs_before[bundle] = runs;
        const BundlePlace place = place_of<B>(slab, bundle);
        bool any = false;
        for (int r = 0; r < B::kRows; ++r) {
            const std::int64_t z = place.z + r / B::kHigh, y = place.y + r % B::kHigh;
            if (z < shape.d && y < shape.h)
                any |= read_row(mask + (z * shape.h + y) * shape.w, shape.w, B::kRows, bits + r);
            else
                for (std::int64_t word = 0; word < slab.words; ++word) bits[word * B::kRows + r] = 0;
        }
        if (!any) continue;
        std::uint64_t last = 0;
        for (std::int64_t word = 0; word < slab.words; ++word) {
            const std::uint64_t columns = columns_of<B>(bits + word * B::kRows);
            const std::uint64_t starts = columns & ~(columns << 1 | last);
            slab.starts[bundle * slab.words + word] = {starts, runs};
            runs += std::popcount(starts);
            last = columns >> 63;
        }
    }
    slab.runs_before[slab.bundles()] = slab.runs = runs;
}

}  // namespace

void find_runs(int connectivity, const std::uint8_t* mask, const Shape& shape, BundleSlab& slab) {
    with_bundling(connectivity, [&](auto bundling) {
        using B = decltype(bundling);
        slab.words = (shape.w + 63) / 64;
        slab.high = (shape.h + B::kHigh - 1) / B::kHigh;
        slab.bits = std::make_unique_for_overwrite<std::uint64_t[]>(slab.bundles() * slab.words * B::kRows);
        slab.starts = std::make_unique_for_overwrite<RunStarts[]>(slab.bundles() * slab.words);
        slab.runs_before = std::make_unique_for_overwrite<std::int32_t[]>(slab.bundles() + 1);
        find<B>(mask, shape, slab);
    });
}

}  // namespace iwseg::cpu
