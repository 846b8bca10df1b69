#pragma once

#include <cstdint>
#include <vector>

#include "data/volume/volume.h"
#include "engine/context.h"
#include "models/label_map.h"
#include "models/sliding_window.h"
#include "nnunet/model.h"
#include "nnunet/preprocess.h"

namespace iwseg::nnunet {

struct PredictorOptions {
    double step = 0.5;           ///< of the patch, between patches
    bool mirror = true;          ///< along the axes that the checkpoint allows
    bool gaussian = true;        ///< patches count by a Gaussian around their centres
    bool probabilities = false;  ///< are kept too: 4 bytes a class and voxel
    bool bf16 = false;
};

/// What a scan's prediction is.
struct Segmentation {
    Geometry geometry;                 ///< of the scan
    LabelMap labels;                   ///< in the order of a Volume's voxels
    std::vector<float> probabilities;  ///< as LabelWriter has them; empty where they were not asked for
    Extent array_sides{};              ///< of each class's probabilities, as nnU-Net's arrays
};

/// nnU-Net's own prediction of whole scans, of one model's folds together. One thread at a time.
class NnunetPredictor {
  public:
    /// Reads the checkpoints. Throws InputError as open_model and read_weights.
    NnunetPredictor(const Context& context, const Model& model, const PredictorOptions& options);

    /// channels: of one geometry, a volume each, in the order of dataset.json; they are taken over.
    /// Throws InputError as preprocess does, NotFinite where the network's result is not.
    Segmentation predict(std::vector<Volume<float>> channels, const PatchProgress& progress = {});

    /// Peak memory of a scan from its channels to its files, in bytes, by its header alone, beside the weights, which
    /// are there already: of preprocessing, of predicting, and of writing labels, and probabilities where they are
    /// kept. A bound: a scan may be cropped. later: others were predicted before, whose network is there still.
    std::int64_t bytes(const Geometry& geometry, bool later) const;
    /// What is taken from the first scan on.
    std::int64_t lasting_bytes() const { return window_.lasting_bytes(); }
    /// Patches of a scan that is not cropped, mirrored ones and those of each fold counted by themselves.
    std::int64_t patches(const Geometry& geometry) const;

  private:
    /// The scan as if nothing of it were cropped.
    Placement whole(const Geometry& geometry) const;

    Context context_;
    Model model_;
    PredictorOptions options_;
    SlidingWindow window_;
};

}  // namespace iwseg::nnunet
