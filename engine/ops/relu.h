#pragma once

#include <optional>
#include <string>

#include "engine/ops/activation.h"

namespace iwseg {

/// max(x, 0). Of a batch normalisation's result that nobody else reads it costs no pass of its own.
Tensor relu(Tensor x);
/// x above 0, else slope * x; 0 <= slope < 1, else std::invalid_argument is thrown. Free after a normalisation, too.
Tensor leaky_relu(Tensor x, float slope = 0.01f);

/// Of slope 0: ReLU.
class LeakyReluOperation final : public ActivationOperation {
  public:
    LeakyReluOperation(std::string name, float slope);
    float slope() const { return function().slope; }
    std::optional<EpilogueForm> epilogue() const override {
        return EpilogueForm{.wanted = true, .activation = {slope()}};
    }
};

}  // namespace iwseg
