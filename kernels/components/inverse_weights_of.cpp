#include "kernels/components/inverse_weights_of.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "base/number_text.h"
#include "kernels/components/host_volume.h"
#include "kernels/components/ignored.h"
#include "kernels/device/const_view.h"

namespace iwseg {

void inverse_weights_of(std::span<const std::int32_t> labels, const Extent& shape, const WeightClip& clip,
                        std::span<float> weights, Stream host) {
    constexpr const char* function = "inverse_weights_of";
    const std::int64_t voxels = voxels_of_host(shape, function);
    require_host_size(labels.size(), voxels, "labels", function);
    require_host_size(weights.size(), voxels, "weights", function);
    if (!(clip.low > 0 && clip.low <= clip.high && std::isfinite(clip.high)))
        throw std::invalid_argument(std::string(function) + ": weights are clipped to [" + number_text(clip.low) +
                                    ", " + number_text(clip.high) + "], expected 0 < low <= high");
    if (voxels == 0) return;
    // Labels beyond the number of voxels would make a table of any size.
    const auto outside = std::find_if(labels.begin(), labels.end(), [&](std::int32_t label) {
        return label > voxels || (label < 0 && label != kIgnoredLabel);
    });
    if (outside != labels.end())
        throw std::invalid_argument(std::string(function) + ": a label of " + std::to_string(*outside) +
                                    ", expected 0 to the number of voxels, or -1 where the truth is unknown");
    const std::int64_t stride = std::int64_t{1} + std::max(0, *std::max_element(labels.begin(), labels.end()));
    std::vector<float> table(static_cast<std::size_t>(stride));
    const Shape one{1, 1, shape[0], shape[1], shape[2]};
    const View seen = to_read({labels.data(), one, Type::i32});
    cpu::inverse_weight_table(host, seen, table.data(), stride, clip);
    cpu::look_up_weights(host, seen, table.data(), stride, {weights.data(), one});
}

std::vector<float> inverse_weights_of(std::span<const std::int32_t> labels, const Extent& shape, const WeightClip& clip,
                                      Stream host) {
    // Before memory is taken for a shape that is not the labels'.
    require_host_size(labels.size(), voxels_of_host(shape, "inverse_weights_of"), "labels", "inverse_weights_of");
    std::vector<float> weights(labels.size());
    inverse_weights_of(labels, shape, clip, weights, host);
    return weights;
}

}  // namespace iwseg
