#include "models/initialisation.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "engine/random.h"
#include "kernels/parallel.h"

namespace iwseg {

namespace {

/// Kaiming uniform with a = sqrt 5: the bound is 1 / sqrt(fan in), weights and biases alike.
void fill_uniform(const Parameter& weight, Random random, std::int64_t count, float* values) {
    const std::int64_t fan_in = weight.elements / weight.shape[0];
    const double bound = 1.0 / std::sqrt(static_cast<double>(fan_in));
    for (std::int64_t k = 0; k < count; ++k) values[k] = static_cast<float>((2.0 * random.uniform() - 1.0) * bound);
}

}  // namespace

void initialise(Context& context, Parameters& parameters, std::uint64_t seed) {
    // Every array has random numbers of its own, so their order is free.
    cpu::parallel_for(context.host(), parameters.size(), [&](std::int64_t index) {
        const auto i = static_cast<int>(index);
        const Parameter& parameter = parameters[i];
        const std::string& name = parameter.name;
        float* values = parameters.value(i);
        const Random random(seed, static_cast<std::uint64_t>(i), 0, Purpose::weights);
        if (parameter.shape.size() == 5) {
            fill_uniform(parameter, random, parameter.elements, values);
        } else if (name.ends_with("layer.bias")) {
            const Parameter& weight = parameters.find(name.substr(0, name.size() - 4) + "weight");
            fill_uniform(weight, random, parameter.elements, values);
        } else {
            const bool ones = name.ends_with("running_var") || name.ends_with("bn.weight") || name == "2.2.weight";
            std::fill_n(values, parameter.elements, ones ? 1.0f : 0.0f);
        }
    });
    std::fill(parameters.momentum().begin(), parameters.momentum().end(), 0.0f);
    parameters.batches_tracked = 0;
    parameters.upload();
}

}  // namespace iwseg
