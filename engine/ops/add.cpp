#include "engine/ops/add.h"

#include <stdexcept>

#include "engine/graph.h"
#include "engine/lowering.h"
#include "engine/ops/pass_gradient.h"
#include "engine/plan.h"

namespace iwseg {

std::vector<Shape> AddOperation::outputs(const std::vector<Shape>& inputs) const {
    const Shape &a = inputs.at(0), &b = inputs.at(1);
    if (!(a == b)) throw std::invalid_argument("add: tensors of the shapes " + text_of(a) + " and " + text_of(b));
    return {a};
}

void AddOperation::forward(const Lowering& lowering) const {
    const Buffer b = lowering.input(1), y = lowering.output();
    convert(lowering, name_ + " copied", lowering.input(0), y);
    lowering.add(
        {name_, "sums", {b, y}, {y}, [=](const Plan& plan) { plan.device().add(plan.stream(), plan[b], plan[y]); }});
}

void AddOperation::backward(const Lowering& lowering) const {
    for (int input = 0; input < 2; ++input)
        if (lowering.wants_gradient(input))
            pass_gradient(lowering, "summand gradient", lowering.output_gradient(), lowering.input_gradient(input));
}

Tensor add(Tensor a, Tensor b) {
    return a.graph->add_one(std::make_shared<AddOperation>(a.graph->fresh_name("add")), {a, b});
}

}  // namespace iwseg
