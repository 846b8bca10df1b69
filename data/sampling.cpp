#include "data/sampling.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "kernels/components.h"
#include "kernels/error.h"

namespace iwseg {
namespace {

using Extent = std::array<std::int64_t, 3>;

/// What is done to a patch: quarter turns in the planes (0, 1), (0, 2), (1, 2), then flips.
struct Change {
    std::array<int, 3> turns{};
    std::array<bool, 3> flips{};

    bool none() const { return *this == Change{}; }
    bool operator==(const Change&) const = default;
};

constexpr std::array<std::pair<int, int>, 3> planes{{{0, 1}, {0, 2}, {1, 2}}};

Change draw_change(const SamplingOptions& options, std::uint64_t step, std::uint32_t sample) {
    // Every number is drawn whether or not it is used, so that one option does not change the other's draws.
    Random random(options.seed, step, sample, Purpose::augmentation);
    Change change;
    for (int plane = 0; plane < 3; ++plane) {
        const auto turns = static_cast<int>(random.below(4));
        const bool square = options.patch[planes[plane].first] == options.patch[planes[plane].second];
        if (options.augmentation.rotate && square) change.turns[plane] = turns;
    }
    for (int axis = 0; axis < 3; ++axis) {
        const bool flip = random.below(2) == 1;
        change.flips[axis] = options.augmentation.flip && flip;
    }
    return change;
}

/// Every change here only permutes and reverses axes: out[x] = in[start + strides . x].
template <class T>
void apply(const Change& change, const Extent& patch, T* values, std::vector<T>& scratch) {
    if (change.none()) return;
    std::array<std::int64_t, 3> strides{patch[1] * patch[2], patch[2], 1};
    std::int64_t start = 0;
    const auto reverse = [&](int axis) {
        start += strides[axis] * (patch[axis] - 1);
        strides[axis] = -strides[axis];
    };
    for (int plane = 0; plane < 3; ++plane)
        for (int turn = 0; turn < change.turns[plane]; ++turn) {
            std::swap(strides[planes[plane].first], strides[planes[plane].second]);
            reverse(planes[plane].first);
        }
    for (int axis = 0; axis < 3; ++axis)
        if (change.flips[axis]) reverse(axis);
    scratch.assign(values, values + patch[0] * patch[1] * patch[2]);
    for (std::int64_t i = 0; i < patch[0]; ++i)
        for (std::int64_t j = 0; j < patch[1]; ++j)
            for (std::int64_t k = 0; k < patch[2]; ++k)
                *values++ = scratch[start + i * strides[0] + j * strides[1] + k * strides[2]];
}

}  // namespace

void crop(const float* volume, const Extent& shape, const Extent& centre, const Extent& patch, float padding,
          float* out) {
    const std::int64_t first = centre[2] - patch[2] / 2;
    const std::int64_t inside = std::clamp<std::int64_t>(-first, 0, patch[2]);
    const std::int64_t outside = std::clamp<std::int64_t>(shape[2] - first, inside, patch[2]);
    for (std::int64_t di = 0; di < patch[0]; ++di)
        for (std::int64_t dj = 0; dj < patch[1]; ++dj, out += patch[2]) {
            const std::int64_t i = centre[0] - patch[0] / 2 + di, j = centre[1] - patch[1] / 2 + dj;
            if (i < 0 || i >= shape[0] || j < 0 || j >= shape[1]) {
                std::fill_n(out, patch[2], padding);
                continue;
            }
            const float* row = volume + (i * shape[1] + j) * shape[2] + first;
            std::fill(out, out + inside, padding);
            std::copy(row + inside, row + outside, out + inside);
            std::fill(out + outside, out + patch[2], padding);
        }
}

std::int64_t crop_components(const ComponentList& lesions, const Extent& shape, const Extent& centre,
                             const Extent& patch, std::int32_t* out) {
    std::fill_n(out, patch[0] * patch[1] * patch[2], 0);
    Extent first{};
    for (int axis = 0; axis < 3; ++axis) first[axis] = centre[axis] - patch[axis] / 2;
    std::int32_t count = 0;
    for (std::int64_t component = 0; component < lesions.size(); ++component) {
        const ComponentList::Box& box = lesions.boxes[component];
        bool apart = false;
        for (int axis = 0; axis < 3; ++axis)
            apart |= box.last[axis] < first[axis] || box.first[axis] >= first[axis] + patch[axis];
        if (apart) continue;
        bool seen = false;
        for (std::int64_t at = lesions.offsets[component]; at < lesions.offsets[component + 1]; ++at) {
            const std::int64_t voxel = lesions.voxels[at];
            const std::int64_t i = voxel / (shape[1] * shape[2]) - first[0];
            const std::int64_t j = voxel / shape[2] % shape[1] - first[1], k = voxel % shape[2] - first[2];
            if (i < 0 || i >= patch[0] || j < 0 || j >= patch[1] || k < 0 || k >= patch[2]) continue;
            count += !std::exchange(seen, true);
            out[(i * patch[1] + j) * patch[2] + k] = count;
        }
    }
    return count;
}

PatchSampler::PatchSampler(std::vector<PreparedCase> cases, const SamplingOptions& options)
    : cases_(std::move(cases)), options_(options) {
    std::uint64_t lesions = 0;
    for (const PreparedCase& scan : cases_) {
        if (scan.channels != cases_[0].channels)
            throw InputError("case " + scan.name + " has another number of channels");
        lesions_before_.push_back(lesions += static_cast<std::uint64_t>(scan.lesions.size()));
    }
    if (lesions == 0) throw InputError("there is no lesion in any case to train on");
}

PatchSampler::Choice PatchSampler::choose(std::uint64_t step, std::uint32_t sample) const {
    Random random(options_.seed, step, sample, Purpose::sampling);
    const std::uint64_t drawn = random.below(lesions_before_.back());
    const auto found = std::upper_bound(lesions_before_.begin(), lesions_before_.end(), drawn);
    const PreparedCase& scan = cases_[found - lesions_before_.begin()];
    const Extent& shape = scan.geometry.shape;
    if (random.uniform() < options_.nonzero_fraction) {
        const ComponentList& lesions = scan.lesions;
        const std::uint64_t component = random.below(static_cast<std::uint64_t>(lesions.size()));
        const std::int64_t first = lesions.offsets[component], size = lesions.offsets[component + 1] - first;
        const std::int64_t voxel = lesions.voxels[first + random.below(static_cast<std::uint64_t>(size))];
        return {&scan, {voxel / (shape[1] * shape[2]), voxel / shape[2] % shape[1], voxel % shape[2]}};
    }
    Extent centre{};
    for (int axis = 0; axis < 3; ++axis)
        centre[axis] = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(shape[axis])));
    return {&scan, centre};
}

void PatchSampler::draw(std::uint64_t step, Batch& batch) const {
    const Extent& patch = options_.patch;
    const std::int64_t voxels = patch[0] * patch[1] * patch[2], channels = cases_[0].channels;
    batch.shape = {options_.batch, channels, patch[0], patch[1], patch[2]};
    batch.image.resize(static_cast<std::size_t>(batch.shape.elements()));
    batch.target.resize(static_cast<std::size_t>(options_.batch * voxels));
    batch.labels.resize(batch.target.size());
    batch.components = 0;
    std::int64_t most = 0;
    std::vector<float> image_scratch;
    std::vector<std::int32_t> label_scratch;
    for (std::int64_t n = 0; n < options_.batch; ++n) {
        const auto sample = static_cast<std::uint32_t>(n);
        const auto [scan, centre] = choose(step, sample);
        const Change change = draw_change(options_, step, sample);
        for (std::int64_t c = 0; c < channels; ++c) {
            float* image = &batch.image[(n * channels + c) * voxels];
            crop(&scan->image[c * scan->geometry.voxels()], scan->geometry.shape, centre, patch, scan->minimum[c],
                 image);
            apply(change, patch, image, image_scratch);
        }
        std::int32_t* labels = &batch.labels[n * voxels];
        std::int64_t count = crop_components(scan->lesions, scan->geometry.shape, centre, patch, labels);
        apply(change, patch, labels, label_scratch);
        std::uint8_t* target = &batch.target[n * voxels];
        for (std::int64_t v = 0; v < voxels; ++v) target[v] = labels[v] > 0;
        if (options_.components == ComponentMode::patch) {
            const Shape one{1, 1, patch[0], patch[1], patch[2]};
            std::int32_t found = 0;
            cpu::label_components({}, {target, one, Type::u8}, {labels, one, Type::i32}, &found, options_.connectivity);
            count = found;
        }
        batch.components += count;
        most = std::max(most, count);
    }
    batch.lesion_voxels = std::count(batch.target.begin(), batch.target.end(), 1);
    batch.stride = most + 1;
    batch.weights.resize(static_cast<std::size_t>(options_.batch * batch.stride));
    cpu::inverse_weight_table({}, {batch.labels.data(), {options_.batch, 1, patch[0], patch[1], patch[2]}, Type::i32},
                              batch.weights.data(), batch.stride, options_.weight_clip);
}

}  // namespace iwseg
