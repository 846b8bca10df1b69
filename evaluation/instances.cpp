#include "evaluation/instances.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/components/components_of.h"

namespace iwseg {
namespace {

/// Labels the mask; returns how many components there are.
std::int32_t label(const std::vector<std::uint8_t>& mask, const ScanToEvaluate& scan, Stream host,
                   std::vector<std::int32_t>& labels) {
    labels.resize(mask.size());
    return components_of(mask, {scan.d, scan.h, scan.w}, DetectionRule::connectivity, labels, host);
}

/// A run of columns of one row that has one label.
struct Run {
    std::int64_t d, h, first, last;
};

void add_run(Instance& instance, const Run& run) {
    const Box box{{run.d, run.h, run.first}, {run.d, run.h, run.last}};
    if (instance.voxels == 0) instance.box = box;
    instance.box.include(box);
    instance.voxels += run.last - run.first + 1;
}

void measure_row(const std::int32_t* labels, std::int64_t width, Run run, std::vector<Instance>& instances) {
    for (std::int64_t w = 0; w < width;) {
        const std::int32_t label = labels[w];
        run.first = w;
        while (++w < width && labels[w] == label) {
        }
        run.last = w - 1;
        if (label != 0) add_run(instances[label - 1], run);
    }
}

/// Appends what lesions and detections share in one row, a run of columns at a time.
void pair_row(const std::int32_t* lesions, const std::int32_t* detections, std::int64_t width,
              std::vector<InstanceOverlap>& runs) {
    for (std::int64_t w = 0; w < width; ++w) {
        if (lesions[w] == 0 || detections[w] == 0) continue;
        if (!runs.empty() && runs.back().lesion == lesions[w] && runs.back().detection == detections[w])
            ++runs.back().voxels;
        else
            runs.push_back({lesions[w], detections[w], 1});
    }
}

/// One entry a pair, in order.
void merge(std::vector<InstanceOverlap>& runs) {
    const auto key = [](const InstanceOverlap& run) {
        return static_cast<std::uint64_t>(run.lesion) << 32 | static_cast<std::uint32_t>(run.detection);
    };
    std::sort(runs.begin(), runs.end(), [&](const auto& a, const auto& b) { return key(a) < key(b); });
    std::size_t count = 0;
    for (const InstanceOverlap& run : runs) {
        if (count > 0 && key(runs[count - 1]) == key(run))
            runs[count - 1].voxels += run.voxels;
        else
            runs[count++] = run;
    }
    runs.resize(count);
}

std::int64_t sum_of(const std::vector<Instance>& instances) {
    std::int64_t sum = 0;
    for (const Instance& instance : instances) sum += instance.voxels;
    return sum;
}

}  // namespace

void Box::include(const Box& other) {
    for (int axis = 0; axis < 3; ++axis) {
        first[axis] = std::min(first[axis], other.first[axis]);
        last[axis] = std::max(last[axis], other.last[axis]);
    }
}

std::array<std::int64_t, 3> Box::shape() const {
    return {last[0] - first[0] + 1, last[1] - first[1] + 1, last[2] - first[2] + 1};
}

double Instance::diameter() const {
    return std::cbrt(6.0 * static_cast<double>(voxels) / std::numbers::pi);
}

std::int64_t Instances::lesion_voxels() const {
    return sum_of(lesions);
}
std::int64_t Instances::detection_voxels() const {
    return sum_of(detections);
}
std::int64_t Instances::shared_voxels() const {
    std::int64_t sum = 0;
    for (const InstanceOverlap& overlap : overlaps) sum += overlap.voxels;
    return sum;
}

Instances find_instances(const ScanToEvaluate& scan, float threshold, Stream host) {
    const std::int64_t voxels = scan.d * scan.h * scan.w;
    Instances found;
    found.shape = {scan.d, scan.h, scan.w};
    const auto counts = [&](std::int64_t v) { return !scan.ignored || scan.ignored[v] == 0; };
    std::vector<std::uint8_t> mask(voxels);
    for (std::int64_t v = 0; v < voxels; ++v) mask[v] = scan.target[v] != 0 && counts(v);
    found.lesions.resize(label(mask, scan, host, found.lesion_labels));
    for (std::int64_t v = 0; v < voxels; ++v) mask[v] = scan.probability[v] > threshold && counts(v);
    found.detections.resize(label(mask, scan, host, found.detection_labels));
    found.largest_probability.assign(found.detections.size(), 0.0f);
    for (std::int64_t row = 0; row < scan.d * scan.h; ++row) {
        const std::int32_t* lesions = found.lesion_labels.data() + row * scan.w;
        const std::int32_t* detections = found.detection_labels.data() + row * scan.w;
        const Run place{row / scan.h, row % scan.h, 0, 0};
        measure_row(lesions, scan.w, place, found.lesions);
        measure_row(detections, scan.w, place, found.detections);
        pair_row(lesions, detections, scan.w, found.overlaps);
        for (std::int64_t w = 0; w < scan.w; ++w)
            if (const std::int32_t d = detections[w])
                found.largest_probability[d - 1] =
                    std::max(found.largest_probability[d - 1], scan.probability[row * scan.w + w]);
    }
    merge(found.overlaps);
    return found;
}

double overlap_over_union(const Instances& instances, const InstanceOverlap& overlap) {
    return static_cast<double>(overlap.voxels) /
           static_cast<double>(instances.lesions[overlap.lesion - 1].voxels +
                               instances.detections[overlap.detection - 1].voxels - overlap.voxels);
}

std::vector<SizeRange> size_ranges(const std::vector<double>& bounds) {
    std::vector<SizeRange> ranges(bounds.size());
    for (std::size_t s = 1; s < bounds.size(); ++s) ranges[s].above = ranges[s - 1].up_to = bounds[s - 1];
    return ranges;
}

}  // namespace iwseg
