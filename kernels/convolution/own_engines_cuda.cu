#include "kernels/convolution/own_engines.h"

#include <stdexcept>

#include "kernels/convolution/direct.h"
#include "kernels/convolution/narrow.h"

namespace iwseg::cuda {
namespace {

constexpr int kOldestOfNarrow = 80;  ///< with products of bf16 matrices

ConvolutionOptions options_of(const CudnnProblem& problem) {
    ConvolutionOptions options{problem};
    options.src_layout = options.dst_layout = Layout::ndhwc;
    options.src_type = options.dst_type = problem.type;
    options.bias = problem.bias;
    options.write = problem.accumulate ? Write::accumulate : Write::overwrite;
    return options;
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

void run_general(Stream stream, const CudnnProblem& problem, const PassTensors& tensors) {
    const ConvolutionOptions options = options_of(problem);
    const GeneralWeights weights{nullptr, tensors.weights};
    if (problem.pass == Pass::weights)
        return general_weight_gradient(stream, options, tensors.src, tensors.dst, tensors.plain_weights,
                                       tensors.workspace);
    if (problem.pass == Pass::data) return general_data_gradient(stream, options, tensors.dst, weights, tensors.src);
    general_forward(stream, options, tensors.src, weights, tensors.bias,
                    tensors.summand.data ? tensors.summand : tensors.dst, tensors.dst);
}

}  // namespace

const char* name_of(OwnEngine engine) {
    switch (engine) {
        case OwnEngine::none:
            break;
        case OwnEngine::narrow:
            return "narrow";
        case OwnEngine::general:
            return "general";
    }
    throw std::logic_error("convolution: no own engine");
}

std::vector<ChosenPlan> own_plans(const CudnnProblem& problem, const CudnnTarget& target) {
    std::vector<ChosenPlan> plans;
    const ConvolutionOptions options = options_of(problem);
    const auto add = [&](OwnEngine engine, std::int64_t workspace) {
        ChosenPlan& chosen = plans.emplace_back();
        chosen.problem = problem;
        chosen.own = engine;
        chosen.plan.workspace_bytes = workspace;
    };
    if (target.capability() >= kOldestOfNarrow && takes_narrow(options))
        add(OwnEngine::narrow, narrow_scratch_bytes(problem.src, problem.dst_channels));
    if (!options.is_plain())
        add(OwnEngine::general, problem.pass == Pass::weights ? general_gradient_scratch_bytes(options) : 0);
    return plans;
}

void run_own(Stream stream, const ChosenPlan& chosen, const PassTensors& tensors) {
    if (chosen.own == OwnEngine::narrow) return run_narrow(stream, chosen.problem, tensors);
    run_general(stream, chosen.problem, tensors);
}

}  // namespace iwseg::cuda
