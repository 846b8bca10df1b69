// Batch normalisations whose statistics narrow convolutions leave on the way, and which they apply on the way, on the
// card that stands in for a real one.
#include <gtest/gtest.h>

#include "kernels/convolution/cudnn/trial.h"
#include "kernels/convolution/own_engines.h"
#include "tests/cuda_host/cuda_host.h"
#include "tests/simt/simt_backend.h"
#include "tests/support/fused_step.h"

namespace iwseg {
namespace {

class FusedOnCard : public CudaHost {
  protected:
    static ConvolutionOptions narrow() {
        ConvolutionOptions options;
        options.src = {1, 8, 3, 5, 17};
        options.dst_channels = 16;
        options.src_layout = options.dst_layout = Layout::ndhwc;
        options.src_type = options.dst_type = Type::bf16;
        options.sums = true;
        return options;
    }
};

TEST_F(FusedOnCard, AWholeStepEqualsPassesOfItsOwn) {
    const simt::Unwatched looked_at_on_the_executor;
    standin::offer_engines({});
    testing::internal::CaptureStderr();  // that direct kernels take what is not narrow
    {
        const Backend passes = with_passes_of_their_own<&cuda::make_convolution>(cuda::backend());
        FusedTraining fused(cuda::backend()), unfused(passes);
        EXPECT_EQ(fused.calls("batch norm statistics", " sums"), 28);
        EXPECT_EQ(unfused.calls("batch norm statistics", " sums"), 0);
        EXPECT_EQ(unfused.calls("batch norm forward") - fused.calls("batch norm forward"), 31);
        EXPECT_EQ(unfused.calls("batch norm rebuild") - fused.calls("batch norm rebuild"), 31);
        expect_same_step(fused, unfused);
    }
    testing::internal::GetCapturedStderr();
}

// Small problems are not measured: cuDNN's engine, the first in order, takes them, and statistics are passes.
TEST_F(FusedOnCard, CudnnsEnginesLeaveNoSums) {
    standin::offer_engines({{.index = 1}});
    const auto cudnn = cuda::make_convolution({}, narrow(), {});
    EXPECT_EQ(cudnn->implementation(), "forward cudnn 1:, data cudnn 1:, weights cudnn 1:");
    EXPECT_EQ(cudnn->sums_bytes(), 0);
    standin::offer_engines({});
    ConvolutionOptions other = narrow();
    other.src.d = 4;
    const auto own = cuda::make_convolution({}, other, {});
    EXPECT_EQ(own->sums_bytes(), narrow_sums_bytes(other.dst()));
    other.sums = false;
    EXPECT_EQ(cuda::make_convolution({}, other, {})->sums_bytes(), 0);
    other.sums = true, other.src.c = 5;  // which the narrow kernels do not take
    EXPECT_EQ(cuda::make_convolution({}, other, {})->sums_bytes(), 0);
}

// On the card's clock a launch takes 1 us: own ones arrange weights, convolve and finish statistics; after cuDNN's
// comes the pass over the result.
TEST_F(FusedOnCard, TimesAreThoseOfAConvolutionWithItsStatistics) {
    constexpr double kLaunch = 1e-6, kEngine = 5e-6;
    standin::offer_engines({{.index = 1, .seconds = kEngine}});
    const auto session = cuda::CudnnSession::shared();
    for (const bool sums : {false, true}) {
        ConvolutionOptions options = narrow();
        options.sums = sums;
        const cuda::CudnnProblem problem = cuda::problem_of(options, cuda::Pass::forward);
        EXPECT_EQ(problem.name().ends_with(", statistics"), sums) << problem.name();
        const std::vector<cuda::ChosenPlan> all = cuda::own_plans(problem, session->target());
        const cuda::ChosenPlan* own = &all.at(0);
        const cuda::CudnnPlanSearch search(session->target(), problem);
        std::string why_not;
        cuda::ChosenPlan cudnn{problem, false, *search.plan(search.engines().at(0), why_not)};
        cuda::CudnnTrial trial(*session, problem, own->plan.workspace_bytes);
        EXPECT_NEAR(*trial.seconds(*own), (sums ? 3 : 2) * kLaunch, 0.1 * kLaunch);
        EXPECT_NEAR(*trial.seconds(cudnn), kEngine + (sums ? kLaunch : 0), 0.1 * kLaunch);
        EXPECT_EQ(trial.wrong(*own), "");
        EXPECT_EQ(trial.wrong(cudnn), "");
    }
    EXPECT_FALSE(cuda::problem_of(narrow(), cuda::Pass::data).sums);
}

// Before cuDNN's engines comes a pass that normalises src, and before theirs of the weights' gradient again.
TEST_F(FusedOnCard, TimesAreThoseOfAConvolutionWithItsNormalisation) {
    constexpr double kLaunch = 1e-6, kEngine = 5e-6;
    standin::offer_engines({{.index = 1, .seconds = kEngine}});
    const auto session = cuda::CudnnSession::shared();
    ConvolutionOptions options = narrow();
    options.normalises = true;
    for (const cuda::Pass pass : {cuda::Pass::forward, cuda::Pass::data, cuda::Pass::weights}) {
        const cuda::CudnnProblem problem = cuda::problem_of(options, pass);
        EXPECT_EQ(problem.normalises, pass != cuda::Pass::data);
        EXPECT_EQ(problem.name().find(", normalised") != std::string::npos, problem.normalises) << problem.name();
        const std::vector<cuda::ChosenPlan> all = cuda::own_plans(problem, session->target());
        const cuda::ChosenPlan* own = &all.at(0);
        const cuda::CudnnPlanSearch search(session->target(), problem);
        std::string why_not;
        cuda::ChosenPlan cudnn{problem, false, *search.plan(search.engines().at(0), why_not)};
        cuda::CudnnTrial trial(*session, problem, own->plan.workspace_bytes);
        const int launches = problem.normalises + problem.sums;
        EXPECT_NEAR(*trial.seconds(cudnn), kEngine + launches * kLaunch, 0.1 * kLaunch);
        EXPECT_NEAR(*trial.seconds(*own), (problem.sums ? 3 : 2) * kLaunch, 0.1 * kLaunch);
        EXPECT_EQ(trial.wrong(*own), "");
        EXPECT_EQ(trial.wrong(cudnn), "");
    }
}

}  // namespace
}  // namespace iwseg
