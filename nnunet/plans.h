#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/volume/orientation.h"
#include "kernels/device/view.h"
#include "models/network.h"

namespace iwseg::nnunet {

// What nnU-Net v2 writes beside its weights, plans.json and dataset.json, as far as predicting needs it. Arrays are
// nnU-Net's: (z, y, x), the axes k, j, i of a NIfTI file or of its RAS form.

/// What is done to a channel's intensities.
enum class Normalisation : std::uint8_t { ct, zscore, none, rescale_to_0_1, rgb_to_0_1 };

/// Of a channel's foreground over the training scans.
struct IntensityProperties {
    double mean = 0, std = 1, percentile_00_5 = 0, percentile_99_5 = 0;
};

/// How images or logits change their grid: by splines of an order in all three axes or, where voxels are anisotropic,
/// in the plane alone and by another along the axis of the lowest resolution.
struct Resampling {
    int order = 3, order_z = 0;
    std::optional<bool> force_separate_z;  ///< none: where spacings differ by more than a factor of 3
};

/// One configuration of a plan, as 3d_fullres.
struct Configuration {
    std::string name;
    Sides patch = 0;
    std::array<double, 3> spacing{};            ///< mm a voxel, after axes were transposed
    std::vector<Normalisation> normalisations;  ///< a channel each
    std::vector<bool> normalise_nonzero;        ///< of each: statistics over what is not cropped away alone
    Resampling of_images, of_logits;
};

struct Plans {
    std::optional<OrientationRule> to_ras;          ///< scans are read in their RAS form; none: as they lie in files
    std::array<int, 3> transpose_forward{0, 1, 2};  ///< transpose_backward undoes it, or the plan is refused
    std::vector<IntensityProperties> intensities;   ///< a channel each
    Configuration configuration;
    Network network;  ///< of that configuration, for the classes of the dataset
};

/// The classes of dataset.json.
struct Labels {
    /// A class of the network's output each, in its order: the first is background, where classes exclude each other.
    /// Of regions, what they are called.
    std::vector<std::string> names;
    /// Empty: classes exclude each other, and the one of the largest logit is the label. Else the value that voxels
    /// receive where that region's probability is above 0.5, later regions over earlier ones.
    std::vector<std::int32_t> region_values;
    /// Where classes exclude each other: the label of each.
    std::vector<std::int32_t> values;

    /// Every value that voxels may receive, beside 0 where there are regions: an output's each.
    const std::vector<std::int32_t>& written() const { return has_regions() ? region_values : values; }
    bool has_regions() const { return !region_values.empty(); }
    int outputs() const { return static_cast<int>(names.size()); }
};

struct Dataset {
    std::vector<std::string> channels;
    std::string file_ending = ".nii.gz";
    Labels labels;
};

/// Throws InputError, naming the file and the key, where one is missing or not usable.
Dataset read_dataset(const std::filesystem::path& file);

/// One configuration of plans.json, for that dataset. Throws InputError, naming the file and the key, where one is
/// missing or not usable, where there is no such configuration (naming those that there are), and in one sentence on
/// what is not supported: two-dimensional networks, cascades, other architectures, their keyword arguments, other
/// normalisations and ways of resampling.
Plans read_plans(const std::filesystem::path& file, const std::string& configuration, const Dataset& dataset);

}  // namespace iwseg::nnunet
