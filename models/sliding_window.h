#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/extent.h"
#include "engine/context.h"
#include "engine/parameters.h"
#include "kernels/device/view.h"
#include "models/grid_prediction.h"
#include "models/network.h"

namespace iwseg {

/// Prediction as nnU-Net does it.
struct SlidingWindowOptions {
    Sides patch = 128;          ///< voxels along each axis
    double step = 0.5;          ///< between patches at most, as a share of their side: from 0.01 to 1
    bool gaussian = true;       ///< patches count by a Gaussian of sigma 1/8 around their centres, else all alike
    std::vector<int> mirror{};  ///< axes (0: D) along which patches are mirrored too: the mean of all combinations
    bool bf16 = false;
};

/// The windows of a grid: its patch, made a multiple of what the network takes, and its stride as a share of it. Throws
/// InputError on a grid that is not usable.
SlidingWindowOptions windows_of(const Network& network, const GridOptions& grid);

/// Where patches begin along an axis: the first at 0, the last at its end, evenly between, by `step` of the patch apart
/// at most. Throws std::invalid_argument where the patch is larger than the axis.
std::vector<std::int64_t> window_starts(std::int64_t size, std::int64_t patch, double step);

/// The weights of a patch's voxels, (D, H, W): a Gaussian of sigma 1/8 of each side, 10 at its largest, in half
/// precision; where that is 0, the least that is not.
std::vector<float> gaussian_importance(const Sides& patch);

/// Predicts scans of any size by overlapping windows: logits are added up by the patches' weights, and come out plane
/// by plane as soon as no later patch covers them, so that memory is bounded by patch.d planes of each class, whatever
/// the scan's depth. A scan smaller than a patch is padded with 0 on both sides, one more at the end
/// where the number is odd. Several networks of one kind, as folds, are averaged. One thread at a time.
class SlidingWindow {
  public:
    /// Throws InputError on options that are not usable, among them a patch that the network does not take.
    SlidingWindow(const Context& context, const Network& network, const SlidingWindowOptions& options);
    ~SlidingWindow();

    /// The network's, zero. With use_weights(), what is predicted with.
    Parameters& parameters();
    /// Adds a network to be averaged, whose weights `load` leaves in parameters(). At least one is needed to predict;
    /// of several each is held beside parameters().
    void add_weights(const std::function<void(Parameters&)>& load);
    /// What parameters() holds when a prediction begins is the only network, in place of all that were added.
    void use_weights();
    int outputs() const;

    /// Receives each plane d of the scan's logits, (K, H, W), in order.
    using PlaneSink = std::function<void(std::int64_t d, const float* logits)>;
    /// image: (C, D, H, W). Throws NotFinite where a logit is not.
    void predict(const float* image, const Extent& extent, const PlaneSink& sink, const PatchProgress& progress = {});

    /// Patches of a scan, mirrored ones and those of each network counted by themselves.
    std::int64_t patches(const Extent& extent) const;
    /// Bytes that are taken from the first prediction on, whatever the scan: the network's plan and a patch with its
    /// logits, of mirrored patches two of these.
    std::int64_t lasting_bytes() const;
    /// Bytes that a prediction takes, those among them, beside the image and the weights, which are there already.
    std::int64_t bytes(const Extent& extent) const;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace iwseg
