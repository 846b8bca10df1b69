#pragma once

#include <string>
#include <vector>

#include "kernels/loss/formulas.h"

namespace iwseg {

struct LossTerm {
    std::string name;  ///< losses/term_names.h
    formulas::Formula formula;
    bool weighted = false;  ///< each voxel by the inverse of its component's size
    float factor = 1;       ///< above 0
};

/// A sum of terms, as a configuration names it: one of the study's ten, bce, iwbce, wce, dl, iwdl, gdl, asl, iwasl, fl,
/// iwfl, or `dice + ce`, `iwdice + 0.5*iwce` (losses/loss_sum.h). At least one term; none of one formula comes twice.
struct Loss {
    std::string name;  ///< one spelling, however it was given; of other options than a configuration's it does not tell
    std::vector<LossTerm> terms;

    bool weighted() const;  ///< reads inverse weights
};

/// In place of the published values. Each has a range, bounds included.
struct LossOptions {
    struct Range {
        double low, high;
        constexpr bool holds(double value) const { return value >= low && value <= high; }
    };
    static constexpr Range focal_alpha_range{0, 1}, focal_gamma_range{0, 10}, asl_beta_range{1e-3, 100};

    float focal_alpha = 0.75f, focal_gamma = 2.0f, asl_beta = 1.5f;
};

/// Throws InputError naming the nearest known loss or term, or the option that is outside of its range.
Loss loss_from_name(const std::string& name, const LossOptions& options = {});
/// To be added up: `dice() + 0.5f * iwbce()`. Dice is that of the whole batch, smoothed; bce the binary cross-entropy;
/// iw… weights each voxel by the inverse of its component's size.
Loss dice();
Loss iwdice();
Loss bce();
Loss iwbce();
Loss operator+(const Loss& a, const Loss& b);
/// factor: above 0, finite. Throws InputError on others.
Loss operator*(float factor, const Loss& loss);

/// The study's ten.
const std::vector<std::string>& loss_names();

}  // namespace iwseg
