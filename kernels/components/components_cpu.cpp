#include "kernels/components/components.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/components/component_weights.h"
#include "kernels/cpu/cpu_blocks.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vector_clones.h"

// A row of voxels is read 64 at a time as a bitmask. What is joined are runs of foreground, not voxels. Rows are
// visited in raster order, so only four rows that touch a row come before it:
//
//        slice z - 1          slice z
//      y - 1   above_left    y - 1   left
//      y       above         y       (row)
//      y + 1   above_right
//
// Along the row a run touches what lies within its own columns, or one column further (`reach` 1) where the
// connectivity counts the diagonal step that this needs:
//
//                   6       18      26
//      left         0       1       1
//      above        0       1       1
//      above_left   -       0       1      - : rows that do not touch
//      above_right  -       0       1
//
// Where two runs touch first is a bit that a few operations on the masks of both rows give, 64 columns at a time; the
// number of a run at a column is the count of runs that begin before it. So the work is one join a contact, whatever
// the number of runs.
//
// Runs are numbered in raster order and a union keeps the smaller number, so a root is the run that holds the
// component's first voxel, and one sweep over the runs turns roots into consecutive labels. Every thread takes a slab
// of slices; the seams between slabs are joined after it. The result does not depend on how the volume was cut.
namespace iwseg::cpu {
namespace {

constexpr std::int64_t kSmallestSlab = std::int64_t{1} << 17;  ///< voxels; less is not worth a thread

/// Bit i tells whether byte i is nonzero.
[[gnu::always_inline]] inline std::uint64_t bits_of_eight(std::uint64_t bytes) {
    constexpr std::uint64_t low7 = 0x7F7F7F7F7F7F7F7F;
    const std::uint64_t nonzero = (((bytes & low7) + low7) | bytes) >> 7 & 0x0101010101010101;
    return nonzero * 0x0102040810204080 >> 56;  // moves bit 8i to bit 56 + i, each to a place of its own
}

[[gnu::always_inline]] inline std::uint64_t bits_of_64(const std::uint8_t* mask) {
    std::uint64_t bytes[8], any = 0, bits = 0;
    std::memcpy(bytes, mask, sizeof(bytes));
    for (const std::uint64_t eight : bytes) any |= eight;
    if (any == 0) return 0;
    for (int i = 0; i < 8; ++i) bits |= bits_of_eight(bytes[i]) << 8 * i;
    return bits;
}

/// A row as a bitmask.
struct Row {
    const std::uint64_t* bits;
    const std::int32_t* runs_before;  ///< of each word: runs of the slab that begin before it
    std::int32_t first_run;           ///< of the slab

    /// Bits at which runs begin.
    [[gnu::always_inline]] std::uint64_t starts(std::int64_t word) const { return bits[word] & ~before(word); }
    /// The mask moved by one column: bit c is what lies at column c - 1, or c + 1.
    [[gnu::always_inline]] std::uint64_t before(std::int64_t word) const {
        return bits[word] << 1 | (word > 0 ? bits[word - 1] >> 63 : 0);
    }
    [[gnu::always_inline]] std::uint64_t after(std::int64_t word, std::int64_t words) const {
        return bits[word] >> 1 | (word + 1 < words ? bits[word + 1] << 63 : 0);
    }
    /// The number of the run that holds a column of foreground.
    [[gnu::always_inline]] std::int32_t run_at(std::int64_t column) const {
        const std::int64_t word = column / 64;
        const std::uint64_t up_to = ~std::uint64_t{0} >> (63 - column % 64);
        return first_run + runs_before[word] + std::popcount(starts(word) & up_to) - 1;
    }
};

/// Whole slices, as one thread takes them.
struct Slab {
    std::int64_t first_row = 0, last_row = 0;  ///< [first, last) among all D * H rows
    std::int64_t words = 0;                    ///< of a row
    std::int32_t first_run = 0, runs = 0;
    std::vector<std::uint64_t> bits;
    std::vector<std::int32_t> runs_before;  ///< of each word, and at the end the count of all

    Row row(std::int64_t index) const {
        const std::int64_t at = (index - first_row) * words;
        return {bits.data() + at, runs_before.data() + at, first_run};
    }
    bool is_empty(std::int64_t index) const {
        const std::int64_t at = (index - first_row) * words;
        return runs_before[at] == runs_before[at + words];
    }
};

IWSEG_VECTOR_CLONES void find_runs(const std::uint8_t* mask, std::int64_t width, Slab& slab) {
    slab.words = (width + 63) / 64;
    const std::int64_t rows = slab.last_row - slab.first_row;
    slab.bits.resize(rows * slab.words);
    slab.runs_before.resize(rows * slab.words + 1);
    std::int64_t at = 0;
    for (std::int64_t index = slab.first_row; index < slab.last_row; ++index) {
        const Row row = slab.row(index);
        for (std::int64_t word = 0; word < slab.words; ++word, ++at) {
            const std::uint8_t* from = mask + index * width + word * 64;
            std::uint8_t tail[64] = {};
            if (word * 64 + 64 > width)
                from = static_cast<const std::uint8_t*>(std::memcpy(tail, from, width - word * 64));
            slab.bits[at] = bits_of_64(from);
            slab.runs_before[at] = slab.runs;
            if (slab.bits[at] != 0) slab.runs += std::popcount(row.starts(word));
        }
    }
    slab.runs_before[at] = slab.runs;
}

/// Rem's union: climbs from both runs at once, and hangs what it passes below the smaller parent. Parents are never
/// larger than their runs, so it ends.
[[gnu::always_inline]] inline void join(std::int32_t* parent, std::int32_t a, std::int32_t b) {
    while (parent[a] != parent[b]) {
        if (parent[a] < parent[b]) std::swap(a, b);
        const std::int32_t above = parent[a];
        parent[a] = parent[b];
        if (above == a) break;
        a = above;
    }
}

/// Calls body(column) for every bit.
template <class Body>
[[gnu::always_inline]] inline void each_bit(std::uint64_t bits, std::int64_t word, Body&& body) {
    for (; bits != 0; bits &= bits - 1) body(word * 64 + std::countr_zero(bits));
}

/// Joins what touches in rows a and b; contacts at columns of `implied` are left out, as other rows join the same.
template <class Implied>
[[gnu::always_inline]] inline void join_rows(const Row& a, const Row& b, std::int64_t words, bool diagonal,
                                             std::int32_t* parent, Implied&& implied) {
    for (std::int64_t word = 0; word < words; ++word) {
        const std::uint64_t here = a.bits[word] & ~implied(word), there = b.bits[word];
        if (here == 0) continue;
        // Where both are foreground, and were not one column before: once for a pair of runs that share columns.
        std::uint64_t first = here & there & ~(a.before(word) & b.before(word)), begins = 0;
        if (diagonal) {
            // A run ends where the other's begins one column after, or begins where the other's ended one column
            // before.
            const std::uint64_t ends = here & ~a.after(word, words) & b.after(word, words) & ~there;
            each_bit(ends, word, [&](std::int64_t c) { join(parent, a.run_at(c), b.run_at(c + 1)); });
            begins = here & ~a.before(word) & b.before(word) & ~there;
            first |= begins;
        }
        // Both kinds in one loop, as leaving a loop costs about what a join does.
        each_bit(first, word, [&](std::int64_t c) {
            join(parent, a.run_at(c), b.run_at(c - static_cast<std::int64_t>(begins >> c % 64 & 1)));
        });
    }
}

/// How far runs reach into the earlier rows; -1: not at all.
struct Reach {
    std::int32_t straight, diagonal;
};

Reach reach_of(int connectivity) {
    switch (connectivity) {
        case 6:
            return {0, -1};
        case 18:
            return {1, 0};
        default:
            return {1, 1};
    }
}

/// Joins row y of a slice, found in `slab`, with the slice before it, found in `above`.
[[gnu::always_inline]] inline void join_with_slice_above(const Slab& slab, std::int64_t row, const Slab& above,
                                                         std::int64_t height, Reach reach, std::int32_t* parent) {
    if (slab.is_empty(row)) return;
    const std::int64_t y = row % height;
    // By connectivity 26 a voxel of the row to the left touches all that its neighbour touches in `above` and
    // `above_left`, and one of `above` all that its neighbour touches in `above_left` and `above_right`.
    const bool all_touch = reach.diagonal > 0;
    const std::uint64_t* const left = all_touch && y > 0 ? slab.row(row - 1).bits : nullptr;
    const std::uint64_t* const middle = all_touch ? above.row(row - height).bits : nullptr;
    for (std::int64_t step = -1; step <= 1; ++step) {
        const std::int32_t along = step == 0 ? reach.straight : reach.diagonal;
        const std::int64_t other = row - height + step;
        if (along < 0 || y + step < 0 || y + step >= height || above.is_empty(other)) continue;
        join_rows(slab.row(row), above.row(other), slab.words, along > 0, parent, [&](std::int64_t word) {
            return (left && step <= 0 ? left[word] : 0) | (middle && step != 0 ? middle[word] : 0);
        });
    }
}

IWSEG_VECTOR_CLONES void join_slab(const Slab& slab, std::int64_t height, Reach reach, std::int32_t* parent) {
    std::iota(parent + slab.first_run, parent + slab.first_run + slab.runs, slab.first_run);
    for (std::int64_t row = slab.first_row; row < slab.last_row; ++row) {
        if (slab.is_empty(row)) continue;
        if (row % height > 0 && !slab.is_empty(row - 1))
            join_rows(slab.row(row), slab.row(row - 1), slab.words, reach.straight > 0, parent,
                      [](std::int64_t) { return std::uint64_t{0}; });
        if (row - height >= slab.first_row) join_with_slice_above(slab, row, slab, height, reach, parent);
    }
}

/// sizes: voxels of each label in this slab are added, from label 1 on, or null.
IWSEG_VECTOR_CLONES void write_labels(const Slab& slab, std::int64_t width, const std::int32_t* label_of_run,
                                      std::int32_t* labels, std::int64_t* sizes) {
    for (std::int64_t index = slab.first_row; index < slab.last_row; ++index) {
        if (slab.is_empty(index)) continue;
        const Row row = slab.row(index);
        for (std::int64_t word = 0; word < slab.words; ++word) {
            const std::uint64_t starts = row.starts(word);
            std::int32_t run = slab.first_run + row.runs_before[word] - 1;
            for (std::uint64_t rest = row.bits[word]; rest != 0;) {
                const int begin = std::countr_zero(rest), count = std::countr_one(rest >> begin);
                run += static_cast<std::int32_t>(starts >> begin & 1);
                const std::int32_t label = label_of_run[run];
                std::int32_t* to = labels + index * width + word * 64 + begin;
                for (int i = 0; i < count; ++i) to[i] = label;
                if (sizes) sizes[label - 1] += count;
                rest = count + begin == 64 ? 0 : rest >> (begin + count) << (begin + count);
            }
        }
    }
}

std::vector<Slab> cut_into_slabs(const Shape& shape, int threads) {
    const std::int64_t most = std::min<std::int64_t>(threads, shape.voxels() / kSmallestSlab);
    const std::int64_t count = std::clamp<std::int64_t>(most, 1, shape.d);
    std::vector<Slab> slabs(count);
    for (std::int64_t s = 0; s < count; ++s) {
        slabs[s].first_row = s * shape.d / count * shape.h;
        slabs[s].last_row = (s + 1) * shape.d / count * shape.h;
    }
    return slabs;
}

/// sizes: if given, receives the voxels of each label from 1 on, and background is left as it was; else it becomes 0.
std::int32_t label_volume(Stream stream, const std::uint8_t* mask, const Shape& shape, Reach reach,
                          std::int32_t* labels, std::vector<std::int64_t>* sizes) {
    std::vector<Slab> slabs = cut_into_slabs(shape, thread_count(stream));
    const auto count_of_slabs = static_cast<std::int64_t>(slabs.size());
    parallel_for(stream, count_of_slabs, [&](std::int64_t s) { find_runs(mask, shape.w, slabs[s]); });

    std::int32_t runs = 0;
    for (Slab& slab : slabs) {
        slab.first_run = runs;
        runs += slab.runs;
    }
    const auto parents = std::make_unique_for_overwrite<std::int32_t[]>(runs);
    std::int32_t* const parent = parents.get();
    parallel_for(stream, count_of_slabs, [&](std::int64_t s) { join_slab(slabs[s], shape.h, reach, parent); });
    for (std::int64_t s = 1; s < count_of_slabs; ++s)
        for (std::int64_t y = 0; y < shape.h; ++y)
            join_with_slice_above(slabs[s], slabs[s].first_row + y, slabs[s - 1], shape.h, reach, parent);

    // A parent comes before its run, so it holds its label already.
    std::int32_t count = 0;
    for (std::int32_t run = 0; run < runs; ++run) parent[run] = parent[run] == run ? ++count : parent[parent[run]];
    std::vector<std::vector<std::int64_t>> slab_sizes(sizes ? count_of_slabs : 0, std::vector<std::int64_t>(count));
    parallel_for(stream, count_of_slabs, [&](std::int64_t s) {
        const std::int64_t first = slabs[s].first_row * shape.w, last = slabs[s].last_row * shape.w;
        // All at once: a large clearing goes past the cache.
        if (!sizes) std::memset(labels + first, 0, (last - first) * sizeof(*labels));
        write_labels(slabs[s], shape.w, parent, labels, sizes ? slab_sizes[s].data() : nullptr);
    });
    if (sizes) {
        sizes->assign(count, 0);
        for (const auto& of_slab : slab_sizes)
            for (std::int32_t i = 0; i < count; ++i) (*sizes)[i] += of_slab[i];
    }
    return count;
}

void require_labelling(View mask, View labels, int connectivity, const char* operation) {
    require_mask(mask, connectivity, operation);
    require_same(mask, labels, operation);
    if (labels.type != Type::i32) throw std::invalid_argument(std::string(operation) + ": labels are i32");
}

}  // namespace

std::int64_t components_scratch_bytes(const Shape&, int) {
    return 0;
}

void label_components(Stream stream, View mask, View labels, std::int32_t* counts, int connectivity, void*) {
    require_labelling(mask, labels, connectivity, "label_components");
    const Shape& shape = mask.shape;
    for (std::int64_t n = 0; n < shape.n; ++n) {
        counts[n] = 0;
        if (shape.voxels() == 0) continue;
        counts[n] = label_volume(stream, mask.as<const std::uint8_t>() + n * shape.voxels(), shape,
                                 reach_of(connectivity), labels.as<std::int32_t>() + n * shape.voxels(), nullptr);
    }
}

std::int64_t component_weights_scratch_bytes(const Shape&, int) {
    return 0;
}

void component_weights(Stream stream, View mask, int connectivity, WeightClip clip, View labels, float* table, void*) {
    require_labelling(mask, labels, connectivity, "component_weights");
    const Shape& shape = mask.shape;
    const std::int64_t all = shape.voxels(), stride = component_label_bound(shape, connectivity);
    std::vector<std::int64_t> sizes;
    std::vector<std::uint8_t> known;
    for (std::int64_t n = 0; n < shape.n && all > 0; ++n) {
        const auto* patch = mask.as<const std::uint8_t>() + n * all;
        std::int64_t voxels = all;
        if (std::memchr(patch, kIgnored, static_cast<std::size_t>(all))) {  // few patches have any
            voxels -= std::count(patch, patch + all, kIgnored);
            known.assign(patch, patch + all);
            std::replace(known.begin(), known.end(), kIgnored, std::uint8_t{0});
            patch = known.data();
        }
        label_volume(stream, patch, shape, reach_of(connectivity), labels.as<std::int32_t>() + n * all, &sizes);
        const std::int64_t background = voxels - std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0});
        const double present = static_cast<double>(sizes.size()) + (background > 0 ? 1 : 0);
        const auto weight = [&](std::int64_t size) {
            return inverse_weight(static_cast<double>(voxels), present, static_cast<double>(size), clip);
        };
        table[n * stride] = background > 0 ? weight(background) : 0;
        for (std::size_t i = 0; i < sizes.size(); ++i)
            table[n * stride + 1 + static_cast<std::int64_t>(i)] = weight(sizes[i]);
    }
}

}  // namespace iwseg::cpu
