#pragma once

#include <string>
#include <vector>

#include "kernels/loss.h"

namespace iwseg {

/// A loss by its name in the study: bce, iwbce, wce, dl, iwdl, gdl, asl, iwasl, fl, iwfl.
struct Loss {
    std::string name;
    LossParameters parameters;
    bool weighted = false;  ///< multiplies each voxel by its inverse weight
};

/// Throws InputError naming the nearest known loss. focal_alpha, focal_gamma and asl_beta replace the published values.
struct LossOptions {
    float focal_alpha = 0.75f, focal_gamma = 2.0f, asl_beta = 1.5f;
};
Loss loss_from_name(const std::string& name, const LossOptions& options = {});
const std::vector<std::string>& loss_names();

}  // namespace iwseg
