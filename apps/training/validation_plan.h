#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace iwseg {

/// What one pass over validation scans may cost, in voxels that go forward through the network once. A step counts
/// three times: forward, and the gradients of activations and of weights.
struct ValidationBudget {
    std::int64_t every = 0;      ///< steps from pass to pass that were asked for
    double voxels_of_steps = 0;  ///< of these steps' patches
    double share = 0;            ///< of the steps' work
};

struct ValidationPlan {
    std::vector<std::size_t> scans;  ///< of each pass: indices, rising
    std::int64_t every = 0;          ///< steps from pass to pass; a multiple of what was asked for
    double share = 0;                ///< of the training's work that the passes take
};

/// The scans of a pass are the first ones that fit the budget together. Where none of the leading ones is among them, a
/// pass is of the cheapest of these alone and comes less often. voxels: of each scan's patches; at least one scan.
/// leading: so many first scans, those with a lesion; 0: all.
ValidationPlan plan_validation(const std::vector<double>& voxels, const ValidationBudget& budget,
                               std::size_t leading = 0);

}  // namespace iwseg
