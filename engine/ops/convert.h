#pragma once

#include <string>
#include <utility>
#include <vector>

#include "engine/operation.h"

namespace iwseg {

/// The same elements in another form. The graph's compiler puts it where an operation wants it.
class ConvertOperation final : public Operation {
  public:
    explicit ConvertOperation(std::string name) : name_(std::move(name)) {}
    std::string name() const override { return name_; }
    std::vector<Shape> outputs(const std::vector<Shape>& inputs) const override { return inputs; }
    void forward(const Lowering& lowering) const override;
    void backward(const Lowering& lowering) const override;

  private:
    std::string name_;
};

}  // namespace iwseg
