#pragma once

#include <cstdint>
#include <stdexcept>
#include <variant>

#include "kernels/loss/loss.h"

// What both passes of a backend begin with.
namespace iwseg::formulas {

/// The labels that weights are looked up by, or null: every weight is 1.
inline const std::int32_t* labels_read(const LossPass& pass, const LossInput& input) {
    return pass.weighted ? input.labels : nullptr;
}

inline void require_input(const LossPass& pass, const LossInput& input) {
    const View& logit = input.logit;
    if (logit.shape.c != 1 || block_of(logit.layout, 1) != 1 || !input.target)
        throw std::invalid_argument("loss: expected logits of one channel, ncdhw, and a target");
    if (!pass.weighted) return;
    if (!input.labels || !input.weights || input.stride < 1)
        throw std::invalid_argument(
            "loss: inverse weights are wanted, and labels or the weights to look up are missing");
    if (!std::visit([](const auto& formula) { return formula.kWeightable; }, pass.formula))
        throw std::invalid_argument("loss: the formula takes no inverse weights");
}

}  // namespace iwseg::formulas
