#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "kernels/components/row_bundles.h"
#include "kernels/cpu/vector_clones.h"

// A root is the component's first run, and the component's first voxel lies in the root's plane, but not always in the
// root: of two bundles the second may hold foreground in an earlier slice. So each root of a plane is given the
// smallest voxel of its runs there, one bit a voxel of the plane marks those, and a component's label is the number of
// marks up to its own.
namespace iwseg::cpu {
namespace {

/// Numbers the components that begin in a plane. Voxels count along the bits of the plane's rows, in raster order.
template <class B>
class PlaneNumbering {
  public:
    PlaneNumbering(const BundleSlab& slab, const std::int32_t* root)
        : slab_(slab), root_(root), marks_(slab.high * B::kRows * slab.words), before_(marks_.size()) {}

    /// Returns how many components begin up to this plane.
    [[gnu::always_inline]] inline std::int32_t number(std::int64_t plane, std::int32_t count, std::int32_t* label) {
        first_bundle_ = plane * slab_.high;
        first_run_ = slab_.first_run_of(first_bundle_);
        last_run_ = slab_.first_run_of(first_bundle_ + slab_.high);
        const std::int64_t roots = list_roots();
        if (roots == 0) return count;
        // One more, in the first place, for runs of components that begin before the plane.
        firsts_.assign(last_run_ - first_run_ + 1, INT64_MAX);
        for (std::int64_t y = 0; y < slab_.high; ++y) find_firsts(y);

        const auto first_of = [&](std::int64_t i) { return firsts_[roots_[i] - first_run_ + 1]; };
        for (std::int64_t i = 0; i < roots; ++i) marks_[first_of(i) / 64] |= std::uint64_t{1} << first_of(i) % 64;
        for (std::size_t word = 0; word < marks_.size(); ++word) {
            before_[word] = count;
            count += std::popcount(marks_[word]);
        }
        for (std::int64_t i = 0; i < roots; ++i) {
            const std::int64_t voxel = first_of(i);
            const std::uint64_t up_to = ~std::uint64_t{0} >> (63 - voxel % 64);
            label[roots_[i]] = before_[voxel / 64] + std::popcount(marks_[voxel / 64] & up_to);
        }
        std::fill(marks_.begin(), marks_.end(), 0);
        return count;
    }

  private:
    /// Without a branch, as nobody foretells where the roots are.
    [[gnu::always_inline]] inline std::int64_t list_roots() {
        roots_.resize(last_run_ - first_run_ + 1);
        std::int64_t roots = 0;
        for (std::int32_t run = first_run_; run < last_run_; ++run) {
            roots_[roots] = run;
            roots += static_cast<std::int64_t>(root_[run] == run);
        }
        return roots;
    }

    /// Of a bundle: what its runs say of the first voxels.
    [[gnu::always_inline]] inline void find_firsts(std::int64_t y) {
        const std::int64_t bundle = first_bundle_ + y;
        std::int32_t latest = -1;
        for (std::int32_t run = slab_.first_run_of(bundle); run < slab_.first_run_of(bundle + 1); ++run)
            latest = std::max(latest, root_[run]);
        if (latest < first_run_) return;                  // all begin before the plane
        std::int64_t* const firsts = firsts_.data() + 1;  // before them that of what began earlier
        for (std::int64_t word = 0; word < slab_.words; ++word) {
            const std::int64_t at = bundle * slab_.words + word;
            const std::uint64_t* const bits = slab_.bits.get() + at * B::kRows;
            std::int64_t row_starts[B::kRows];
            for (int r = 0; r < B::kRows; ++r) {
                const std::int64_t row = (r / B::kHigh * slab_.high + y) * B::kHigh + r % B::kHigh;
                row_starts[r] = (row * slab_.words + word) * 64;
            }
            each_run(slab_, columns_of<B>(bits), slab_.starts[at], [&](std::uint64_t columns, std::int32_t run) {
                std::int64_t voxel = INT64_MAX;
                for (int r = 0; r < B::kRows; ++r) {
                    const std::int64_t column = std::countr_zero(bits[r] & columns);
                    voxel = std::min(voxel, row_starts[r] + column + ((column & 64) << 54));  // none: 64, far behind
                }
                std::int64_t& first = firsts[std::max(root_[run] - first_run_, -1)];
                first = std::min(first, voxel);
            });
        }
    }

    const BundleSlab& slab_;
    const std::int32_t* root_;
    std::int64_t first_bundle_ = 0;
    std::int32_t first_run_ = 0, last_run_ = 0;
    std::vector<std::uint64_t> marks_;  ///< a bit a voxel
    std::vector<std::int32_t> before_;  ///< of each word of marks: components that begin before it
    std::vector<std::int32_t> roots_;
    std::vector<std::int64_t> firsts_;
};

template <class B>
IWSEG_VECTOR_CLONES void number(const BundleSlab& slab, const std::int32_t* root, std::int32_t* label) {
    PlaneNumbering<B> numbering(slab, root);
    std::int32_t count = slab.components_before;
    for (std::int64_t plane = 0; plane < slab.last_plane - slab.first_plane; ++plane)
        count = numbering.number(plane, count, label);
}

/// Runs of single rows are in the order of their first voxels.
template <>
void number<Bundling<6>>(const BundleSlab& slab, const std::int32_t* root, std::int32_t* label) {
    std::int32_t count = slab.components_before;
    for (std::int32_t run = slab.first_run; run < slab.first_run + slab.runs; ++run)
        if (root[run] == run) label[run] = ++count;
}

}  // namespace

void number_components(int connectivity, const BundleSlab& slab, const std::int32_t* root, std::int32_t* label) {
    with_bundling(connectivity, [&](auto bundling) { number<decltype(bundling)>(slab, root, label); });
}

}  // namespace iwseg::cpu
