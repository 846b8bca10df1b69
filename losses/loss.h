#pragma once

#include <string>
#include <vector>

#include "kernels/loss.h"

namespace iwseg {

/// A loss as a configuration names it: one of the study's ten, bce, iwbce, wce, dl, iwdl, gdl, asl, iwasl, fl, iwfl, or a
/// sum of base terms, `dice + ce`, `iwdice + 0.5*iwce` (losses/loss_sum.h).
struct Loss {
    std::string name;  ///< one spelling, however it was given: loss_sum_text
    LossParameters parameters;
    bool weighted = false;  ///< reads inverse weights
};

/// Throws InputError naming the nearest known loss or term. focal_alpha, focal_gamma and asl_beta replace the published
/// values.
struct LossOptions {
    float focal_alpha = 0.75f, focal_gamma = 2.0f, asl_beta = 1.5f;
};
Loss loss_from_name(const std::string& name, const LossOptions& options = {});
/// The study's ten.
const std::vector<std::string>& loss_names();

}  // namespace iwseg
