#include "engine/ops/relu.h"

#include <memory>
#include <stdexcept>
#include <utility>

#include "engine/graph.h"

namespace iwseg {

LeakyReluOperation::LeakyReluOperation(std::string name, float slope)
    : ActivationOperation(std::move(name),
                          {slope == 0 ? Activation::Kind::relu : Activation::Kind::leaky_relu, slope}) {
    if (!(slope >= 0 && slope < 1))
        throw std::invalid_argument(this->name() + ": a slope of " + std::to_string(slope) +
                                    ", expected one from 0 to below 1");
}

Tensor relu(Tensor x) {
    return x.graph->add_one(std::make_shared<LeakyReluOperation>(x.graph->fresh_name("relu"), 0.0f), {x});
}

Tensor leaky_relu(Tensor x, float slope) {
    return x.graph->add_one(std::make_shared<LeakyReluOperation>(x.graph->fresh_name("leaky_relu"), slope), {x});
}

}  // namespace iwseg
