#include "kernels/components/components.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/components/component_weights.h"
#include "kernels/components/row_bundles.h"
#include "kernels/cpu/cpu_blocks.h"
#include "kernels/cpu/parallel.h"

namespace iwseg::cpu {
namespace {

constexpr std::int64_t kSmallestSlab = std::int64_t{1} << 17;  ///< voxels; less is not worth a thread
constexpr std::int64_t kUncachedBytes = 16 << 20;              ///< labels that are more are not kept in the cache

std::vector<BundleSlab> cut_into_slabs(const Shape& shape, int connectivity, int threads) {
    const std::int64_t deep = with_bundling(connectivity, [](auto bundling) { return decltype(bundling)::kDeep; });
    const std::int64_t planes = (shape.d + deep - 1) / deep;
    const std::int64_t most = std::min<std::int64_t>(threads, shape.voxels() / kSmallestSlab);
    const std::int64_t count = std::clamp<std::int64_t>(most, 1, planes);
    std::vector<BundleSlab> slabs(count);
    for (std::int64_t s = 0; s < count; ++s) {
        slabs[s].first_plane = s * planes / count;
        slabs[s].last_plane = (s + 1) * planes / count;
    }
    return slabs;
}

/// Every run's parent becomes its root. Returns the number of components; each slab learns how many begin before it.
std::int32_t find_roots(std::vector<BundleSlab>& slabs, std::int32_t* parent) {
    std::int32_t count = 0;
    for (BundleSlab& slab : slabs) {
        slab.components_before = count;
        for (std::int32_t run = slab.first_run; run < slab.first_run + slab.runs; ++run) {
            const std::int32_t root = parent[parent[run]];  // a parent comes before its run, so it has its root
            parent[run] = root;
            count += static_cast<std::int32_t>(root == run);
        }
    }
    return count;
}

/// sizes: if given, receives the voxels of each label from 1 on, and background is left as it was; else it becomes
/// 0.
std::int32_t label_volume(Stream stream, const std::uint8_t* mask, const Shape& shape, int connectivity,
                          std::int32_t* labels, std::vector<std::int64_t>* sizes) {
    std::vector<BundleSlab> slabs = cut_into_slabs(shape, connectivity, thread_count(stream));
    const auto count_of_slabs = static_cast<std::int64_t>(slabs.size());
    const auto each_slab = [&](auto&& body) { parallel_for(stream, count_of_slabs, body); };
    each_slab([&](std::int64_t s) { find_runs(connectivity, mask, shape, slabs[s]); });

    std::int32_t runs = 0;
    for (BundleSlab& slab : slabs) {
        slab.first_run = runs;
        runs += slab.runs;
    }
    const auto parents = std::make_unique_for_overwrite<std::int32_t[]>(runs);
    const auto labels_of_roots = std::make_unique_for_overwrite<std::int32_t[]>(runs);
    std::int32_t *const parent = parents.get(), *const label = labels_of_roots.get();
    each_slab([&](std::int64_t s) { join_slab(connectivity, slabs[s], parent); });
    for (std::int64_t s = 1; s < count_of_slabs; ++s) join_seam(connectivity, slabs[s], slabs[s - 1], parent);

    const std::int32_t count = find_roots(slabs, parent);
    each_slab([&](std::int64_t s) { number_components(connectivity, slabs[s], parent, label); });
    std::vector<std::vector<std::int64_t>> slab_sizes(sizes ? count_of_slabs : 0, std::vector<std::int64_t>(count));
    const bool past_cache = !sizes && shape.voxels() * static_cast<std::int64_t>(sizeof(*labels)) > kUncachedBytes;
    each_slab([&](std::int64_t s) {
        const LabelSink sink{labels, sizes ? slab_sizes[s].data() : nullptr, past_cache, sizes == nullptr};
        write_labels(connectivity, slabs[s], mask, shape, parent, label, sink);
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
        counts[n] = label_volume(stream, mask.as<const std::uint8_t>() + n * shape.voxels(), shape, connectivity,
                                 labels.as<std::int32_t>() + n * shape.voxels(), nullptr);
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
        label_volume(stream, patch, shape, connectivity, labels.as<std::int32_t>() + n * all, &sizes);
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
