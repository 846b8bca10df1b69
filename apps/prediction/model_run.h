#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace iwseg {

/// What `iwseg predict --model` is asked for, as nnUNetv2_predict.
struct ModelRun {
    std::filesystem::path model = {}, out = {};
    std::vector<std::filesystem::path> input = {};  ///< a folder of CASE_0000.nii.gz, …, or files
    std::vector<std::string> cases = {};            ///< empty: all
    std::string folds = {}, checkpoint = "checkpoint_final", device = "auto", precision = "fp32";
    int threads = 0;
    double step_size = 0.5;
    bool mirror = true, probabilities = false;
};

/// Predicts the scans with a model of nnU-Net's, and writes CASE.ENDING, labels as the model's dataset.json has them,
/// and CASE.npz with probabilities where they are wanted. Memory is printed, and refused, before the work.
void predict_with_model(const ModelRun& run);

}  // namespace iwseg
