#include "apps/training/weight_check.h"

namespace iwseg {

std::optional<std::string> unusable_weights(Parameters& parameters) {
    for (int i = 0; i < parameters.size(); ++i) {
        const Parameter& parameter = parameters[{i}];
        const std::span<const float> values(parameters.value({i}), static_cast<std::size_t>(parameter.elements));
        if (auto fault = unusable_values(parameter, values)) return fault;
    }
    return std::nullopt;
}

}  // namespace iwseg
