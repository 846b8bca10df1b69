#include "engine/ops/activation.h"

#include "engine/graph.h"
#include "engine/lowering.h"
#include "engine/plan.h"

namespace iwseg {

void ActivationOperation::forward(const Lowering& lowering) const {
    const Buffer x = lowering.input(0), y = lowering.output();
    Call call{name_, "activation", {x}, {y}, {}};
    call.in_place = {x, y};
    call.run = [=, function = function_](const Plan& plan) {
        plan.device().activate(plan.stream(), plan[x], function, plan[y]);
    };
    lowering.add(std::move(call));
}

void ActivationOperation::backward(const Lowering& lowering) const {
    if (!lowering.wants_gradient(0)) return;
    const Buffer kept = gradient_of_result(function_) ? lowering.output() : lowering.value(0);
    const Buffer diff_y = lowering.output_gradient();
    const GradientDestination to = lowering.input_gradient(0);
    Call call{name_ + " backward", "activation backward", {kept, diff_y}, {to.buffer}, {}};
    call.run = [=, function = function_](const Plan& plan) {
        plan.device().activate_backward(plan.stream(), plan[kept], plan[diff_y], function, plan[to.buffer], to.write);
    };
    if (to.write == Write::accumulate)
        call.reads.push_back(to.buffer);
    else
        call.in_place = {diff_y, to.buffer};
    lowering.add(std::move(call));
}

Tensor add_activation(Tensor x, const std::string& kind, const Activation& function) {
    return x.graph->add_one(std::make_shared<ActivationOperation>(x.graph->fresh_name(kind), function), {x});
}

}  // namespace iwseg
