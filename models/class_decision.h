#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace iwseg {

/// What the output channels of a network stand for, where they are several classes or regions.
struct OutputClasses {
    std::vector<std::string> names;  ///< of each channel; of classes that exclude each other the first is background
    /// The label that a voxel receives: of classes that of the largest logit, the first being background's, 0; of
    /// regions that of the last one whose probability is above 0.5, 0 where there is none.
    std::vector<std::int32_t> values;
    bool regions = false;

    int outputs() const { return static_cast<int>(values.size()); }
    bool operator==(const OutputClasses&) const = default;
};

/// The label of a voxel by its logits, one a channel. values: as OutputClasses has them. Of regions a probability above
/// 0.5 is a logit above 0.
inline std::int32_t label_of_logits(const std::vector<float>& logits, const std::vector<std::int32_t>& values,
                                    bool regions) {
    if (!regions)
        return values[static_cast<std::size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin())];
    std::int32_t label = 0;
    for (std::size_t k = 0; k < logits.size(); ++k)
        if (logits[k] > 0) label = values[k];
    return label;
}

/// Turns the logits of a voxel into probabilities: their softmax, of regions each one's sigmoid.
inline void to_class_probabilities(std::vector<float>& values, bool regions) {
    if (regions) {
        for (float& value : values) value = 1 / (1 + std::exp(-value));
        return;
    }
    const float most = *std::max_element(values.begin(), values.end());
    float sum = 0;
    for (float& value : values) sum += value = std::exp(value - most);
    for (float& value : values) value /= sum;
}

/// The logit of a channel's probability, from the logits of a voxel: of classes z_k - log(sum of exp(z_j), j not k).
inline float class_logit_of(const std::vector<float>& logits, std::size_t channel, bool regions) {
    if (regions) return logits[channel];
    float most = -std::numeric_limits<float>::infinity(), sum = 0;
    for (std::size_t k = 0; k < logits.size(); ++k)
        if (k != channel) most = std::max(most, logits[k]);
    for (std::size_t k = 0; k < logits.size(); ++k)
        if (k != channel) sum += std::exp(logits[k] - most);
    return logits[channel] - most - std::log(sum);
}

}  // namespace iwseg
