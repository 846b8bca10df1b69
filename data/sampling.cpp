#include "data/sampling.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/extent.h"
#include "kernels/components/components_of.h"

namespace iwseg {
namespace {

constexpr std::array<std::pair<int, int>, 3> kPlanes{{{0, 1}, {0, 2}, {1, 2}}};

/// Quarter turns in the planes (0, 1), (0, 2), (1, 2), then flips.
void augment(const SamplingOptions& options, std::uint64_t step, std::uint32_t sample, PatchPlace& place) {
    // Every number is drawn whether or not it is used, so that one option does not change the other's draws.
    Random random(options.seed, step, sample, Purpose::augmentation);
    for (const auto& [a, b] : kPlanes) {
        const std::uint64_t turns = random.below(4);
        if (!options.augmentation.rotate || options.patch[a] != options.patch[b]) continue;
        for (std::uint64_t turn = 0; turn < turns; ++turn) {
            std::swap(place.axis[a], place.axis[b]);
            std::swap(place.reversed[a], place.reversed[b]);
            place.reversed[a] = !place.reversed[a];
        }
    }
    for (int axis = 0; axis < 3; ++axis) {
        const bool flip = random.below(2) == 1;
        if (options.augmentation.flip && flip) place.reversed[axis] = !place.reversed[axis];
    }
}

/// How a component lies to a place: with all, some or none of its bounding box inside.
enum class Overlap : std::uint8_t { none, partial, whole };

Overlap overlap_of(const ComponentList::Box& box, const PatchPlace& place, const Extent& patch) {
    Overlap overlap = Overlap::whole;
    for (int a = 0; a < 3; ++a) {
        const int axis = place.axis[a];
        const std::int64_t low = place.first[axis], high = low + patch[a];
        if (box.last[axis] < low || box.first[axis] >= high) return Overlap::none;
        if (box.first[axis] < low || box.last[axis] >= high) overlap = Overlap::partial;
    }
    return overlap;
}

/// Calls body(d, h, w), in the patch's own axes, for each voxel of a component that the place holds.
template <class Body>
void each_voxel_inside(const ComponentList& lesions, std::int64_t component, const Extent& shape,
                       const PatchPlace& place, const Extent& patch, Body&& body) {
    for (std::int64_t at = lesions.offsets[component]; at < lesions.offsets[component + 1]; ++at) {
        const std::int64_t voxel = lesions.voxels[at];
        const Extent v{voxel / (shape[1] * shape[2]), voxel / shape[2] % shape[1], voxel % shape[2]};
        Extent x{};
        bool inside = true;
        for (int a = 0; a < 3; ++a) {
            const std::int64_t along = v[place.axis[a]] - place.first[place.axis[a]];
            inside &= along >= 0 && along < patch[a];
            x[a] = place.reversed[a] ? patch[a] - 1 - along : along;
        }
        if (inside) body(x[0], x[1], x[2]);
    }
}

/// How many components these voxels form by themselves.
std::int64_t count_components(const std::vector<Extent>& voxels, int connectivity) {
    if (voxels.empty()) return 0;
    Extent low = voxels[0], high = voxels[0];
    for (const Extent& v : voxels)
        for (int a = 0; a < 3; ++a) {
            low[a] = std::min(low[a], v[a]);
            high[a] = std::max(high[a], v[a]);
        }
    const Extent box{high[0] - low[0] + 1, high[1] - low[1] + 1, high[2] - low[2] + 1};
    std::vector<std::uint8_t> mask(static_cast<std::size_t>(box[0] * box[1] * box[2]));
    for (const Extent& v : voxels) mask[((v[0] - low[0]) * box[1] + v[1] - low[1]) * box[2] + v[2] - low[2]] = 1;
    return components_of(mask, box, connectivity).count;
}

/// One of a scan's components, each alike; where classes are told apart, first a class of those that are there.
std::uint64_t draw_component(const ComponentList& lesions, Random& random) {
    const std::vector<std::int32_t>& classes = lesions.classes;
    if (classes.empty()) return random.below(static_cast<std::uint64_t>(lesions.size()));
    std::vector<std::int32_t> there = classes;  // ascending, as components are
    there.erase(std::unique(there.begin(), there.end()), there.end());
    const std::int32_t drawn = there[random.below(there.size())];
    const auto [first, last] = std::equal_range(classes.begin(), classes.end(), drawn);
    return static_cast<std::uint64_t>(first - classes.begin()) + random.below(static_cast<std::uint64_t>(last - first));
}

/// Marks the patch's voxels that the scan ignores in its target and labels. Outside of the scan there are none.
void mark_ignored(const std::vector<std::uint8_t>& ignored, const PatchSource& source, const Extent& patch,
                  std::uint8_t* target, std::int32_t* labels) {
    const auto& [first_d, first_h, first_w] = source.inside_first;
    const auto& [end_d, end_h, end_w] = source.inside_end;
    for (std::int64_t d = first_d; d < end_d; ++d)
        for (std::int64_t h = first_h; h < end_h; ++h) {
            const std::int64_t from = source.start + d * source.strides[0] + h * source.strides[1];
            const std::int64_t to = (d * patch[1] + h) * patch[2];
            for (std::int64_t w = first_w; w < end_w; ++w) {
                if (!ignored[from + w * source.strides[2]]) continue;
                target[to + w] = kIgnored;
                labels[to + w] = kIgnoredLabel;
            }
        }
}

}  // namespace

std::int64_t crop_components(const ComponentList& lesions, const Extent& shape, const PatchPlace& place,
                             const Extent& patch, std::int32_t* out) {
    std::fill_n(out, patch[0] * patch[1] * patch[2], 0);
    std::int32_t count = 0;
    for (std::int64_t component = 0; component < lesions.size(); ++component) {
        if (overlap_of(lesions.boxes[component], place, patch) == Overlap::none) continue;
        bool seen = false;
        each_voxel_inside(lesions, component, shape, place, patch, [&](std::int64_t d, std::int64_t h, std::int64_t w) {
            count += !std::exchange(seen, true);
            out[(d * patch[1] + h) * patch[2] + w] = lesions.classes.empty() ? count : lesions.label_of(component);
        });
    }
    return count;
}

std::int64_t label_patch(const ComponentList& lesions, const Extent& shape, const PatchPlace& place,
                         const SamplingOptions& options, std::uint8_t* target, std::int32_t* labels) {
    const Extent& patch = options.patch;
    const auto voxels = static_cast<std::size_t>(patch[0] * patch[1] * patch[2]);
    const std::int64_t count = crop_components(lesions, shape, place, patch, labels);
    for (std::size_t v = 0; v < voxels; ++v) target[v] = labels[v] > 0;
    if (options.components == ComponentMode::volume || !lesions.classes.empty()) return count;
    return components_of({target, voxels}, patch, options.connectivity, {labels, voxels});
}

PatchSampler::PatchSampler(std::vector<PreparedCase> cases, const SamplingOptions& options)
    : cases_(std::move(cases)), options_(options) {
    std::uint64_t lesions = 0;
    for (const PreparedCase& scan : cases_) {
        if (scan.channels != cases_[0].channels)
            throw InputError("case " + scan.name + " has another number of channels");
        lesions_before_.push_back(lesions += static_cast<std::uint64_t>(scan.draws()));
    }
    if (lesions == 0) throw InputError("there is no lesion in any case to train on");
}

PatchCutting PatchSampler::cutting() const {
    return {scans_to_train_on(cases_), options_};
}

PatchPlace PatchSampler::place(std::uint64_t step, std::uint32_t sample) const {
    Random random(options_.seed, step, sample, Purpose::sampling);
    const std::uint64_t drawn = random.below(lesions_before_.back());
    const auto found = std::upper_bound(lesions_before_.begin(), lesions_before_.end(), drawn);
    PatchPlace place;
    place.scan = static_cast<std::size_t>(found - lesions_before_.begin());
    const PreparedCase& scan = cases_[place.scan];
    const Extent& shape = scan.geometry.shape;
    Extent centre{};
    // A scan may be drawn for lesions that its mask does not hold (annotated, but drawn by too few experts): then, as
    // the original study does, every patch of it lies anywhere.
    if (random.uniform() < options_.nonzero_fraction && scan.lesions.size() > 0) {
        const ComponentList& lesions = scan.lesions;
        const std::uint64_t component = draw_component(lesions, random);
        const std::int64_t first = lesions.offsets[component], size = lesions.offsets[component + 1] - first;
        const std::int64_t voxel = lesions.voxels[first + random.below(static_cast<std::uint64_t>(size))];
        centre = {voxel / (shape[1] * shape[2]), voxel / shape[2] % shape[1], voxel % shape[2]};
    } else {
        for (int axis = 0; axis < 3; ++axis)
            centre[axis] = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(shape[axis])));
    }
    for (int axis = 0; axis < 3; ++axis) place.first[axis] = centre[axis] - options_.patch[axis] / 2;
    augment(options_, step, sample, place);
    return place;
}

std::vector<PatchPlace> PatchSampler::places(std::uint64_t step) const {
    std::vector<PatchPlace> places;
    for (std::int64_t n = 0; n < options_.batch; ++n) places.push_back(place(step, static_cast<std::uint32_t>(n)));
    return places;
}

PatchContent PatchSampler::content(const std::vector<PatchPlace>& places) const {
    PatchContent content;
    std::vector<Extent> voxels;
    for (const PatchPlace& place : places) {
        const PreparedCase& scan = cases_[place.scan];
        const ComponentList& lesions = scan.lesions;
        const bool volume = options_.components == ComponentMode::volume || !lesions.classes.empty();
        // Components of the scan do not touch each other, unless the patch's are of another connectivity.
        const bool apart = volume || lesions.connectivity == options_.connectivity;
        const auto count_pieces = [&] {
            content.lesion_voxels += static_cast<std::int64_t>(voxels.size());
            content.components += volume ? !voxels.empty() : count_components(voxels, options_.connectivity);
            voxels.clear();
        };
        for (std::int64_t component = 0; component < lesions.size(); ++component) {
            const Overlap overlap = overlap_of(lesions.boxes[component], place, options_.patch);
            if (overlap == Overlap::none) continue;
            if (overlap == Overlap::whole && apart) {
                content.lesion_voxels += lesions.offsets[component + 1] - lesions.offsets[component];
                ++content.components;
                continue;
            }
            each_voxel_inside(lesions, component, scan.geometry.shape, place, options_.patch,
                              [&](std::int64_t d, std::int64_t h, std::int64_t w) {
                                  voxels.push_back({d, h, w});
                              });
            if (apart) count_pieces();
        }
        count_pieces();
    }
    return content;
}

void PatchSampler::draw(std::uint64_t step, Batch& batch) const {
    const Extent& patch = options_.patch;
    const std::int64_t voxels = patch[0] * patch[1] * patch[2];
    batch.shape = {options_.batch, cases_[0].channels, patch[0], patch[1], patch[2]};
    batch.image.resize(static_cast<std::size_t>(batch.shape.elements()));
    batch.target.resize(static_cast<std::size_t>(options_.batch * voxels));
    batch.labels.resize(batch.target.size());
    batch.components = 0;
    std::int64_t most = 0;
    const std::vector<PatchPlace> chosen = places(step);
    std::vector<PatchSource> sources;
    for (const PatchPlace& place : chosen) {
        const PreparedCase& scan = cases_[place.scan];
        sources.push_back(source_of(place, scan.geometry.shape, patch));
        sources.back().image = scan.image.data();
        sources.back().padding = scan.minimum.data();
    }
    cpu::cut_patches({}, sources.data(), {batch.image.data(), batch.shape}, nullptr, nullptr);
    for (std::int64_t n = 0; n < options_.batch; ++n) {
        const PatchPlace& place = chosen[static_cast<std::size_t>(n)];
        const PreparedCase& scan = cases_[place.scan];
        std::int32_t* labels = &batch.labels[n * voxels];
        std::uint8_t* target = &batch.target[n * voxels];
        const std::int64_t count = label_patch(scan.lesions, scan.geometry.shape, place, options_, target, labels);
        // After the components, to which what is ignored does not belong.
        if (!scan.ignored.empty())
            mark_ignored(scan.ignored, sources[static_cast<std::size_t>(n)], patch, target, labels);
        batch.components += count;
        most = std::max<std::int64_t>(most, scan.lesions.classes.empty() ? count : scan.lesions.largest_label());
    }
    batch.lesion_voxels = std::count(batch.target.begin(), batch.target.end(), 1);
    batch.stride = most + 1;
    batch.weights.resize(static_cast<std::size_t>(options_.batch * batch.stride));
    cpu::inverse_weight_table({}, {batch.labels.data(), {options_.batch, 1, patch[0], patch[1], patch[2]}, Type::i32},
                              batch.weights.data(), batch.stride, options_.weight_clip);
}

}  // namespace iwseg
