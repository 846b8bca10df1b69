#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <vector>

#include "evaluation/records.h"
#include "kernels/components/detection.h"
#include "kernels/device/declare.h"

namespace iwseg {

/// Voxels (d, h, w) from first up to and including last.
struct Box {
    std::array<std::int64_t, 3> first, last;

    void include(const Box& other);
    std::array<std::int64_t, 3> shape() const;
};

/// One component of 26-connectivity: a lesion or a detection.
struct Instance {
    std::int64_t voxels = 0;
    Box box{};

    double diameter() const;  ///< of the ball of equal volume, in voxels
};

/// How many voxels a lesion and a detection share; at least one. Both count from 1.
struct InstanceOverlap {
    std::int32_t lesion = 0, detection = 0;
    std::int64_t voxels = 0;
};

/// The lesions and detections of one scan and where they overlap: what every metric of docs/evaluation.md starts from.
struct Instances {
    std::array<std::int64_t, 3> shape{};
    std::vector<std::int32_t> lesion_labels, detection_labels;  ///< (D, H, W): 0 outside, else from 1 in raster order
    std::vector<Instance> lesions, detections;                  ///< [0] is label 1
    std::vector<float> largest_probability;                     ///< of each detection
    std::vector<InstanceOverlap> overlaps;                      ///< by lesion, then detection

    std::int64_t lesion_voxels() const;
    std::int64_t detection_voxels() const;
    std::int64_t shared_voxels() const;
};

/// Lesions are the components of the target, detections those of a probability above the threshold, both after ignored
/// voxels are taken out. Linear in the voxels. The scan's logits are not read. host: the threads that compute; none:
/// the calling one. Throws std::invalid_argument above 2^31 - 1 voxels.
Instances find_instances(const ScanToEvaluate& scan, float threshold = DetectionRule{}.threshold, Stream host = {});

/// Intersection over union of a pair, from the table.
double overlap_over_union(const Instances& instances, const InstanceOverlap& overlap);

/// Diameters above `above` and at most `up_to`, in voxels.
struct SizeRange {
    double above = -std::numeric_limits<double>::infinity(), up_to = std::numeric_limits<double>::infinity();

    bool holds(double diameter) const { return diameter > above && diameter <= up_to; }
};

/// The ranges between bounds that rise (size_bounds of evaluation/froc.h); the last one has no upper end.
std::vector<SizeRange> size_ranges(const std::vector<double>& bounds);

}  // namespace iwseg
