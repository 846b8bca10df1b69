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
    std::int64_t patch = 160, stride = 144;  ///< voxels along each axis; 1 <= stride <= patch
    bool bf16 = false;
};

/// Called after each patch with patches done and in all; throwing ends the prediction.
using PatchProgress = std::function<void(std::int64_t done, std::int64_t all)>;

/// Logits and probabilities of a whole scan, each averaged on its own where patches overlap.
struct Prediction {
    std::vector<float> logit, probability;  ///< (D, H, W)
};

/// Predicts scans of any size by a grid of overlapping patches (docs/design.md, section 10): the scan is padded with 0,
/// on both sides alike, until the grid covers it; each patch is padded with its minimum to a multiple of 8. Keeps its
/// plan for the next scan.
class GridPredictor {
  public:
    /// parameters: empty (the network's are added, zero, to be loaded) or those of a network with these options; they
    /// must outlive the predictor. Throws InputError on an unusable patch or stride.
    GridPredictor(Context& context, Parameters& parameters, const UnetOptions& network, const GridOptions& grid);
    ~GridPredictor();

    /// Bytes the prediction of a scan of (D, H, W) voxels takes: image, results, patches and the network's arena.
    std::int64_t bytes(std::int64_t d, std::int64_t h, std::int64_t w) const;
    std::int64_t patches(std::int64_t d, std::int64_t h, std::int64_t w) const;
    /// image: (C, D, H, W). One output channel.
    Prediction predict(const float* image, std::int64_t d, std::int64_t h, std::int64_t w,
                       const PatchProgress& progress = {});

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace iwseg
