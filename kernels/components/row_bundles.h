#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <memory>

#include "kernels/device/view.h"

// How the CPU labels components. Rows of voxels are read 64 at a time as bitmasks, and rows that lie side by side are
// taken together as a bundle, as many as the connectivity lets all voxels of two columns touch each other in:
//
//                  6        18             26
//      rows        1        2, along y     2 x 2, along y and z
//
// So the columns of a bundle that hold foreground in any of its rows form runs, each of which is of one component, and
// what is joined are runs: at connectivity 26 and a density of 0.1 they are 0.6 times the runs of the rows, at 0.3 less
// than a quarter. A plane is the bundles of one depth. Bundles are visited in raster order, so only four bundles that
// touch a bundle come before it:
//
//        plane before              this plane
//      y - 1   above_left        y - 1   left
//      y       above             y       (bundle)
//      y + 1   above_right
//
// The stages, each of which every thread does for a slab of planes of its own:
//   find_runs          bits of the rows, and runs of each bundle
//   join_slab          union of the runs that touch; the seams between slabs are joined after it (join_seam)
//   number_components  labels in the order of the components' first voxels
//   write_labels       which voxels have which
// The result does not depend on how the volume was cut.
namespace iwseg::cpu {

/// Rows of a bundle (`ours`, bit r for row r, which lies r % kHigh along y and r / kHigh along z) that touch rows of a
/// neighbour (`theirs`): in the same column, and if `diagonal` also one column further.
struct Touch {
    unsigned ours, theirs;
    bool diagonal;
};

template <int Connectivity>
struct Bundling;

template <>
struct Bundling<6> {
    static constexpr int kHigh = 1, kDeep = 1, kRows = kHigh * kDeep;
    static constexpr Touch kLeft[] = {{1, 1, false}}, kAbove[] = {{1, 1, false}};
};

template <>
struct Bundling<18> {
    static constexpr int kHigh = 2, kDeep = 1, kRows = kHigh * kDeep;
    static constexpr Touch kLeft[] = {{0b01, 0b10, true}};
    static constexpr Touch kAbove[] = {
        {0b01, 0b01, true}, {0b10, 0b10, true}, {0b01, 0b10, false}, {0b10, 0b01, false}};
    static constexpr Touch kAboveLeft[] = {{0b01, 0b10, false}}, kAboveRight[] = {{0b10, 0b01, false}};
};

template <>
struct Bundling<26> {
    static constexpr int kHigh = 2, kDeep = 2, kRows = kHigh * kDeep;
    static constexpr Touch kLeft[] = {{0b0101, 0b1010, true}}, kAbove[] = {{0b0011, 0b1100, true}};
    static constexpr Touch kAboveLeft[] = {{0b0001, 0b1000, true}}, kAboveRight[] = {{0b0010, 0b0100, true}};
};

/// Calls body(Bundling<connectivity>()).
template <class Body>
auto with_bundling(int connectivity, Body&& body) {
    if (connectivity == 6) return body(Bundling<6>());
    if (connectivity == 18) return body(Bundling<18>());
    return body(Bundling<26>());
}

/// Where the runs of a bundle begin among 64 columns.
struct RunStarts {
    std::uint64_t bits;
    std::int32_t before;  ///< runs of the slab that begin before these columns
};

/// Whole planes, as one thread takes them. Runs are numbered through all slabs.
struct BundleSlab {
    std::int64_t first_plane = 0, last_plane = 0;  ///< [first, last)
    std::int64_t high = 0, words = 0;              ///< bundles of a plane, and words of 64 columns of a bundle
    std::int32_t first_run = 0, runs = 0;
    std::int32_t components_before = 0;           ///< that begin in earlier slabs
    std::unique_ptr<std::uint64_t[]> bits;        ///< [bundle][word][row]
    std::unique_ptr<RunStarts[]> starts;          ///< [bundle][word]; of bundles without runs they are not set
    std::unique_ptr<std::int32_t[]> runs_before;  ///< [bundle], and at the end the count of all

    std::int64_t bundles() const { return (last_plane - first_plane) * high; }
    std::int32_t first_run_of(std::int64_t bundle) const { return first_run + runs_before[bundle]; }
    bool is_empty(std::int64_t bundle) const { return runs_before[bundle] == runs_before[bundle + 1]; }
};

/// Where a bundle lies: its first row.
struct BundlePlace {
    std::int64_t z, y;
};
template <class B>
[[gnu::always_inline]] inline BundlePlace place_of(const BundleSlab& slab, std::int64_t bundle) {
    return {(slab.first_plane + bundle / slab.high) * B::kDeep, bundle % slab.high * B::kHigh};
}

/// Columns that hold foreground in any of the rows that `which` names.
template <class B>
[[gnu::always_inline]] inline std::uint64_t columns_of(const std::uint64_t* rows,
                                                       unsigned which = (1U << B::kRows) - 1) {
    std::uint64_t columns = 0;
    for (int r = 0; r < B::kRows; ++r)
        if (which >> r & 1) columns |= rows[r];
    return columns;
}

/// Calls body(columns, run) for every run of a bundle, or for what lies of it among these 64 columns.
template <class Body>
[[gnu::always_inline]] inline void each_run(const BundleSlab& slab, std::uint64_t columns, const RunStarts& starts,
                                            Body&& body) {
    std::int32_t run = slab.first_run + starts.before - 1;
    while (columns != 0) {
        const std::uint64_t lowest = columns & (~columns + 1), others = columns & (columns + lowest);
        run += static_cast<std::int32_t>((starts.bits & lowest) != 0);
        body(columns ^ others, run);
        columns = others;
    }
}

/// Sets all of a slab but the numbers of what comes before it.
void find_runs(int connectivity, const std::uint8_t* mask, const Shape& shape, BundleSlab& slab);

/// Joins runs of the slab that touch. parent: of every run of the volume, set here for those of the slab; never larger
/// than its run.
void join_slab(int connectivity, const BundleSlab& slab, std::int32_t* parent);
/// The same for the slab's first plane and the last of the slab before it.
void join_seam(int connectivity, const BundleSlab& slab, const BundleSlab& before, std::int32_t* parent);

/// root: of every run, the first run of its component. label: of roots in this slab, set here.
void number_components(int connectivity, const BundleSlab& slab, const std::int32_t* root, std::int32_t* label);

struct LabelSink {
    std::int32_t* labels;  ///< of the volume
    std::int64_t* sizes;   ///< voxels of each label in this slab are added, from label 1 on, or null
    bool past_cache;       ///< whether labels are too many for it
    bool clear;            ///< background becomes 0; else it is left as it was
};
void write_labels(int connectivity, const BundleSlab& slab, const std::uint8_t* mask, const Shape& shape,
                  const std::int32_t* root, const std::int32_t* label, const LabelSink& sink);

}  // namespace iwseg::cpu
