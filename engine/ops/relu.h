#pragma once

#include <string>
#include <utility>
#include <vector>

#include "engine/operation.h"
#include "engine/tensor.h"

namespace iwseg {

/// max(x, 0). Of a batch normalisation's result that nobody else reads it costs no pass of its own.
Tensor relu(Tensor x);
/// x above 0, else slope * x; 0 <= slope < 1, else std::invalid_argument is thrown.
Tensor leaky_relu(Tensor x, float slope = 0.01f);

class LeakyReluOperation final : public Operation {
  public:
    LeakyReluOperation(std::string name, float slope);
    float slope() const { return slope_; }
    std::string name() const override { return name_; }
    std::vector<Shape> outputs(const std::vector<Shape>& inputs) const override { return {inputs.at(0)}; }
    void forward(const Lowering& lowering) const override;
    void backward(const Lowering& lowering) const override;

  private:
    std::string name_;
    float slope_;
};

}  // namespace iwseg
