#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "models/class_decision.h"
#include "models/label_map.h"
#include "models/sliding_window.h"

namespace iwseg {

/// What a network of several classes or regions makes of a scan.
struct ClassPrediction {
    LabelMap labels;            ///< (D, H, W)
    std::vector<float> logits;  ///< (K, D, H, W), where they were asked for
};

/// Predicts label maps of whole scans by overlapping windows (models/sliding_window.h), their patches counting by a
/// Gaussian around their centres. Several networks of one kind are averaged by their logits. One thread at a time.
class ClassPredictor {
  public:
    /// Throws InputError on windows that are not usable, and where the network has other output channels than the
    /// classes.
    ClassPredictor(const Context& context, const Network& network, const SlidingWindowOptions& windows,
                   const OutputClasses& classes);

    /// As SlidingWindow has them.
    Parameters& parameters() { return window_.parameters(); }
    void add_weights(const std::function<void(Parameters&)>& load) { window_.add_weights(load); }
    void use_weights() { window_.use_weights(); }

    /// image: (C, D, H, W). Throws NotFinite where a logit is not finite.
    ClassPrediction predict(const float* image, const Extent& extent, bool logits, const PatchProgress& progress = {});

    const OutputClasses& classes() const { return classes_; }
    std::int64_t patches(const Extent& extent) const { return window_.patches(extent); }
    std::int64_t lasting_bytes() const { return window_.lasting_bytes(); }
    /// Bytes that a prediction takes, those among them, beside the image.
    std::int64_t bytes(const Extent& extent, bool logits) const;

  private:
    Context context_;
    OutputClasses classes_;
    SlidingWindow window_;
};

/// A channel's probability from all logits (K, V) of a scan: of regions the sigmoid of its own, of classes the softmax.
/// probability: (V) receives it.
void class_probability(Stream host, const std::vector<float>& logits, const OutputClasses& classes, int channel,
                       std::vector<float>& probability);

/// The logit of that probability, log(p / (1 - p)), without loss of digits where p is 1 but for its last. logit: (V)
/// receives it.
void class_logit(Stream host, const std::vector<float>& logits, const OutputClasses& classes, int channel,
                 std::vector<float>& logit);

}  // namespace iwseg
