#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "kernels/components/row_bundles.h"
#include "kernels/cpu/past_cache.h"
#include "kernels/cpu/vector_clones.h"

// A bundle's labels are written as one line first, which the mask then cuts each of its rows out of.
namespace iwseg::cpu {
namespace {

constexpr int kAtOnce = 16;  ///< labels of a run that are stored at once: few runs are longer

/// The label of every run, in the columns of its own; others are left. line: of whole words, and kAtOnce more.
template <class B>
[[gnu::always_inline]] inline void write_line(const BundleSlab& slab, std::int64_t bundle, const std::int32_t* root,
                                              const std::int32_t* label, std::int32_t* line, std::int64_t* sizes) {
    for (std::int64_t word = 0; word < slab.words; ++word, line += 64) {
        const std::int64_t at = bundle * slab.words + word;
        const std::uint64_t* const bits = slab.bits.get() + at * B::kRows;
        each_run(slab, columns_of<B>(bits), slab.starts[at], [&](std::uint64_t columns, std::int32_t run) {
            const std::int32_t value = label[root[run]];
            const int first = std::countr_zero(columns), last = 64 - std::countl_zero(columns);
            for (int column = first; column < last; column += kAtOnce)
                for (int i = 0; i < kAtOnce; ++i) line[column + i] = value;
            if (!sizes) return;
            std::int64_t size = 0;
            for (int r = 0; r < B::kRows; ++r) size += std::popcount(bits[r] & columns);
            sizes[value - 1] += size;
        });
    }
}

[[gnu::always_inline]] inline void cut_row(const std::uint8_t* mask, const std::int32_t* line, std::int64_t width,
                                           std::int32_t* to) {
    for (std::int64_t column = 0; column < width; ++column) to[column] = mask[column] != 0 ? line[column] : 0;
}

/// Rows of bundles without runs, up to the first that has some or the plane's end. Returns the bundle after them.
template <class B>
[[gnu::always_inline]] inline std::int64_t skip_empty(const BundleSlab& slab, std::int64_t bundle, const Shape& shape,
                                                      const LabelSink& sink) {
    const BundlePlace place = place_of<B>(slab, bundle);
    const std::int64_t plane_end = (bundle / slab.high + 1) * slab.high;
    std::int64_t end = bundle + 1;
    while (end < plane_end && slab.is_empty(end)) ++end;
    const std::int64_t rows = std::min<std::int64_t>((end - bundle) * B::kHigh, shape.h - place.y);
    for (std::int64_t z = place.z; sink.clear && z < std::min(place.z + B::kDeep, shape.d); ++z) {
        std::int32_t* const to = sink.labels + (z * shape.h + place.y) * shape.w;
        if (sink.past_cache)
            clear_past_cache(to, rows * shape.w);
        else
            std::memset(to, 0, rows * shape.w * sizeof(*to));
    }
    return end;
}

/// The same, but that background is left as it was.
[[gnu::always_inline]] inline void write_foreground(const std::uint8_t* mask, const std::int32_t* line,
                                                    std::int64_t width, std::int32_t* to) {
    for (std::int64_t column = 0; column < width; ++column)
        if (mask[column] != 0) to[column] = line[column];
}

template <class B>
IWSEG_VECTOR_CLONES void write(const BundleSlab& slab, const std::uint8_t* mask, const Shape& shape,
                               const std::int32_t* root, const std::int32_t* label, const LabelSink& sink) {
    std::vector<std::int32_t> line(slab.words * 64 + kAtOnce), row(sink.past_cache ? shape.w : 0);
    for (std::int64_t bundle = 0; bundle < slab.bundles();) {
        if (slab.is_empty(bundle)) {
            bundle = skip_empty<B>(slab, bundle, shape, sink);
            continue;
        }
        write_line<B>(slab, bundle, root, label, line.data(), sink.sizes);
        const BundlePlace place = place_of<B>(slab, bundle);
        for (int r = 0; r < B::kRows; ++r) {
            const std::int64_t z = place.z + r / B::kHigh, y = place.y + r % B::kHigh;
            if (z >= shape.d || y >= shape.h) continue;
            const std::int64_t first = (z * shape.h + y) * shape.w;
            std::int32_t* const to = sink.labels + first;
            if (!sink.clear) {
                write_foreground(mask + first, line.data(), shape.w, to);
                continue;
            }
            cut_row(mask + first, line.data(), shape.w, sink.past_cache ? row.data() : to);
            if (sink.past_cache) copy_past_cache(row.data(), shape.w, to);
        }
        ++bundle;
    }
    if (sink.past_cache) finish_past_cache();
}

}  // namespace

void write_labels(int connectivity, const BundleSlab& slab, const std::uint8_t* mask, const Shape& shape,
                  const std::int32_t* root, const std::int32_t* label, const LabelSink& sink) {
    with_bundling(connectivity,
                  [&](auto bundling) { write<decltype(bundling)>(slab, mask, shape, root, label, sink); });
}

}  // namespace iwseg::cpu
