#include "engine/ops/relu.h"

#include <stdexcept>

#include "engine/graph.h"
#include "engine/lowering.h"
#include "engine/plan.h"

namespace iwseg {

LeakyReluOperation::LeakyReluOperation(std::string name, float slope) : name_(std::move(name)), slope_(slope) {
    if (!(slope >= 0 && slope < 1))
        throw std::invalid_argument(name_ + ": a slope of " + std::to_string(slope) +
                                    ", expected one from 0 to below 1");
}

void LeakyReluOperation::forward(const Lowering& lowering) const {
    const Buffer x = lowering.input(0), y = lowering.output();
    Call call{name_, "leaky relu", {x}, {y}, {}};
    call.in_place = {x, y};
    call.run = [=, slope = slope_](const Plan& plan) {
        plan.device().leaky_relu(plan.stream(), plan[x], slope, plan[y]);
    };
    lowering.add(std::move(call));
}

void LeakyReluOperation::backward(const Lowering& lowering) const {
    if (!lowering.wants_gradient(0)) return;
    const Buffer y = lowering.output(), diff_y = lowering.output_gradient();
    const GradientDestination to = lowering.input_gradient(0);
    Call call{name_ + " backward", "leaky relu backward", {y, diff_y}, {to.buffer}, {}};
    call.run = [=, slope = slope_](const Plan& plan) {
        plan.device().leaky_relu_backward(plan.stream(), plan[y], plan[diff_y], slope, plan[to.buffer], to.write);
    };
    if (to.write == Write::accumulate)
        call.reads.push_back(to.buffer);
    else
        call.in_place = {diff_y, to.buffer};
    lowering.add(std::move(call));
}

Tensor relu(Tensor x) {
    return x.graph->add_one(std::make_shared<LeakyReluOperation>(x.graph->fresh_name("relu"), 0.0f), {x});
}

Tensor leaky_relu(Tensor x, float slope) {
    return x.graph->add_one(std::make_shared<LeakyReluOperation>(x.graph->fresh_name("leaky_relu"), slope), {x});
}

}  // namespace iwseg
