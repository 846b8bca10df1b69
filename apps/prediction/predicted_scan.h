#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/lesion_labels.h"
#include "data/volume/volume.h"
#include "kernels/components/detection.h"

namespace iwseg {

/// The files of one case in a folder of predictions, iwseg's or another program's. Paths are empty where there is none.
struct PredictionFiles {
    std::filesystem::path probability{};  ///< CASE_prob
    std::filesystem::path logit{};        ///< CASE_logit; only beside a probability
    std::filesystem::path plain{};        ///< else CASE: a mask by the dataset's label values, or probabilities
    std::filesystem::path labels{};       ///< of a class: the map of all labels, CASE, beside its probability
    std::filesystem::path mask{};  ///< else CASE_mask: a mask as iwseg writes it, lesion above 0, or probabilities
};

/// Looks for CASE_prob with CASE_logit, then for CASE (as nnU-Net writes), then for CASE_mask, of any ending that can
/// be read. Nothing where there is none of them. Throws InputError where one of them is there in two formats.
/// of_class: where classes are told apart, one's name. Then looks for CASE_prob with CASE_logit in the folder of that
/// name within and, beside it, for CASE, which is a map of all labels; then for CASE alone.
std::optional<PredictionFiles> find_prediction(const std::filesystem::path& folder, const std::string& name,
                                               const std::string& of_class = "");

/// "CASE_prob.nii.gz, CASE.nii.gz or CASE_mask.nii.gz", for sentences.
/// Of a class "CLASS/CASE_prob.nii.gz or the labels CASE.nii.gz".
std::string expected_predictions(const std::string& name, const std::string& of_class = "");

/// Names of cases, sorted, for which a folder holds predictions.
std::vector<std::string> predicted_names(const std::filesystem::path& folder, const std::string& of_class = "");

/// A prediction in memory. A mask's probabilities are 0 and 1. Where labels say where a class is, its probability is 0
/// elsewhere, and there whatever it is, down to the threshold.
struct PredictedScan {
    std::vector<float> probability;               ///< (D, H, W)
    std::vector<float> logit;                     ///< (D, H, W); empty: to be derived from the probabilities
    float threshold = DetectionRule{}.threshold;  ///< detections have more than that
    bool older_labels = false;                    ///< the labels beside a probability were written before it
    bool is_mask = false;
    bool only_other_labels = false;  ///< of a mask: values occur that are named, but none of a lesion
};

/// Where a prediction has to lie, and what its label values mean.
struct PredictionTarget {
    const Geometry& geometry;
    const std::filesystem::path& file;  ///< of the labels
    const LesionLabels& labels;         ///< for other programs' predictions that are masks
    bool of_class = false;              ///< what is not for one class alone must be a map of labels
};

/// A file of whole numbers only is a mask. Throws InputError, naming the file, where it lies elsewhere than the target,
/// holds probabilities outside of [0, 1], a value that is not finite, or a mask's value that the labels do not know.
PredictedScan read_prediction(const PredictionFiles& files, const PredictionTarget& target);

}  // namespace iwseg
