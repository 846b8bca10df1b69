#include "engine/packed_weights.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "engine/plan.h"

namespace iwseg {
namespace {

/// Of a convolution's weights (O, C, k, k, k), or of a bias (O) as weights of one output.
WeightShape weight_shape_of(const Parameter& parameter) {
    const std::vector<std::int64_t>& s = parameter.shape;
    if (s.size() == 1) return {1, s[0], 1};
    const auto taps = std::accumulate(s.begin() + 2, s.end(), std::int64_t{1}, std::multiplies<>());
    return {s[0], s[1], static_cast<int>(taps)};
}

}  // namespace

PackedTensors PackedWeights::add(Program& program, const WeightForm& form, int weight, int bias, bool gradient) {
    PackedTensors added;
    const std::string& name = parameters_[weight].name;
    if (form.packed) {
        added.weights = program.add_bytes(name + " packed", form.bytes);
        values_.push_back({added.weights, 0, weight, form.type});
        if (form.packed_bias) values_.push_back({added.weights, form.bias_at, bias, form.type});
    }
    if (form.packed_gradient && gradient) {
        added.gradient =
            program.add_bytes("gradient of " + name + " packed", parameters_[weight].elements * bytes_of(form.type));
        gradients_.push_back({added.gradient, 0, weight, form.type});
    }
    return added;
}

std::vector<Tensor> PackedWeights::tensors_of(const std::vector<Array>& arrays) {
    std::vector<Tensor> tensors;
    for (const Array& one : arrays) tensors.push_back(one.memory);
    return tensors;
}

std::int64_t PackedWeights::bytes_of_both(const std::vector<Array>& arrays) const {
    std::int64_t bytes = 0;
    for (const Array& one : arrays)
        bytes += parameters_[one.parameter].elements * (bytes_of(Type::f32) + bytes_of(one.type));
    return bytes;
}

std::vector<PackedArray> PackedWeights::arrays_of_type(const std::vector<Array>& arrays, Type type, const Plan& plan,
                                                       bool gradients) const {
    std::vector<PackedArray> chosen;
    for (const Array& one : arrays) {
        if (one.type != type) continue;
        const int p = one.parameter;
        chosen.push_back({gradients ? parameters_.device_gradient(p) : parameters_.device_value(p),
                          plan.data<char>(one.memory) + one.at, weight_shape_of(parameters_[p])});
    }
    return chosen;
}

void PackedWeights::pack(Program& program) const {
    if (values_.empty()) return;
    Step step{"weights packed", {}, tensors_of(values_), [this](const Plan& plan) {
                  for (const Type type : {Type::f32, Type::bf16})
                      context_.kernels().pack_all_weights(context_.stream(), arrays_of_type(values_, type, plan, false),
                                                          type);
              }};
    step.bytes_outside = bytes_of_both(values_);
    program.add(std::move(step));
}

void PackedWeights::unpack(Program& program) const {
    if (gradients_.empty()) return;
    Step step{"weight gradients unpacked", tensors_of(gradients_), {}, [this](const Plan& plan) {
                  for (const Type type : {Type::f32, Type::bf16})
                      context_.kernels().unpack_all_weights(context_.stream(),
                                                            arrays_of_type(gradients_, type, plan, true), type);
              }};
    step.bytes_outside = bytes_of_both(gradients_);
    program.add(std::move(step));
}

}  // namespace iwseg
