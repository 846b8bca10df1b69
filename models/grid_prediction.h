#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "engine/context.h"
#include "engine/parameters.h"
#include "kernels/view.h"
#include "models/unet.h"

namespace iwseg {

struct GridOptions {
    std::int64_t patch = 160, stride = 144;  ///< voxels along each axis; stride at most patch
    bool bf16 = false;
};

/// Called after each patch with patches done and in all; throwing ends the prediction.
using PatchProgress = std::function<void(std::int64_t done, std::int64_t all)>;

/// Logits and probabilities of a whole scan, each averaged on its own where patches overlap.
struct Prediction {
    std::vector<float> logit, probability;  ///< (D, H, W)
};

/// Predicts scans of any size by a grid of overlapping patches (docs/design.md, section 10). Keeps its plan and packed
/// weights for the next scan of the same size.
class GridPredictor {
  public:
    /// parameters are those of a network with these options; they must outlive the predictor.
    GridPredictor(Context& context, Parameters& parameters, const UnetOptions& network, const GridOptions& grid);
    ~GridPredictor();

    /// Bytes the prediction of a scan of (D, H, W) voxels takes, output included.
    std::int64_t bytes(std::int64_t d, std::int64_t h, std::int64_t w);
    /// image: (C, D, H, W).
    Prediction predict(const float* image, std::int64_t d, std::int64_t h, std::int64_t w,
                       const PatchProgress& progress = {});

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace iwseg
