#pragma once

#include "training/session.h"

namespace iwseg {

/// What a device can do in a second.
struct FloorRates {
    double bytes = 3.0e12, operations = 798e12;  ///< measured on an H100: copying, and bf16 matrix products
};

/// Prints what each kernel of a training step costs at least: the larger of its bytes and its operations at those
/// rates; then the sums by kind of kernel. Nothing is run.
void print_step_floor(const TrainingOptions& options, const FloorRates& rates);

}  // namespace iwseg
