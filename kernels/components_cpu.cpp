#include "kernels/components.h"

#include <omp.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/cpu_blocks.h"

// A row of voxels is read 64 at a time as a bitmask, and where bits change, runs of foreground begin and end: a run is
// what is joined, not a voxel. Rows are visited in raster order, so only four rows that touch a row come before it:
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
// Runs are numbered in raster order and a union keeps the smaller number, so a root is the run that holds the
// component's first voxel, and one sweep over the runs turns roots into consecutive labels. Every thread takes a slab
// of slices; the seams between slabs are joined after it. The result does not depend on how the volume was cut.
namespace iwseg::cpu {
namespace {

constexpr std::int64_t kSmallestSlab = std::int64_t{1} << 17;  ///< voxels; less is not worth a thread

/// Bit i tells whether byte i is nonzero.
std::uint64_t bits_of_eight(std::uint64_t bytes) {
    constexpr std::uint64_t low7 = 0x7F7F7F7F7F7F7F7F;
    const std::uint64_t nonzero = (((bytes & low7) + low7) | bytes) >> 7 & 0x0101010101010101;
    return nonzero * 0x0102040810204080 >> 56;  // moves bit 8i to bit 56 + i, each to a place of its own
}

std::uint64_t bits_of_64(const std::uint8_t* mask) {
    std::uint64_t bytes[8], any = 0, bits = 0;
    std::memcpy(bytes, mask, sizeof(bytes));
    for (const std::uint64_t eight : bytes) any |= eight;
    if (any == 0) return 0;
    for (int i = 0; i < 8; ++i) bits |= bits_of_eight(bytes[i]) << 8 * i;
    return bits;
}

/// Runs of one row: run i, of number first + i, covers columns [edges[2i], edges[2i + 1]).
struct Row {
    const std::int32_t* edges;
    std::int32_t first, count;
};

/// The runs of whole slices that one thread found.
struct Slab {
    std::int64_t first_row = 0, last_row = 0;  ///< [first, last) among all D * H rows
    std::int32_t first_run = 0;
    std::vector<std::int32_t> edges;
    std::vector<std::int32_t> runs_before;  ///< of each row, in this slab

    std::int32_t runs() const { return static_cast<std::int32_t>(edges.size() / 2); }
    Row row(std::int64_t index) const {
        const std::int32_t before = runs_before[index - first_row];
        return {edges.data() + 2 * static_cast<std::size_t>(before), first_run + before,
                runs_before[index - first_row + 1] - before};
    }
};

/// Writes where runs of a row begin and end; returns how many numbers that were. edges has room for width + 1.
std::int64_t edges_of_row(const std::uint8_t* mask, std::int64_t width, std::int32_t* edges) {
    std::int64_t count = 0;
    std::uint64_t before = 0;
    for (std::int64_t column = 0; column < width; column += 64) {
        std::uint8_t tail[64] = {};
        if (column + 64 > width) std::memcpy(tail, mask + column, width - column);
        const std::uint64_t bits = bits_of_64(column + 64 > width ? tail : mask + column);
        for (std::uint64_t changes = bits ^ (bits << 1 | before); changes != 0; changes &= changes - 1)
            edges[count++] = static_cast<std::int32_t>(column + std::countr_zero(changes));
        before = bits >> 63;
    }
    if (count % 2 == 1) edges[count++] = static_cast<std::int32_t>(width);
    return count;
}

void find_runs(const std::uint8_t* mask, std::int64_t width, Slab& slab) {
    std::vector<std::int32_t> edges(static_cast<std::size_t>(width) + 1);
    slab.runs_before.reserve(slab.last_row - slab.first_row + 1);
    slab.runs_before.push_back(0);
    for (std::int64_t row = slab.first_row; row < slab.last_row; ++row) {
        const std::int64_t count = edges_of_row(mask + row * width, width, edges.data());
        slab.edges.insert(slab.edges.end(), edges.begin(), edges.begin() + count);
        slab.runs_before.push_back(slab.runs());
    }
}

std::int32_t root_of(std::int32_t* parent, std::int32_t run) {
    while (parent[run] != run) run = parent[run] = parent[parent[run]];
    return run;
}

void join(std::int32_t* parent, std::int32_t a, std::int32_t b) {
    a = root_of(parent, a);
    b = root_of(parent, b);
    parent[std::max(a, b)] = std::min(a, b);
}

void join_rows(const Row& a, const Row& b, std::int32_t reach, std::int32_t* parent) {
    std::int32_t i = 0, j = 0;
    while (i < a.count && j < b.count) {
        const std::int32_t end_a = a.edges[2 * i + 1], end_b = b.edges[2 * j + 1];
        if (a.edges[2 * i] < end_b + reach && b.edges[2 * j] < end_a + reach) join(parent, a.first + i, b.first + j);
        // The run that ends first touches nothing further in the other row.
        end_a < end_b ? ++i : ++j;
    }
}

/// How far runs reach into the earlier rows; -1: not at all.
struct Reach {
    std::int32_t straight, diagonal;
};

Reach reach_of(int connectivity) {
    switch (connectivity) {
        case 6: return {0, -1};
        case 18: return {1, 0};
        default: return {1, 1};
    }
}

/// Joins row y of a slice, found in `slab`, with the slice before it, found in `above`.
void join_with_slice_above(const Slab& slab, std::int64_t row, const Slab& above, std::int64_t height, Reach reach,
                           std::int32_t* parent) {
    const Row runs = slab.row(row);
    if (runs.count == 0) return;
    const std::int64_t y = row % height;
    join_rows(runs, above.row(row - height), reach.straight, parent);
    if (reach.diagonal < 0) return;
    if (y > 0) join_rows(runs, above.row(row - height - 1), reach.diagonal, parent);
    if (y + 1 < height) join_rows(runs, above.row(row - height + 1), reach.diagonal, parent);
}

void join_slab(const Slab& slab, std::int64_t height, Reach reach, std::int32_t* parent) {
    std::iota(parent + slab.first_run, parent + slab.first_run + slab.runs(), slab.first_run);
    for (std::int64_t row = slab.first_row; row < slab.last_row; ++row) {
        if (row % height > 0) join_rows(slab.row(row), slab.row(row - 1), reach.straight, parent);
        if (row - height >= slab.first_row) join_with_slice_above(slab, row, slab, height, reach, parent);
    }
}

void write_labels(const Slab& slab, std::int64_t width, const std::int32_t* label_of_run, std::int32_t* labels) {
    for (std::int64_t index = slab.first_row; index < slab.last_row; ++index) {
        const Row row = slab.row(index);
        std::int32_t* to = labels + index * width;
        std::int32_t column = 0;
        for (std::int32_t i = 0; i < row.count; ++i) {
            const std::int32_t begin = row.edges[2 * i], end = row.edges[2 * i + 1];
            std::fill(to + column, to + begin, 0);
            std::fill(to + begin, to + end, label_of_run[row.first + i]);
            column = end;
        }
        std::fill(to + column, to + width, 0);
    }
}

std::vector<Slab> cut_into_slabs(const Shape& shape) {
    const std::int64_t most = std::min<std::int64_t>(omp_get_max_threads(), shape.voxels() / kSmallestSlab);
    const std::int64_t count = std::clamp<std::int64_t>(most, 1, shape.d);
    std::vector<Slab> slabs(count);
    for (std::int64_t s = 0; s < count; ++s) {
        slabs[s].first_row = s * shape.d / count * shape.h;
        slabs[s].last_row = (s + 1) * shape.d / count * shape.h;
    }
    return slabs;
}

std::int32_t label_volume(const std::uint8_t* mask, const Shape& shape, Reach reach, std::int32_t* labels) {
    std::vector<Slab> slabs = cut_into_slabs(shape);
    const int threads = static_cast<int>(slabs.size());
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int s = 0; s < threads; ++s) find_runs(mask, shape.w, slabs[s]);

    std::int32_t runs = 0;
    for (Slab& slab : slabs) {
        slab.first_run = runs;
        runs += slab.runs();
    }
    const auto parents = std::make_unique_for_overwrite<std::int32_t[]>(runs);
    std::int32_t* const parent = parents.get();
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int s = 0; s < threads; ++s) join_slab(slabs[s], shape.h, reach, parent);
    for (int s = 1; s < threads; ++s)
        for (std::int64_t y = 0; y < shape.h; ++y)
            join_with_slice_above(slabs[s], slabs[s].first_row + y, slabs[s - 1], shape.h, reach, parent);

    // A parent comes before its run, so it holds its label already.
    std::int32_t count = 0;
    for (std::int32_t run = 0; run < runs; ++run) parent[run] = parent[run] == run ? ++count : parent[parent[run]];
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int s = 0; s < threads; ++s) write_labels(slabs[s], shape.w, parent, labels);
    return count;
}

}  // namespace

std::int64_t components_scratch_bytes(const Shape&, int) { return 0; }

void label_components(Stream, View mask, View labels, std::int32_t* counts, int connectivity, void*) {
    require_mask(mask, connectivity, "label_components");
    require_same(mask, labels, "label_components");
    if (labels.type != Type::i32) throw std::invalid_argument("label_components: labels are i32");
    const Shape& shape = mask.shape;
    const Reach reach = reach_of(connectivity);
    for (std::int64_t n = 0; n < shape.n; ++n) {
        counts[n] = 0;
        if (shape.voxels() == 0) continue;
        counts[n] = label_volume(mask.as<const std::uint8_t>() + n * shape.voxels(), shape, reach,
                                 labels.as<std::int32_t>() + n * shape.voxels());
    }
}

}  // namespace iwseg::cpu
