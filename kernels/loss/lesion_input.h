#pragma once

#include <stdexcept>
#include <string>

#include "kernels/device/dispatch.h"
#include "kernels/loss/loss.h"

// What the losses of single lesions begin with, on every backend.
namespace iwseg::formulas {

inline void require_lesion_input(const LossInput& input, const char* operation) {
    if (input.logit.shape.c != 1 || block_of(input.logit.layout, 1) != 1 || !input.target || !input.labels ||
        input.stride < 1)
        throw std::invalid_argument(std::string(operation) +
                                    ": expected logits of one channel, ncdhw, a target and the labels of its lesions");
}

inline void require_gradient_of(const LossInput& input, const View& diff_logit, const char* operation) {
    require_lesion_input(input, operation);
    require_same_form(input.logit, diff_logit, operation);
}

}  // namespace iwseg::formulas
