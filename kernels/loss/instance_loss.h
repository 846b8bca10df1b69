#pragma once

#include <cstdint>

#include "kernels/device/declare.h"
#include "kernels/device/view.h"
#include "kernels/loss/loss.h"

namespace iwseg {

/// The instance-wise part of ICI (Rachmadi et al. 2023, arXiv 2304.06229): for each lesion the soft Dice of what was
/// found of it, the mean over a batch's lesions. Found is where p is 1/2 or more; those voxels' components are the
/// detections, as masks of a prediction have them. A lesion is compared with its own found voxels and with the
/// background of all detections that reach it, whose p counts by itself, held constant (the authors' code): sums p^2,
/// the gradient that of p times a constant p.
struct InstancePass {
    float factor = 1;
    float warmup = 0;       ///< as LossPass has it
    int connectivity = 26;  ///< of detections: 6, 18 or 26
};

}  // namespace iwseg

/// As loss_value and loss_gradient, of an InstancePass. Lesions are the labels, from 1 to stride - 1, of voxels whose
/// target is 1. A lesion that no detection reaches is worth nearly 1 and has no gradient, and neither has a detection
/// that reaches no lesion: its p is in no sum. A sample without lesions counts as one, with the soft Dice of all its
/// voxels; a sample of which nothing is known does not count. Which voxels are found, and of which detection, are
/// constants. Sums are of whole numbers, or in a fixed order: the threads' order does not show. Detections are found
/// on the device; nothing waits for the host.
/// A logit that is not a number shows in the value. Throws std::invalid_argument on logits of more than one channel,
/// without labels, and on another connectivity.
IWSEG_BACKENDS(std::int64_t instance_loss_scratch_bytes(const Shape& logit, std::int64_t stride, int connectivity);
               void instance_loss_value(Stream stream, const InstancePass& pass, const LossInput& input, void* scratch,
                                        double* value, Write write);
               void instance_loss_gradient(Stream stream, const InstancePass& pass, const LossInput& input,
                                           const void* scratch, View diff_logit, Write write);)
