#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

#include "base/extent.h"
#include "engine/context.h"
#include "models/grid_prediction.h"
#include "models/network.h"

namespace iwseg {

struct PredictorOptions {
    std::int64_t patch = 160;  ///< voxels along each axis
    double overlap = 0.1;      ///< of neighbouring patches, as a share of their side: from 0 to below 1
    bool bf16 = false;
};

/// A network with its weights, that predicts scans of any size by overlapping patches (models/grid_prediction.h). The
/// image is given as the network was trained on it: this changes no intensities.
class Predictor {
  public:
    /// Throws InputError on an unusable patch or overlap, and, naming the file, on weights of another network.
    Predictor(const Context& context, const Network& network, const std::filesystem::path& weights,
              const PredictorOptions& options = {});
    /// With weights that are there already, as a trainer's; a handle of them is kept.
    Predictor(const Context& context, const Network& network, const Parameters& weights,
              const PredictorOptions& options = {});
    ~Predictor();
    Predictor(Predictor&&) noexcept;
    Predictor& operator=(Predictor&&) noexcept;

    /// image: (C, D, H, W). Throws std::invalid_argument where it has another number of elements, NotFinite where the
    /// result is not finite.
    Prediction predict(std::span<const float> image, const Extent& shape, const PatchProgress& progress = {});
    /// Bytes that the prediction of a scan of this shape takes.
    std::int64_t bytes(const Extent& shape) const;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace iwseg
