// cuDNN's plans for every convolution of the default network, made from descriptions of cards, without a GPU: each is
// supported, deterministic, and of a workspace that is worth it.
#include <dlfcn.h>

#include <fstream>
#include <map>
#include <sstream>

#include "base/error.h"
#include "engine/compile.h"
#include "engine/graph.h"
#include "kernels/convolution/cudnn/plans.h"
#include "models/unet.h"
#include "tests/support/backends.h"

namespace iwseg {
namespace {

using cuda::CudnnEngine;
using cuda::CudnnPlanSearch;
using cuda::CudnnProblem;
using cuda::CudnnTarget;
using cuda::Pass;

struct Asked {
    ConvolutionOptions options;
    ConvolutionPasses passes;
};

std::vector<Asked> asked;

std::unique_ptr<Convolution> note(Stream stream, const ConvolutionOptions& options, ConvolutionPasses passes) {
    asked.push_back({options, passes});
    return simt::backend().make_convolution(stream, options, passes);
}

/// Every convolution that training the default network asks for, from the network itself: nothing is computed.
std::vector<Asked> convolutions(bool bf16) {
    static Backend noting = simt::backend();
    noting.make_convolution = &note;
    asked.clear();
    Context context(noting, {});
    Parameters parameters;
    Graph graph;
    const Tensor logits = unet(graph.input("image", {2, 1, 128, 128, 128}), {});
    compile(graph, context, parameters, {.training = true, .bf16 = bf16, .layout = Layout::ndhwc, .keep = {logits}});
    return std::exchange(asked, {});
}

/// The passes cuDNN is asked for, each once.
std::map<std::string, CudnnProblem> problems(bool bf16) {
    std::map<std::string, CudnnProblem> all;
    for (const Asked& one : convolutions(bf16)) {
        if (!cuda::is_for_cudnn(one.options, one.passes)) continue;
        for (const Pass pass : {Pass::forward, Pass::data, Pass::weights}) {
            if (pass == Pass::data && !one.passes.backward_data) continue;
            const CudnnProblem problem = cuda::problem_of(one.options, pass);
            all.emplace(problem.name(), problem);
        }
    }
    return all;
}

std::string description(const std::string& card) {
    std::ifstream in(IWSEG_DEVICE_DESCRIPTIONS "/" + card + ".json");
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
}

class CudnnPlans : public testing::TestWithParam<std::string> {
  protected:
    static void SetUpTestSuite() {
        // Engines compiled at run time want a driver's library; the toolkit's stub takes them up to loading the result.
        if (!::dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL)) ::dlopen(IWSEG_CUDA_STUB, RTLD_NOW | RTLD_GLOBAL);
    }
    CudnnTarget target_{description(GetParam())};
};

std::int64_t megabytes(std::int64_t bytes) {
    return (bytes + (1 << 20) - 1) >> 20;
}

/// The first engine, as cuDNN ranks them, that makes a plan: its workspace.
std::int64_t expect_plan(const CudnnTarget& target, const CudnnProblem& problem) {
    const CudnnPlanSearch search(target, problem);
    std::string why_not = "cuDNN offers nothing";
    for (const CudnnEngine& engine : search.engines()) {
        if (engine.compiled_at_run_time) continue;
        if (const auto plan = search.plan(engine, why_not)) return plan->workspace_bytes;
    }
    ADD_FAILURE() << problem.name() << " on " << target.name() << ": " << why_not;
    return 0;
}

TEST_P(CudnnPlans, ExistForEveryConvolutionOfTheDefaultNetwork) {
    for (const bool bf16 : {false, true}) {
        std::map<Pass, std::int64_t> count, sum, largest;
        const auto all = problems(bf16);
        // 16, 64, 128 and 256 channels, down and up, kernels of 1 and 3: fewer would mean that the network was not
        // read.
        EXPECT_GE(all.size(), 40u);
        for (const auto& [name, problem] : all) {
            EXPECT_TRUE(problem.deterministic);
            if (bf16 && target_.capability() < 80) {
                EXPECT_THROW(CudnnPlanSearch(target_, problem), InputError);
                continue;
            }
            // The last form adds least after the convolution, and is always offered.
            const std::int64_t workspace = expect_plan(target_, cuda::forms_of(problem).back());
            ++count[problem.pass];
            sum[problem.pass] += workspace;
            largest[problem.pass] = std::max(largest[problem.pass], workspace);
        }
        const char* passes[] = {"forward", "data gradient", "weight gradient"};
        for (const auto& [pass, plans] : count)
            std::printf("%s, %s, %s: %d plans, workspace of all %d MiB, of the largest %d MiB\n",
                        target_.name().c_str(), bf16 ? "bf16" : "f32", passes[static_cast<int>(pass)],
                        static_cast<int>(plans), static_cast<int>(megabytes(sum[pass])),
                        static_cast<int>(megabytes(largest[pass])));
    }
}

/// As nnU-Net's networks have them at some level, and what its transposed convolutions are the gradient of.
std::vector<CudnnProblem> general_problems() {
    const auto problem = [](const Shape& src, std::int64_t outputs, const Sides& kernel, const Sides& stride,
                            std::int64_t groups = 1, bool padded = true) {
        return CudnnProblem{{src, outputs, kernel, stride, groups, padded}};
    };
    return {problem({2, 32, 64, 64, 64}, 64, 3, 2),
            problem({2, 32, 28, 128, 128}, 32, {1, 3, 3}, 1),
            problem({2, 32, 28, 128, 128}, 64, {1, 3, 3}, {1, 2, 2}),
            problem({2, 64, 32, 32, 32}, 64, {3, 1, 1}, 1),
            problem({2, 32, 32, 32, 32}, 32, 5, 1),
            problem({2, 64, 32, 32, 32}, 128, 1, 2),
            problem({2, 64, 64, 64, 64}, 128, 2, 2, 1, false),
            problem({2, 64, 28, 64, 64}, 128, {1, 2, 2}, {1, 2, 2}, 1, false),
            problem({2, 64, 32, 32, 32}, 64, 3, 1, 4),
            problem({2, 64, 32, 32, 32}, 64, 3, 1, 64),
            problem({2, 64, 32, 32, 32}, 64, 3, 2, 64)};
}

TEST_P(CudnnPlans, ExistForOtherKernelsStridesAndGroups) {
    for (const bool bf16 : {false, true})
        for (CudnnProblem problem : general_problems())
            for (const Pass pass : {Pass::forward, Pass::data, Pass::weights}) {
                problem.pass = pass;
                problem.type = bf16 ? Type::bf16 : Type::f32;
                if (bf16 && target_.capability() < 80) continue;
                expect_plan(target_, problem);
            }
}

TEST_P(CudnnPlans, FuseABiasWhereTheConvolutionDoesNotAccumulate) {
    CudnnProblem problem;
    problem.src = {2, 16, 64, 64, 64};
    problem.dst_channels = 32;
    problem.kernel = 1;
    problem.bias = true;
    ASSERT_EQ(cuda::forms_of(problem).size(), 2u);
    EXPECT_EQ(cuda::forms_of(problem)[0].name(), problem.name());
    expect_plan(target_, problem);
    if (target_.capability() < 80) return;
    problem.type = Type::bf16;
    expect_plan(target_, problem);
}

TEST_P(CudnnPlans, FuseBiasAndSumByAnEngineCompiledAtRunTime) {
    if (target_.capability() < 80) GTEST_SKIP() << "bf16 needs compute capability 8.0";
    CudnnProblem problem;
    problem.src = {2, 16, 128, 128, 128};
    problem.dst_channels = 16;
    problem.kernel = 1;
    problem.type = Type::bf16;
    problem.bias = problem.accumulate = true;
    const CudnnProblem fused = cuda::forms_of(problem)[0];
    EXPECT_TRUE(fused.bias && fused.residual && !fused.accumulate);
    const CudnnPlanSearch search(target_, fused);
    const auto engines = search.engines();
    ASSERT_FALSE(engines.empty());
    EXPECT_TRUE(engines[0].compiled_at_run_time);
    std::string why_not;
    // Without a driver its code is made and compiled, and only loading it fails.
    const bool loaded = search.plan(engines[0], why_not).has_value();
    EXPECT_TRUE(loaded || why_not.find("cuLibraryLoadData") != std::string::npos) << why_not;
}

INSTANTIATE_TEST_SUITE_P(For, CudnnPlans, testing::Values("h100", "a100", "rtx3090", "rtx4090", "rtx2080ti"),
                         [](const auto& one) { return one.param; });

CudnnProblem small_problem() {
    CudnnProblem problem;
    problem.src = {1, 32, 16, 16, 16};
    problem.dst_channels = 32;
    return problem;
}

TEST(CudnnPlan, IsMadeAgainFromTheTextOfItsEngine) {
    const CudnnTarget target(description("a100"));
    for (const Type type : {Type::f32, Type::bf16})
        for (const Pass pass : {Pass::forward, Pass::data, Pass::weights}) {
            CudnnProblem problem = small_problem();
            problem.type = type;
            problem.pass = pass;
            const CudnnPlanSearch search(target, problem);
            const auto engines = search.engines();
            ASSERT_FALSE(engines.empty());
            const auto again = CudnnEngine::parse(engines[0].text());
            ASSERT_TRUE(again);
            EXPECT_EQ(again->text(), engines[0].text());
            std::string why_not;
            const auto first = search.plan(engines[0], why_not), second = search.plan(*again, why_not);
            ASSERT_TRUE(first && second) << why_not;
            EXPECT_EQ(first->workspace_bytes, second->workspace_bytes);
        }
}

TEST(CudnnPlan, IsNotMadeFromNonsense) {
    for (const char* text : {"", "x", "12", "12:a", "12:3", "12:3=", "12:3=4;5=6"})
        EXPECT_FALSE(CudnnEngine::parse(text)) << text;
    EXPECT_EQ(CudnnEngine::parse("0:")->text(), "0:");
    const CudnnTarget target(description("a100"));
    const CudnnPlanSearch search(target, small_problem());
    std::string why_not;
    EXPECT_FALSE(search.plan(*CudnnEngine::parse("987654:"), why_not));
    EXPECT_NE(why_not, "");
    EXPECT_FALSE(search.plan(*CudnnEngine::parse("0:2=987654"), why_not));
}

TEST(CudnnPlan, OfF32UsesTensorCoresOnlyWhereTf32IsAllowed) {
    const CudnnTarget target(description("a100"));
    CudnnProblem exact = small_problem(), rounded = exact;
    rounded.tf32 = true;
    EXPECT_NE(exact.name(), rounded.name());
    std::vector<std::string> kept, all;
    for (const CudnnEngine& engine : CudnnPlanSearch(target, exact).engines()) kept.push_back(engine.text());
    for (const CudnnEngine& engine : CudnnPlanSearch(target, rounded).engines()) all.push_back(engine.text());
    EXPECT_GT(all.size(), kept.size());
    for (const std::string& engine : kept) EXPECT_NE(std::find(all.begin(), all.end(), engine), all.end()) << engine;
}

TEST(CudnnPlan, OfAnyOrderMayUseMoreEngines) {
    const CudnnTarget target(description("a100"));
    CudnnProblem strict = small_problem();
    strict.pass = Pass::data;  // where cuDNN has an engine that adds by atomics
    CudnnProblem loose = strict;
    loose.deterministic = false;
    EXPECT_NE(strict.name(), loose.name());
    EXPECT_GT(CudnnPlanSearch(target, loose).engines().size(), CudnnPlanSearch(target, strict).engines().size());
}

TEST(CudnnPlan, OfBf16IsRefusedInOneSentenceByACardWithoutIt) {
    const CudnnTarget target(description("rtx2080ti"));
    CudnnProblem problem = small_problem();
    problem.type = Type::bf16;
    try {
        const CudnnPlanSearch search(target, problem);
        FAIL() << "was accepted";
    } catch (const InputError& error) {
        EXPECT_STREQ(
            error.what(),
            "precision bf16 needs a GPU of compute capability 8.0 or newer, and NVIDIA GeForce RTX 2080 Ti has 7.5; "
            "use precision fp32");
    }
}

TEST(CudnnTarget, RefusesADescriptionThatIsNone) {
    EXPECT_THROW(CudnnTarget("{}"), InputError);
    EXPECT_ANY_THROW(CudnnTarget("{\"deviceName\": \"x\", \"deviceVer\": 800}"));
}

}  // namespace
}  // namespace iwseg
