#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "data/class_scheme.h"
#include "data/dataset.h"
#include "data/volume/volume.h"
#include "models/intensity.h"
#include "training/component_list.h"
#include "training/resident_scans.h"

namespace iwseg {

struct PreparationOptions {
    std::vector<std::string> channels;          ///< names or numbers; empty: every channel but mask_channel
    std::vector<std::int64_t> channel_numbers;  ///< where there are any, in place of `channels`
    Intensity intensity;
    std::string mask_channel;  ///< name or number of a channel that is a mask; empty: none
    std::vector<int> labels;   ///< label values that are lesion; empty: those that the dataset names (LesionLabels)
    ClassScheme classes;       ///< that are told apart, in place of `labels`
    int connectivity = 26;
    /// What voxels of images become that are not finite, before the intensity step; nothing: such an image is refused.
    std::optional<float> nan;
    bool with_label = true;  ///< false: labels are not read (prediction)
};

/// A scan ready to be sampled or predicted, in memory.
struct PreparedCase {
    std::string name;
    Geometry geometry;
    std::int64_t channels = 0;
    std::vector<float> image;    ///< (C, D, H, W)
    std::vector<float> minimum;  ///< of each channel: what patches are padded with
    ComponentList lesions;       ///< empty where labels were not read
    /// (D, H, W), 1 where the label is the dataset's ignore: neither lesion nor background. Empty where that is
    /// nowhere.
    std::vector<std::uint8_t> ignored{};
    std::int64_t replaced = 0;  ///< values that were not finite and became options.nan (outside, in the mask channel)
    /// How often patches are drawn from the scan, beside the others, where that is not the number of its lesions.
    std::optional<std::int64_t> lesion_count;

    std::int64_t draws() const { return lesion_count.value_or(lesions.size()); }
};

/// The scans as a device is given them; they lie in the cases.
std::vector<TrainingScan> scans_to_train_on(const std::vector<PreparedCase>& cases);

/// The file of each channel that prepare_case reads, the mask's first where there is one.
std::vector<std::filesystem::path> files_to_read(const Dataset& dataset, const Case& scan,
                                                 const PreparationOptions& options);

/// Reads one case. With a mask channel, voxels where it is 0 get the masked image's minimum before the intensity step.
/// Throws InputError naming the file where a value is not finite and options.nan is not set, channels or label lie
/// differently in space, a file has other channels than the dataset names, a label holds a value that nothing names, or
/// is missing though asked for. With more than one thread, channels and label are read at once, a thread each.
PreparedCase prepare_case(const Dataset& dataset, const Case& scan, const PreparationOptions& options, int threads = 1);

/// What options.nan changed over scans, as a line of the terminal; empty where there was nothing to change.
class ReplacedVoxels {
  public:
    void add(const PreparedCase& scan);
    std::string line(const PreparationOptions& options) const;

  private:
    std::int64_t scans_ = 0, voxels_ = 0;
};

/// Called after each case, from any thread but never twice at once.
using CaseProgress = std::function<void(std::int64_t done, std::int64_t all)>;

/// Bytes that the named cases take once prepared, images and, where the dataset has the label, what is ignored, from
/// their headers alone. Throws InputError where one cannot be read.
std::int64_t memory_of_cases(const Dataset& dataset, const std::vector<std::string>& names,
                             const PreparationOptions& options);

/// Reads the named cases to train on, several at a time, in the order given. Throws InputError where none of them has a
/// lesion, or the memory does not suffice.
std::vector<PreparedCase> prepare_training_cases(const Dataset& dataset, const std::vector<std::string>& names,
                                                 const PreparationOptions& options, int threads,
                                                 const CaseProgress& progress = {});

}  // namespace iwseg
