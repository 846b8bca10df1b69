#pragma once

#include <cstdint>
#include <limits>
#include <stdexcept>

#include "kernels/loss/lesion_input.h"
#include "kernels/loss/loss_pass.h"
#include "kernels/loss/region_loss.h"

// What passes over regions keep, on every backend.
namespace iwseg::formulas {

/// A sum of terms as a whole number of 2^-32: added up in any order it is the same.
using FixedSum = unsigned long long;  // what CUDA's atomics take; negative numbers wrap around
constexpr double kFixedUnits = 4294967296.0, kMostAtOnce = 1048576.0;
enum : unsigned { kSumIsNone = 1, kSumIsInfinite = 2 };

IWSEG_HOST_DEVICE inline FixedSum fixed_sum(double sum, unsigned& faults) {
    if (!(sum <= kMostAtOnce)) {
        faults |= sum > kMostAtOnce ? kSumIsInfinite : kSumIsNone;
        sum = sum > kMostAtOnce ? kMostAtOnce : 0;
    }
    const double units = sum * kFixedUnits + 0.5;  // the nearest, whatever mode of rounding there is
    return static_cast<FixedSum>(static_cast<long long>(units));
}
IWSEG_HOST_DEVICE inline double of_fixed(FixedSum sum) {
    return static_cast<double>(static_cast<long long>(sum)) / kFixedUnits;
}

constexpr int kRegionRow = kMostRegionSums + 1;  ///< of each label: its sums, and how many voxels they are of

/// Of a sample: the sum of its regions' values, how many they are, and what its coefficients are multiplied by.
struct RegionSample {
    double value, regions, scale;
};

/// Scratch.
struct RegionTable {
    RegionSample* samples;  ///< (N)
    FixedSum* rows;         ///< (N, stride, kRegionRow)
    unsigned* faults;       ///< one
    float* coefficients;    ///< (N, stride, kMostRegionCoefficients)

    RegionTable(void* scratch, std::int64_t n, std::int64_t stride)
        : samples(static_cast<RegionSample*>(scratch)),
          rows(reinterpret_cast<FixedSum*>(samples + n)),
          faults(reinterpret_cast<unsigned*>(rows + n * stride * kRegionRow)),
          coefficients(reinterpret_cast<float*>(faults + 2)) {}

    static std::int64_t bytes(std::int64_t n, std::int64_t stride) {
        return n * static_cast<std::int64_t>(sizeof(RegionSample)) + 8 +
               n * stride *
                   (kRegionRow * static_cast<std::int64_t>(sizeof(FixedSum)) +
                    kMostRegionCoefficients * static_cast<std::int64_t>(sizeof(float)));
    }
    /// Rows and faults, which lie after each other: what is 0 before sums are added.
    static std::int64_t bytes_of_sums(std::int64_t n, std::int64_t stride) {
        return n * stride * kRegionRow * static_cast<std::int64_t>(sizeof(FixedSum)) + 8;
    }
};

/// The value of a region, and its coefficients, which start as 0. rest: the row of what is added to it, or null.
template <class F>
IWSEG_HOST_DEVICE double value_of_region(const F& formula, const FixedSum* row, const FixedSum* rest, double* c) {
    double sums[F::kSums];
    for (int k = 0; k < F::kSums; ++k) sums[k] = of_fixed(row[k] + (rest ? rest[k] : 0));
    const auto voxels = static_cast<double>(row[kMostRegionSums] + (rest ? rest[kMostRegionSums] : 0));
    return value_of_group(formula, sums, voxels, 0, 1, c);
}

/// From the samples' sums to the value; sets their scales.
IWSEG_HOST_DEVICE inline double value_of_samples(RegionSample* samples, std::int64_t n, unsigned faults, double share) {
    double with_regions = 0, total = 0;
    for (std::int64_t i = 0; i < n; ++i) with_regions += samples[i].regions > 0;
    for (std::int64_t i = 0; i < n; ++i) {
        RegionSample& sample = samples[i];
        const double part = sample.regions > 0 ? 1 / (with_regions * sample.regions) : 0;
        total += share_of(share, sample.regions > 0 ? part * sample.value : 0, nullptr, 0);
        sample.scale = share * part;
    }
    if (share > 0 && faults != 0)
        return faults & kSumIsNone ? std::numeric_limits<double>::quiet_NaN() : std::numeric_limits<double>::infinity();
    return total;
}

/// Which region a voxel is of: its label, or 0.
struct RegionMap {
    const std::uint8_t* target;
    const std::int32_t *labels, *nearest;  ///< nearest: or null

    IWSEG_HOST_DEVICE std::int32_t operator()(std::int64_t v) const {
        return nearest ? nearest[v] : target[v] == 1 ? labels[v] : 0;
    }
};

inline RegionMap region_map(const RegionPass& pass, const LossInput& input) {
    require_lesion_input(input, "region_loss");
    const bool nearest = pass.regions == LossRegions::nearest;
    if (nearest && !input.nearest)
        throw std::invalid_argument("region_loss: the nearest lesion of each voxel is wanted, and is missing");
    return {input.target, input.labels, nearest ? input.nearest : nullptr};
}

IWSEG_INLINE Voxel region_voxel(float logit, std::uint8_t target) {
    return target == kIgnored ? kUncounted : Voxel{logit, static_cast<float>(target), 1.0f};
}

}  // namespace iwseg::formulas
