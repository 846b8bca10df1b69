#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/extent.h"
#include "engine/context.h"
#include "models/grid_prediction.h"
#include "models/network.h"
#include "models/prediction_settings.h"

namespace iwseg {

struct PredictorOptions {
    std::int64_t patch = 160;  ///< voxels along each axis
    double overlap = 0.1;      ///< of neighbouring patches, as a share of their side: from 0 to below 1
    bool bf16 = false;
};

/// A network with its weights, that predicts scans of any size by overlapping patches (models/grid_prediction.h).
/// Opened by from_file it takes an image's own values and makes of them what the network was trained on; made otherwise
/// it changes no intensities, and the image is given as the network was trained on it.
class Predictor {
  public:
    /// All as the file's metadata say (models/prediction_settings.h): the network, what is done to intensities, grid,
    /// precision and the rule of masks. Results are those of `iwseg predict --weights`, bit for bit on the same device;
    /// on a GPU, of a context whose tf32 is that of settings(). Throws InputError, naming the file, where it is none of
    /// a known network or does not say how scans are read for it.
    static Predictor from_file(const Context& context, const std::filesystem::path& weights);
    /// The same of a network that is the program's own.
    static Predictor from_file(const Context& context, const Network& network, const std::filesystem::path& weights);

    /// Throws InputError on an unusable patch or overlap, and, naming the file, on weights of another network.
    Predictor(const Context& context, const Network& network, const std::filesystem::path& weights,
              const PredictorOptions& options = {});
    /// With weights that are there already, as a trainer's; a handle of them is kept.
    Predictor(const Context& context, const Network& network, const Parameters& weights,
              const PredictorOptions& options = {});
    ~Predictor();
    Predictor(Predictor&&) noexcept;
    Predictor& operator=(Predictor&&) noexcept;

    /// image: (C, D, H, W), C being channels(); it is left as it is. Throws std::invalid_argument where it has another
    /// number of elements, NotFinite where the result is not finite, and, opened by from_file, InputError where the
    /// image holds a value that is not finite and the settings do not say what it becomes.
    Prediction predict(std::span<const float> image, const Extent& shape, const PatchProgress& progress = {});
    /// The map (D, H, W) of labels of a network of several classes or regions, as settings().classes writes them, which
    /// predict and mask do not take. Throws as predict, and InputError of a network of one class.
    std::vector<std::int32_t> labels(std::span<const float> image, const Extent& shape,
                                     const PatchProgress& progress = {});
    /// The mask (D, H, W), 0 or 1, of predicted probabilities by the rule of settings(). spacing: mm a voxel along D,
    /// H, W. Throws InputError where a spacing is not above 0, std::invalid_argument where the sizes differ.
    std::vector<std::uint8_t> mask(std::span<const float> probability, const Extent& shape,
                                   const std::array<double, 3>& spacing) const;

    /// Of an image: the network's, and the mask channel of the settings where there is one, as the last.
    int channels() const;
    /// What the file said; of a predictor made otherwise, no intensity step, the options' grid and probability > 0.5.
    const PredictionSettings& settings() const;
    /// Bytes that the prediction of a scan of this shape takes: the network's, the image and the results.
    std::int64_t bytes(const Extent& shape) const;

  private:
    struct State;
    explicit Predictor(std::unique_ptr<State> state);

    std::unique_ptr<State> state_;
};

}  // namespace iwseg
