#include "engine/packed_weights.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <set>
#include <vector>

#include "engine/plan.h"
#include "kernels/device/backend.h"

namespace iwseg {
namespace {

/// Of a convolution's weights (O, C, k, k, k), or of a bias (O) as weights of one output.
WeightShape weight_shape_of(const Parameter& parameter) {
    const std::vector<std::int64_t>& s = parameter.shape;
    if (s.size() == 1) return {1, s[0], 1};
    const auto taps = std::accumulate(s.begin() + 2, s.end(), std::int64_t{1}, std::multiplies<>());
    return {s[0], s[1], static_cast<int>(taps)};
}

PackedArray packed_array(float* plain, char* packed, const Parameter& parameter) {
    return {plain, packed, weight_shape_of(parameter)};
}

}  // namespace

PackedWeights::PackedWeights(const Parameters& parameters) : arrays_(std::make_shared<Arrays>()) {
    arrays_->parameters = parameters;
}

PackedBuffers PackedWeights::add(Program& program, const WeightForm& form, ParameterId weight, ParameterId bias,
                                 bool gradient) {
    PackedBuffers added;
    const Parameter& parameter = arrays_->parameters[weight];
    if (form.packed) {
        added.weights = program.add_bytes(parameter.name + " packed", form.bytes);
        arrays_->values.push_back({added.weights, 0, weight, form.type});
        if (form.packed_bias) arrays_->values.push_back({added.weights, form.bias_at, bias, form.type});
    }
    if (form.packed_gradient && gradient) {
        added.gradient =
            program.add_bytes("gradient of " + parameter.name + " packed", parameter.elements * bytes_of(form.type));
        arrays_->gradients.push_back({added.gradient, 0, weight, form.type});
    }
    return added;
}

std::vector<Buffer> PackedWeights::Arrays::buffers_of(const std::vector<Array>& arrays) {
    std::vector<Buffer> buffers;
    for (const Array& one : arrays) buffers.push_back(one.memory);
    return buffers;
}

std::int64_t PackedWeights::Arrays::bytes_of_both(const std::vector<Array>& arrays) const {
    std::int64_t bytes = 0;
    for (const Array& one : arrays)
        bytes += parameters[one.parameter].elements * (bytes_of(Type::f32) + bytes_of(one.type));
    return bytes;
}

std::vector<PackedArray> PackedWeights::Arrays::values_of(Type type, const Plan& plan) const {
    std::vector<PackedArray> chosen;
    for (const Array& one : values)
        if (one.type == type)
            chosen.push_back(packed_array(parameters.device_value(one.parameter), plan.data<char>(one.memory) + one.at,
                                          parameters[one.parameter]));
    return chosen;
}

std::vector<PackedArray> PackedWeights::Arrays::gradients_of(Type type, const Plan& plan) const {
    std::vector<PackedArray> chosen;
    for (const Array& one : gradients)
        if (one.type == type)
            chosen.push_back(packed_array(parameters.device_gradient(one.parameter),
                                          plan.data<char>(one.memory) + one.at, parameters[one.parameter]));
    return chosen;
}

void PackedWeights::pack(Program& program) const {
    if (arrays_->values.empty()) return;
    Call call{"weights packed",
              "weights packed",
              {},
              Arrays::buffers_of(arrays_->values),
              [arrays = std::shared_ptr<const Arrays>(arrays_)](const Plan& plan) {
                  for (const Type type : {Type::f32, Type::bf16})
                      plan.device().pack_all_weights(plan.stream(), arrays->values_of(type, plan), type);
              }};
    call.bytes_outside = arrays_->bytes_of_both(arrays_->values);
    program.add(std::move(call));
}

void PackedWeights::unpack(Program& program) const {
    std::set<Buffer> written;
    for (const Call& call : program.calls()) written.insert(call.writes.begin(), call.writes.end());
    std::erase_if(arrays_->gradients, [&](const Array& one) { return !written.contains(one.memory); });
    if (arrays_->gradients.empty()) return;
    Call call{"weight gradients unpacked",
              "weight gradients unpacked",
              Arrays::buffers_of(arrays_->gradients),
              {},
              [arrays = std::shared_ptr<const Arrays>(arrays_)](const Plan& plan) {
                  for (const Type type : {Type::f32, Type::bf16})
                      plan.device().unpack_all_weights(plan.stream(), arrays->gradients_of(type, plan), type);
              }};
    call.bytes_outside = arrays_->bytes_of_both(arrays_->gradients);
    program.add(std::move(call));
}

}  // namespace iwseg
