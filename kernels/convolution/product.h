#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/convolution/cudnn/session.h"

// Convolutions whose kernel is their stride, in one group, as products of matrices by cuBLASLt: engines beside cuDNN's
// and our own. 1x1x1 is one; so is what a transposed convolution is the data gradient of, whose blocks of voxels a
// kernel of ours gathers before the product or spreads after it (kernels/convolution/voxel_blocks.h).
namespace iwseg::cuda {

/// Whether the passes are products of matrices: no voxel of src is read twice, and none is left out.
bool is_product(const ConvolutionGeometry& geometry);

/// Plans by the algorithms that cuBLASLt proposes, the likely fastest first; none where it is no product.
std::vector<ChosenPlan> product_plans(const CudnnProblem& problem);
/// The plan of which ChosenPlan::engine was that text; nothing where it is no text of this version of cuBLASLt.
std::optional<ChosenPlan> product_plan(const CudnnProblem& problem, const std::string& text);

/// Queues one of them. Weights and bias are read packed and a summand where it lies; the gradient of weights is left
/// in tensors.plain_weights. Throws std::runtime_error naming the problem where cuBLASLt refuses it.
void run_product(Stream stream, const ChosenPlan& chosen, const PassTensors& tensors);

}  // namespace iwseg::cuda
