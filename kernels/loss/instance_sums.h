#pragma once

#include <cstdint>
#include <limits>

#include "base/bytes.h"
#include "kernels/components/component_weights.h"
#include "kernels/components/components.h"
#include "kernels/loss/instance_loss.h"
#include "kernels/loss/region_sums.h"

// What the instance-wise loss keeps, on every backend.
namespace iwseg::formulas {

constexpr double kInstanceSmooth = 1e-5;  ///< MONAI's DiceLoss, which the authors take
/// Of gradients' coefficients, which are at most 2 a lesion: up to 2^22 lesions may share a detection.
constexpr double kCoefficientUnits = 1099511627776.0;  // 2^40

/// Of a lesion. found: where p is 1/2 or more; missing: the sum of 1 - p there; outside: p^2 of the background of
/// detections that reach the lesion.
enum LesionSum : int { kSize, kFound, kMissing, kOutside, kLesionSums };
/// Of a detection: p^2 of its background, and what that is multiplied by in the gradient, in units of 2^-40.
enum DetectionSum : int { kBackground, kCoefficient, kDetectionSums };

enum : unsigned { kHasVoxels = 1, kHasLesions = 2 };  ///< of a sample

IWSEG_HOST_DEVICE inline bool is_found(float logit) {
    return !(logit < 0.0f);
}

/// A lesion and a detection that reaches it; never 0.
using InstancePair = unsigned long long;
IWSEG_HOST_DEVICE inline InstancePair pair_of(std::int32_t lesion, std::int32_t detection) {
    return static_cast<InstancePair>(static_cast<std::uint32_t>(lesion)) << 32 | static_cast<std::uint32_t>(detection);
}
IWSEG_HOST_DEVICE inline std::int64_t lesion_of(InstancePair pair) {
    return static_cast<std::int64_t>(pair >> 32);
}
IWSEG_HOST_DEVICE inline std::int64_t detection_of(InstancePair pair) {
    return static_cast<std::int64_t>(pair & 0xFFFFFFFFu);
}

/// A lesion's, or a sample's, share of the value, and what its gradients are multiplied by.
struct InstanceValue {
    double value, inside, outside;
};

/// 1 - N / D with N = 2 sum p of what was found + s, D = that sum + outside + size + s.
IWSEG_HOST_DEVICE inline InstanceValue value_of_lesion(const FixedSum* row) {
    const auto size = static_cast<double>(row[kSize]), found = static_cast<double>(row[kFound]);
    const double missing = of_fixed(row[kMissing]), outside = of_fixed(row[kOutside]);
    const double agreement = 2 * (found - missing) + kInstanceSmooth;
    const double all = found - missing + outside + size + kInstanceSmooth;
    const double squared = all * all;
    return {(size - found + missing + outside) / all, (agreement - 2 * all) / squared, agreement / squared};
}

/// Of a sample without lesions: 1 - s / (sum p + s).
IWSEG_HOST_DEVICE inline InstanceValue value_of_empty(double sum) {
    const double all = sum + kInstanceSmooth;
    return {sum / all, 0, kInstanceSmooth / (all * all)};
}

IWSEG_HOST_DEVICE inline FixedSum fixed_coefficient(double coefficient) {
    return static_cast<FixedSum>(coefficient * kCoefficientUnits);
}

/// What p^2 q of a detection's background is multiplied by.
IWSEG_HOST_DEVICE inline float background_coefficient(double scale, FixedSum coefficient) {
    return static_cast<float>(scale * (static_cast<double>(coefficient) / kCoefficientUnits));
}

/// The mean over what counts, of which `share` is there, and what coefficients are multiplied by.
IWSEG_HOST_DEVICE inline double mean_of_instances(double sum, double count, unsigned faults, double factor,
                                                  double share, double* scale) {
    *scale = count > 0 ? factor / count : 0;
    const double mean = share_of(share, count > 0 ? *scale * sum : 0, scale, 1);
    if (share > 0 && faults != 0)
        return faults & kSumIsNone ? std::numeric_limits<double>::quiet_NaN() : std::numeric_limits<double>::infinity();
    return mean;
}

/// Scratch.
struct InstanceTable {
    static constexpr int kParts = 512;  ///< that sums of all p of a sample are cut into

    double* scale;         ///< one
    double* parts;         ///< (N, kParts)
    double* of_empty;      ///< (N): coefficients of samples without lesions
    FixedSum* lesions;     ///< (N, stride, kLesionSums)
    FixedSum* detections;  ///< (N, detection_stride, kDetectionSums)
    InstancePair* pairs;   ///< (N, places)
    unsigned* samples;     ///< (N): kHasVoxels, kHasLesions
    unsigned* faults;      ///< one
    float* inside;         ///< (N, stride): coefficients of lesions, of their own voxels
    double* outside;       ///< (N, stride): and of the background of detections
    std::int32_t* labels;  ///< (N, D, H, W): detections
    std::int32_t* counts;  ///< (N): how many they are
    std::uint8_t* found;   ///< (N, D, H, W)
    void* labelling;       ///< what label_components needs
    std::int64_t detection_stride, places, bytes, bytes_of_sums;

    /// places: of pairs in a sample, a power of 2 or 0.
    InstanceTable(void* scratch, const Shape& logit, std::int64_t stride, int connectivity, std::int64_t pair_places,
                  std::int64_t labelling_bytes)
        : detection_stride(component_label_bound(logit, connectivity)), places(pair_places), bytes(0) {
        const std::int64_t n = logit.n;
        const auto take = [&]<class T>(T*& part, std::int64_t count) {
            part = scratch ? reinterpret_cast<T*>(static_cast<char*>(scratch) + bytes) : nullptr;
            bytes += aligned(count * static_cast<std::int64_t>(sizeof(T)));
        };
        // Sums come first: they are set to 0 together.
        take(lesions, n * stride * kLesionSums);
        take(detections, n * detection_stride * kDetectionSums);
        take(pairs, n * places);
        take(samples, n);
        take(faults, 1);
        bytes_of_sums = bytes;
        take(scale, 1);
        take(parts, n * kParts);
        take(of_empty, n);
        take(inside, n * stride);
        take(outside, n * stride);
        take(labels, n * logit.voxels());
        take(counts, n);
        take(found, n * logit.voxels());
        char* rest = nullptr;
        take(rest, labelling_bytes);
        labelling = rest;
    }
};

inline void require_instance_input(const InstancePass& pass, const LossInput& input) {
    require_lesion_input(input, "instance_loss");
    require_connectivity(pass.connectivity, "instance_loss");
}

}  // namespace iwseg::formulas
