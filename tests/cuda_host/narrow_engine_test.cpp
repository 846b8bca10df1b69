// The narrow convolutions as an engine beside cuDNN's stand-in: chosen by time, checked by numbers, known again.
#include <fstream>
#include <iterator>
#include <random>
#include <string>

#include "kernels/convolution/check.h"
#include "kernels/convolution/cudnn/session.h"
#include "kernels/convolution/cudnn/trial.h"
#include "kernels/convolution/own_engines.h"
#include "tests/cuda_host/cuda_host.h"

namespace iwseg {
namespace {

ConvolutionOptions few_channels(std::int64_t inputs, std::int64_t outputs, const Shape& size) {
    ConvolutionOptions options;
    options.src = {size.n, inputs, size.d, size.h, size.w};
    options.dst_channels = outputs;
    options.src_layout = options.dst_layout = Layout::ndhwc;
    options.src_type = options.dst_type = Type::bf16;
    return options;
}

class NarrowEngine : public CudaHost {};

/// All three passes, at their full size, with bias and sum: what the choice itself asks before it takes an engine.
TEST_F(NarrowEngine, IsRightByTheNumbersOfTheTrial) {
    const auto session = cuda::CudnnSession::shared();
    for (const auto& [inputs, outputs] : {std::pair{16, 16}, {8, 32}, {32, 8}}) {
        ConvolutionOptions options = few_channels(inputs, outputs, {2, 1, 5, 9, 18});
        options.bias = true;
        options.write = Write::accumulate;
        for (const cuda::Pass pass : {cuda::Pass::forward, cuda::Pass::data, cuda::Pass::weights}) {
            const cuda::CudnnProblem problem = cuda::problem_of(options, pass);
            const auto plans = cuda::own_plans(problem, session->target());
            ASSERT_EQ(plans.size(), 1u) << problem.name();
            const cuda::ChosenPlan* plan = &plans[0];
            EXPECT_EQ(plan->engine(), "narrow");
            cuda::CudnnTrial trial(*session, problem, plan->plan.workspace_bytes);
            EXPECT_TRUE(trial.seconds(*plan)) << problem.name();
            EXPECT_EQ(trial.wrong(*plan), "") << problem.name();
        }
    }
}

TEST_F(NarrowEngine, TakesWhatCudnnHasNothingForAndIsKnownAgain) {
    standin::offer_engines({});
    ConvolutionOptions options = few_channels(16, 16, {1, 1, 3, 4, 5});
    options.plan_file = (folder_ / "plans.txt").string();
    for (int start = 0; start < 2; ++start)
        EXPECT_EQ(cuda::make_convolution({}, options, {})->implementation(),
                  "forward narrow, data narrow, weights narrow");
    std::ifstream in(options.plan_file);
    const std::string lines{std::istreambuf_iterator<char>(in), {}};
    EXPECT_NE(lines.find("\t0 narrow\n"), std::string::npos) << lines;
}

TEST_F(NarrowEngine, IsLeftOutForOtherConvolutionsAndOlderCards) {
    const auto session = cuda::CudnnSession::shared();
    const auto taken = [&](const ConvolutionOptions& options) {
        return !cuda::own_plans(cuda::problem_of(options, cuda::Pass::forward), session->target()).empty();
    };
    ConvolutionOptions options = few_channels(16, 16, {1, 1, 3, 4, 5});
    EXPECT_TRUE(taken(options));
    EXPECT_FALSE(taken(few_channels(64, 16, {1, 1, 3, 4, 5})));
    options.kernel = 1;
    EXPECT_FALSE(taken(options));
    const cuda::CudnnTarget older(nullptr, 75, "older");
    const ConvolutionOptions few = few_channels(16, 16, {1, 1, 3, 4, 5});
    EXPECT_TRUE(cuda::own_plans(cuda::problem_of(few, cuda::Pass::data), older).empty());
}

}  // namespace
}  // namespace iwseg
