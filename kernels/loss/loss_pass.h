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

/// What of a pass counts at a step, from 0 to 1.
IWSEG_HOST_DEVICE inline double warmed_up(float warmup, const float* step) {
    if (!(warmup > 0) || !step) return 1;
    const double share = static_cast<double>(*step) / warmup;
    return share < 1 ? share : 1;
}

/// A group's value, and its coefficients, of which so much counts.
IWSEG_HOST_DEVICE inline double share_of(double share, double value, double* c, int coefficients) {
    if (share == 1) return value;
    for (int k = 0; k < coefficients; ++k) c[k] = share > 0 ? share * c[k] : 0;
    return share > 0 ? share * value : 0;  // nothing of infinity is nothing
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
