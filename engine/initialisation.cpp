#include "engine/initialisation.h"

#include <algorithm>
#include <cmath>

#include "base/random.h"
#include "kernels/cpu/parallel.h"

namespace iwseg {

Initial Initial::kaiming_uniform(std::int64_t fan_in) {
    return {Rule::uniform, 1.0 / std::sqrt(static_cast<double>(fan_in))};
}

void initialise(const Context& context, Parameters& parameters, std::uint64_t seed) {
    // Every array has random numbers of its own, so their order is free.
    cpu::parallel_for(context.host(), parameters.size(), [&](std::int64_t index) {
        const ParameterId id{static_cast<int>(index)};
        const Parameter& parameter = parameters[id];
        float* values = parameters.value(id);
        const auto [rule, number] = parameter.initial;
        if (rule == Initial::Rule::constant) {
            std::fill_n(values, parameter.elements, static_cast<float>(number));
            return;
        }
        Random random(seed, static_cast<std::uint64_t>(index), 0, Purpose::weights);
        for (std::int64_t k = 0; k < parameter.elements; ++k)
            values[k] = static_cast<float>((2.0 * random.uniform() - 1.0) * number);
    });
    parameters.set_batches_tracked(0);
    parameters.upload();
}

}  // namespace iwseg
