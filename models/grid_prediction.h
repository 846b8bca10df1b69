#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "engine/context.h"
#include "engine/parameters.h"
#include "kernels/device/view.h"
#include "models/network.h"

namespace iwseg {

struct GridOptions {
    static constexpr std::int64_t kLeastPatch = 8, kMostPatch = 4096;

    std::int64_t patch = 160, stride = 144;  ///< voxels along each axis; 1 <= stride <= patch
    bool bf16 = false;
};

/// Throws InputError where patch or stride is outside of its range; the names are those that the sentence gives to the
/// two, as in "--patch".
void require_usable(const GridOptions& grid, const std::string& patch_name, const std::string& stride_name);

/// A network's result on a scan holds a value that is not finite: its weights, or the scan, are not usable.
class NotFinite : public InputError {
  public:
    using InputError::InputError;
};

/// Called after each patch with patches done and in all; throwing ends the prediction.
using PatchProgress = std::function<void(std::int64_t done, std::int64_t all)>;

/// Logits and probabilities of a whole scan, each averaged on its own where patches overlap.
struct Prediction {
    std::vector<float> logit, probability;  ///< (D, H, W)
};

/// Predicts scans of any size by a grid of overlapping patches (docs/design.md, section 10): the scan is padded with 0,
/// on both sides alike, until the grid covers it; each patch is padded with its minimum to sides that the network
/// takes. Keeps its plan for the next scan. predict may be called by several threads: they take turns, a scan each.
/// Weights stay as they are meanwhile, and what else there is on the context (other predictors, sessions) is not at
/// work then.
class GridPredictor {
  public:
    /// parameters: empty (the network's are added, zero, to be loaded) or those of such a network; they
    /// must outlive the predictor. Throws InputError on an unusable patch or stride.
    GridPredictor(Context& context, Parameters& parameters, const Network& network, const GridOptions& grid);
    ~GridPredictor();

    /// Bytes that are taken for as long as this lives, whatever the scan: the network's arena and one patch.
    std::int64_t lasting_bytes() const;
    /// Bytes the prediction of a scan of (D, H, W) voxels takes: those, the image and the results.
    std::int64_t bytes(std::int64_t d, std::int64_t h, std::int64_t w) const;
    std::int64_t patches(std::int64_t d, std::int64_t h, std::int64_t w) const;
    /// image: (C, D, H, W). One output channel. Throws NotFinite where the result is not finite, and std::logic_error
    /// where it is called from its own progress.
    Prediction predict(const float* image, std::int64_t d, std::int64_t h, std::int64_t w,
                       const PatchProgress& progress = {});

  private:
    struct State;
    class Turn;
    std::unique_ptr<State> state_;
};

}  // namespace iwseg
