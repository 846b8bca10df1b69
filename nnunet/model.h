#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "engine/parameters.h"
#include "engine/safetensors.h"
#include "nnunet/plans.h"

namespace iwseg::nnunet {

/// What a fold's checkpoint says beside its weights.
struct CheckpointNotes {
    std::string configuration, trainer;
    std::vector<int> mirror;  ///< axes that patches may be mirrored along when predicting
};

/// A results folder as nnUNetv2_train leaves it: dataset.json, plans.json, fold_K/checkpoint_final.pth. What
/// `iwseg import` makes of one is the same with checkpoints as .safetensors, and is read the same way.
struct Model {
    std::filesystem::path folder;
    Dataset dataset;
    Plans plans;
    CheckpointNotes notes;                           ///< the same in all folds
    std::vector<std::string> folds;                  ///< their names: fold_0, …, fold_all
    std::vector<std::filesystem::path> checkpoints;  ///< a file each
};

struct ModelChoice {
    std::string folds = {};                       ///< "0,1", "all"; empty: those that there are
    std::string checkpoint = "checkpoint_final";  ///< or checkpoint_best
};

/// Throws InputError, naming the file, where a file is missing or not usable, a fold is not there (naming those that
/// are), folds differ in their configuration, and on what read_plans does not support.
Model open_model(const std::filesystem::path& folder, const ModelChoice& choice = {});

/// The arrays of a checkpoint that the plans' network has, by name. Deep supervision's other heads, and what PyTorch
/// lists twice, are left out. Throws InputError, naming file and array, where one is missing, of another shape, not
/// finite, or of another network's.
std::map<std::string, StoredTensor> read_weights(const std::filesystem::path& checkpoint, const Parameters& network);

/// The same, into the parameters.
void load_weights(const std::filesystem::path& checkpoint, Parameters& network);

/// Writes the model with its checkpoints as safetensors: dataset.json and plans.json as they are, and for each fold
/// fold_K/CHECKPOINT.safetensors. `out` must not exist or be empty. Returns how many parameters a network has.
std::int64_t import_model(const Model& model, const std::filesystem::path& out);

}  // namespace iwseg::nnunet
