#include <bit>
#include <numeric>
#include <utility>

#include "kernels/components/row_bundles.h"
#include "kernels/cpu/vector_clones.h"

// Two runs of neighbouring bundles share one range of columns or none, so a few operations on the masks of both, 64
// columns at a time, give one bit for each pair of runs that touch, wherever and however often they do:
//   first   the first column of such a range in which they touch; where they touch across a diagonal and either run
//           goes on into the other's column, that column counts, as it is in the range;
//   before  a run's first column, where the other's last is the column before it;
//   after   a run's last column, where the other's first is the column after it.
// The number of a run at a column is the count of runs that begin up to it.
namespace iwseg::cpu {
namespace {

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

/// Columns in which runs touch, a bit for each pair of runs.
struct Contacts {
    std::uint64_t first, before, after;
};

/// Of a word of both bundles.
template <class B, const auto& kTouches>
[[gnu::always_inline]] inline Contacts contacts_of(const std::uint64_t* our_rows, const std::uint64_t* their_rows,
                                                   std::int64_t word, std::int64_t words) {
    std::uint64_t same = 0, before = 0, after = 0;
    for (const Touch& touch : kTouches) {
        const std::uint64_t ours = columns_of<B>(our_rows, touch.ours);
        const std::uint64_t theirs = columns_of<B>(their_rows, touch.theirs);
        same |= ours & theirs;
        if (!touch.diagonal) continue;
        const std::uint64_t last = word > 0 ? columns_of<B>(their_rows - B::kRows, touch.theirs) >> 63 : 0;
        const std::uint64_t next = word + 1 < words ? columns_of<B>(their_rows + B::kRows, touch.theirs) << 63 : 0;
        before |= ours & (theirs << 1 | last);
        after |= ours & (theirs >> 1 | next);
    }
    const std::uint64_t ours = columns_of<B>(our_rows), theirs = columns_of<B>(their_rows);
    same |= (before | after) & theirs;
    before &= ~theirs;
    after &= ~theirs;
    same |= (before & ours << 1) >> 1 | (after & ours >> 1) << 1;
    before &= ~(ours << 1);
    after &= ~(ours >> 1);
    // A carry runs from a column in which they touch to the end of the range; the sum differs from the range there.
    const std::uint64_t range = ours & theirs, behind = range & ((range ^ (range + same)) | same);
    return {same & ~(behind << 1), before, after};
}

template <class B, const auto& kTouches>
[[gnu::always_inline]] inline void join_bundles(const BundleSlab& slab, std::int64_t bundle,
                                                const BundleSlab& other_slab, std::int64_t other,
                                                std::int32_t* parent) {
    if (other_slab.is_empty(other)) return;
    const std::int64_t words = slab.words;
    const std::uint64_t* ours = slab.bits.get() + bundle * words * B::kRows;
    const std::uint64_t* theirs = other_slab.bits.get() + other * words * B::kRows;
    for (std::int64_t word = 0; word < words; ++word, ours += B::kRows, theirs += B::kRows) {
        if (columns_of<B>(ours) == 0) continue;
        const Contacts contacts = contacts_of<B, kTouches>(ours, theirs, word, words);
        const RunStarts our_starts = slab.starts[bundle * words + word];
        const RunStarts their_starts = other_slab.starts[other * words + word];
        const std::int32_t our_last = slab.first_run + our_starts.before - 1;
        const std::int32_t their_last = other_slab.first_run + their_starts.before - 1;
        // next: whether it is the other bundle's run that begins after the column.
        const auto join_at = [&](int column, bool next) __attribute__((always_inline)) {
            const std::uint64_t up_to = ~std::uint64_t{0} >> (63 - column);
            join(parent, our_last + std::popcount(our_starts.bits & up_to),
                 their_last + std::popcount(their_starts.bits & up_to) + static_cast<std::int32_t>(next));
        };
        for (std::uint64_t both = contacts.before & contacts.after; both != 0; both &= both - 1)
            join_at(std::countr_zero(both), false);
        // All kinds in one loop, as leaving a loop costs about what a join does.
        for (std::uint64_t all = contacts.first | contacts.before | contacts.after; all != 0; all &= all - 1) {
            const int column = std::countr_zero(all);
            join_at(column, (contacts.after >> column & 1) != 0);
        }
    }
}

/// Joins a bundle with the plane before it, in which `above` has its place.
template <class B>
[[gnu::always_inline]] inline void join_with_plane(const BundleSlab& slab, std::int64_t bundle,
                                                   const BundleSlab& other_slab, std::int64_t above,
                                                   std::int32_t* parent) {
    join_bundles<B, B::kAbove>(slab, bundle, other_slab, above, parent);
    if constexpr (B::kHigh > 1) {
        const std::int64_t y = bundle % slab.high;
        if (y > 0) join_bundles<B, B::kAboveLeft>(slab, bundle, other_slab, above - 1, parent);
        if (y + 1 < slab.high) join_bundles<B, B::kAboveRight>(slab, bundle, other_slab, above + 1, parent);
    }
}

template <class B>
IWSEG_VECTOR_CLONES void join_all(const BundleSlab& slab, std::int32_t* parent) {
    std::iota(parent + slab.first_run, parent + slab.first_run + slab.runs, slab.first_run);
    for (std::int64_t bundle = 0; bundle < slab.bundles(); ++bundle) {
        if (slab.is_empty(bundle)) continue;
        if (bundle % slab.high > 0) join_bundles<B, B::kLeft>(slab, bundle, slab, bundle - 1, parent);
        if (bundle >= slab.high) join_with_plane<B>(slab, bundle, slab, bundle - slab.high, parent);
    }
}

template <class B>
IWSEG_VECTOR_CLONES void join_planes(const BundleSlab& slab, const BundleSlab& before, std::int32_t* parent) {
    for (std::int64_t bundle = 0; bundle < slab.high; ++bundle)
        if (!slab.is_empty(bundle))
            join_with_plane<B>(slab, bundle, before, before.bundles() - slab.high + bundle, parent);
}

}  // namespace

void join_slab(int connectivity, const BundleSlab& slab, std::int32_t* parent) {
    with_bundling(connectivity, [&](auto bundling) { join_all<decltype(bundling)>(slab, parent); });
}

void join_seam(int connectivity, const BundleSlab& slab, const BundleSlab& before, std::int32_t* parent) {
    with_bundling(connectivity, [&](auto bundling) { join_planes<decltype(bundling)>(slab, before, parent); });
}

}  // namespace iwseg::cpu
