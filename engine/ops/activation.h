#pragma once

#include <string>
#include <utility>
#include <vector>

#include "engine/operation.h"
#include "engine/tensor.h"
#include "kernels/elementwise/activation_formulas.h"

namespace iwseg {

/// A function of each element by itself: what relu and its like are made of.
class ActivationOperation : public Operation {
  public:
    ActivationOperation(std::string name, const Activation& function) : name_(std::move(name)), function_(function) {}
    const Activation& function() const { return function_; }
    std::string name() const override { return name_; }
    std::vector<Shape> outputs(const std::vector<Shape>& inputs) const override { return {inputs.at(0)}; }
    void forward(const Lowering& lowering) const override;
    void backward(const Lowering& lowering) const override;

  private:
    std::string name_;
    Activation function_;
};

/// Adds the operation; kind: of its name, as in "relu".
Tensor add_activation(Tensor x, const std::string& kind, const Activation& function);

}  // namespace iwseg
