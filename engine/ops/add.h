#pragma once

#include <string>
#include <utility>
#include <vector>

#include "engine/operation.h"
#include "engine/tensor.h"

namespace iwseg {

/// The sum of two tensors of one shape. Of a convolution's result that nobody else reads it costs no pass of its own:
/// the convolution adds to the other. Throws std::invalid_argument on different shapes.
Tensor add(Tensor a, Tensor b);

class AddOperation final : public Operation {
  public:
    explicit AddOperation(std::string name) : name_(std::move(name)) {}
    std::string name() const override { return name_; }
    std::vector<Shape> outputs(const std::vector<Shape>& inputs) const override;
    void forward(const Lowering& lowering) const override;
    void backward(const Lowering& lowering) const override;

  private:
    std::string name_;
};

}  // namespace iwseg
