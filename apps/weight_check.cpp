#include "apps/weight_check.h"

#include <algorithm>
#include <cmath>

namespace iwseg {

std::optional<std::string> unusable_weights(Parameters& parameters) {
    for (int i = 0; i < parameters.size(); ++i) {
        const Parameter& parameter = parameters[i];
        const float* first = parameters.value(i);
        const float* last = first + parameter.elements;
        if (!std::all_of(first, last, [](float value) { return std::isfinite(value); }))
            return parameter.name + " holds a value that is not finite";
        if (parameter.name.ends_with("running_var") && std::any_of(first, last, [](float value) { return value < 0; }))
            return parameter.name + " holds a negative variance";
    }
    return std::nullopt;
}

}  // namespace iwseg
