#include "kernels/convolution/narrow_engine.h"

#include "kernels/convolution/narrow.h"

namespace iwseg::cuda {
namespace {

constexpr int kOldestCapability = 80;  ///< with products of bf16 matrices

ConvolutionOptions options_of(const CudnnProblem& problem) {
    ConvolutionOptions options;
    options.src = problem.src;
    options.dst_channels = problem.outputs;
    options.kernel = problem.kernel;
    options.src_layout = options.dst_layout = Layout::ndhwc;
    options.src_type = options.dst_type = problem.type;
    return options;
}

}  // namespace

std::optional<ChosenPlan> narrow_plan(const CudnnProblem& problem, const CudnnTarget& target) {
    if (target.capability() < kOldestCapability || !takes_narrow(options_of(problem))) return std::nullopt;
    ChosenPlan chosen;
    chosen.problem = problem;
    chosen.narrow = true;
    chosen.plan.workspace_bytes = narrow_scratch_bytes(problem.src, problem.outputs);
    return chosen;
}

void run_narrow(Stream stream, const CudnnProblem& problem, const PassTensors& tensors) {
    const NarrowWeights weights{nullptr, tensors.weights};
    const NarrowPrologue prologue = problem.normalises ? tensors.normalisation : NarrowPrologue{};
    if (problem.pass == Pass::weights)
        return narrow_weight_gradient(stream, tensors.src, prologue, tensors.dst, tensors.plain_weights,
                                      tensors.workspace);
    if (problem.pass == Pass::data)
        return narrow_data_gradient(stream, tensors.dst, weights, tensors.src, tensors.workspace);
    NarrowEpilogue epilogue;
    epilogue.bias = problem.bias ? tensors.bias : nullptr;
    epilogue.write = problem.accumulate ? Write::accumulate : Write::overwrite;
    epilogue.summand = tensors.summand.data;
    epilogue.sums = problem.sums ? tensors.sums : nullptr;
    narrow_forward(stream, tensors.src, weights, prologue, epilogue, tensors.dst, tensors.workspace);
}

}  // namespace iwseg::cuda
