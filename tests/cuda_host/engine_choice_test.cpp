// Which of cuDNN's engines the session chooses for a convolution, on a stand-in whose engines are slow, wrong,
// non-deterministic, refused in a recording or hungry for workspace.
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <set>

#include "base/error.h"
#include "engine/device_memory.h"
#include "kernels/convolution/cudnn/session.h"
#include "tests/cuda_host/cuda_host.h"
#include "tests/cuda_host/same_as_direct.h"

namespace iwseg {
namespace {

using standin::Engine;

/// Large enough to be measured.
ConvolutionOptions large() {
    ConvolutionOptions options;
    options.src = {1, 16, 32, 32, 33};
    options.dst_channels = 4;
    options.kernel = 1;
    options.src_layout = options.dst_layout = Layout::ndhwc;
    return options;
}

/// A convolution that is for cuDNN, and small.
ConvolutionOptions small(Type type = Type::f32) {
    ConvolutionOptions options;
    options.src = {2, 5, 4, 6, 5};
    options.dst_channels = 7;
    options.src_layout = options.dst_layout = Layout::ndhwc;
    options.src_type = options.dst_type = type;
    return options;
}

Engine engine(std::int64_t index, double seconds) {
    return {.index = index, .seconds = seconds};
}

class EngineChoice : public CudaHost {
  protected:
    EngineChoice() { standin::offer_algorithms({}); }  // of cuBLASLt, which have tests of their own

    /// The forward engine chosen, or "direct".
    static std::string chosen(const ConvolutionOptions& options) {
        const std::string text = make(options)->implementation();
        const std::string before = "forward ";
        const std::string first = text.substr(before.size(), text.find(", data") - before.size());
        return first.starts_with("cudnn ") ? first.substr(6) : first;
    }
    static std::unique_ptr<Convolution> make(const ConvolutionOptions& options,
                                             ConvolutionPasses passes = {false, false}) {
        return cuda::make_convolution({}, options, passes);
    }
};

TEST_F(EngineChoice, TheFastestOfAllIsTaken) {
    std::vector<Engine> engines;
    for (int i = 0; i < 38; ++i) engines.push_back(engine(100 + i, 1e-3 - 1e-5 * i));
    standin::offer_engines(engines);
    EXPECT_EQ(chosen(large()), "137:") << "though cuDNN thinks it the slowest";
}

TEST_F(EngineChoice, OneThatIsMuchSlowerIsNotMeasuredToTheEnd) {
    standin::offer_engines({engine(1, 1e-4), engine(2, 1e-1), engine(3, 1.2e-4)});
    EXPECT_EQ(chosen(large()), "1:");
    const auto runs = standin::engine_runs();
    EXPECT_LT(runs.at("2:"), runs.at("3:"));
}

TEST_F(EngineChoice, OneThatIsWrongOnALargeVolumeIsLeftOut) {
    Engine wrong = engine(1, 1e-4);
    wrong.wrong_from = 1000;
    standin::offer_engines({wrong, engine(2, 1e-3)});
    testing::internal::CaptureStderr();
    EXPECT_EQ(chosen(large()), "2:");
    const std::string said = testing::internal::GetCapturedStderr();
    EXPECT_NE(said.find("cuDNN's engine 1: is wrong for convolution forward 1x16x32x32x33 to 4"), std::string::npos)
        << said;
}

TEST_F(EngineChoice, OneWhoseRunsDifferAnywhereIsLeftOutWhereTheSameBytesAreWanted) {
    Engine varies = engine(1, 1e-4);
    varies.varies = true;  // one element of the weight gradient, of which twelve are computed again
    standin::offer_engines({varies, engine(2, 1e-3)});
    const ConvolutionOptions options = large();
    testing::internal::CaptureStderr();
    const std::string text = make(options, {true, true})->implementation();
    EXPECT_EQ(text, "forward cudnn 2:, data cudnn 2:, weights cudnn 2:");
    EXPECT_NE(testing::internal::GetCapturedStderr().find("two runs differ"), std::string::npos);
}

TEST_F(EngineChoice, OneThatSaysItSumsInAnyOrderIsNotAskedUnlessAllowed) {
    Engine any = engine(1, 1e-4);
    any.any_order = true;
    standin::offer_engines({any, engine(2, 1e-3)});
    EXPECT_EQ(chosen(large()), "2:");
    EXPECT_FALSE(standin::engine_runs().contains("1:"));
    ConvolutionOptions loose = large();
    loose.deterministic = false;
    EXPECT_EQ(chosen(loose), "1:");
}

TEST_F(EngineChoice, OneOfTensorCoresIsForF32OnlyWhereTf32IsAllowed) {
    Engine tensor = engine(34, 1e-4);
    tensor.tensor_cores = true;
    standin::offer_engines({tensor, engine(1, 1e-3)});
    EXPECT_EQ(chosen(large()), "1:");
    ConvolutionOptions rounded = large();
    rounded.tf32 = true;
    EXPECT_EQ(chosen(rounded), "34:");
    ConvolutionOptions half = large();
    half.src_type = half.dst_type = Type::bf16;
    EXPECT_EQ(chosen(half), "34:");
}

TEST_F(EngineChoice, OneThatDoesNotRunOrNotInARecordingIsLeftOut) {
    Engine plan = engine(1, 1e-5), run = engine(2, 1e-5), capture = engine(3, 1e-5);
    plan.refused_as_plan = run.refused_at_run = capture.refused_in_capture = true;
    standin::offer_engines({plan, run, capture, engine(4, 1e-3)});
    EXPECT_EQ(chosen(large()), "4:");
}

TEST_F(EngineChoice, OneOfTheFallbackIsFoundToo) {
    Engine fallback = engine(9, 1e-5);
    fallback.fallback = true;
    standin::offer_engines({engine(1, 1e-3), fallback});
    EXPECT_EQ(chosen(large()), "9:");
}

TEST_F(EngineChoice, WithoutAnEngineAnOwnKernelTakesTheConvolutionWhichIsSaid) {
    standin::offer_engines({});
    testing::internal::CaptureStderr();
    EXPECT_EQ(chosen(small()), "direct");
    EXPECT_NE(testing::internal::GetCapturedStderr().find("cuDNN has nothing for convolution forward"),
              std::string::npos);
}

TEST_F(EngineChoice, NoPlanIsUsedThatWasNeverRun) {
    // 2.3 MB of operands; one engine wants another 30 MB of workspace.
    Engine hungry = engine(1, 1e-5), modest = engine(2, 1e-3);
    hungry.workspace_bytes = 30 << 20;
    standin::offer_engines({hungry, modest});
    standin::insert_card({.memory = 16 << 20});
    EXPECT_EQ(chosen(large()), "2:");
    EXPECT_FALSE(standin::engine_runs().contains("1:"));
    // With less than the operands take, nothing can be tried.
    std::filesystem::remove_all(folder_ / "iwseg");
    standin::insert_card({.memory = 2 << 20});
    testing::internal::CaptureStderr();
    EXPECT_EQ(chosen(large()), "direct");
    EXPECT_NE(testing::internal::GetCapturedStderr().find("there is no memory to try plans in"), std::string::npos);
}

TEST_F(EngineChoice, WorkspaceAboveWhatTwoTensorsTakeIsNotWorthIt) {
    Engine hungry = engine(1, 1e-5);
    hungry.workspace_bytes = 100 << 20;
    standin::offer_engines({hungry, engine(2, 1e-3)});
    EXPECT_EQ(chosen(large()), "2:");
}

TEST_F(EngineChoice, ASmallConvolutionIsNotMeasuredButMustBeRight) {
    Engine wrong = engine(1, 1e-9);
    wrong.wrong_from = 0;
    standin::offer_engines({wrong, engine(2, 1e-3), engine(3, 1e-4)});
    testing::internal::CaptureStderr();
    EXPECT_EQ(chosen(small()), "2:") << "the first that is right, whatever its time";
    testing::internal::GetCapturedStderr();
}

// ----------------------------------------------------------------------------------------------------------------------

TEST_F(EngineChoice, IsKnownAtTheNextStart) {
    standin::offer_engines({engine(1, 1e-3), engine(2, 1e-4)});
    EXPECT_EQ(chosen(large()), "2:");
    standin::offer_engines({engine(1, 1e-5), engine(2, 1e-4)});
    EXPECT_EQ(chosen(large()), "2:");
    EXPECT_TRUE(standin::engine_runs().empty()) << "nothing is measured again";
    standin::offer_engines({engine(1, 1e-5)});
    EXPECT_EQ(chosen(large()), "1:") << "the file's engine is no more";
}

TEST_F(EngineChoice, OfARunIsReadFirstAndStaysWithTheRun) {
    std::filesystem::create_directories(folder_);
    ConvolutionOptions of_run = large();
    of_run.plan_file = (folder_ / "run.txt").string();
    standin::offer_engines({engine(1, 1e-3), engine(2, 1e-4)});
    EXPECT_EQ(chosen(of_run), "2:");
    ASSERT_TRUE(std::filesystem::exists(of_run.plan_file));
    // Another start, on which the user's file was lost and another engine is the fastest.
    std::filesystem::remove_all(folder_ / "iwseg");
    standin::offer_engines({engine(1, 1e-5), engine(2, 1e-4)});
    EXPECT_EQ(chosen(large()), "1:");
    EXPECT_EQ(chosen(of_run), "2:");
}

TEST_F(EngineChoice, OfASmallConvolutionIsKeptWithTheRunToo) {
    std::filesystem::create_directories(folder_);
    ConvolutionOptions of_run = small();
    of_run.plan_file = (folder_ / "run.txt").string();
    standin::offer_engines({engine(1, 1e-3), engine(2, 1e-4)});
    EXPECT_EQ(chosen(of_run), "1:");
    standin::offer_engines({engine(2, 1e-4), engine(1, 1e-3)});
    EXPECT_EQ(chosen(of_run), "1:");
}

TEST_F(EngineChoice, FromAFileThatIsNonsenseIsMeasuredAnew) {
    std::filesystem::create_directories(folder_);
    ConvolutionOptions of_run = large();
    of_run.plan_file = (folder_ / "run.txt").string();
    standin::offer_engines({engine(1, 1e-4)});
    EXPECT_EQ(chosen(of_run), "1:");
    std::ifstream in(of_run.plan_file);
    std::string line;
    std::getline(in, line);
    for (const char* value : {"", "x", "7 1:", "0 1", "0 999:", "0 1:2="}) {
        std::ofstream(of_run.plan_file) << line.substr(0, line.find('\t')) << '\t' << value << "\nwithout a tab\n";
        EXPECT_EQ(chosen(of_run), "1:") << value;
    }
}

// ----------------------------------------------------------------------------------------------------------------------

TEST_F(EngineChoice, CudnnsConvolutionsEqualTheDirectOnes) {
    std::mt19937 random(std::random_device{}());
    const auto side = [&] { return 1 + static_cast<std::int64_t>(random() % 9); };
    for (const Type type : {Type::f32, Type::bf16})
        for (const int kernel : {1, 3})
            for (const bool bias : {false, true})
                for (const Write write : {Write::overwrite, Write::accumulate}) {
                    ConvolutionOptions options = small(type);
                    options.src = {1 + static_cast<std::int64_t>(random() % 2), 3 + side(), side(), side(), side()};
                    options.dst_channels = 4 + side();
                    options.kernel = kernel, options.bias = bias, options.write = write;
                    SCOPED_TRACE(cuda::problem_of(options, cuda::Pass::forward).name());
                    if (!cuda::is_for_cudnn(options, {})) continue;
                    expect_same_as_direct(options, random);
                }
}

// The session lives on with another's convolutions when a context's stream is closed, and the card notes who has it
// still.
TEST_F(EngineChoice, AConvolutionThatEndsLeavesItsStream) {
    const auto another = make(small());
    std::mt19937 random(std::random_device{}());
    const ConvolutionOptions options = small();
    const OnCard src({nullptr, options.src, Type::f32, Layout::ndhwc}, random),
        dst({nullptr, options.dst(), Type::f32, Layout::ndhwc}, random), weights({nullptr, {7, 5, 3, 3, 3}}, random);
    const Stream stream = cuda::open_stream(nullptr);
    {
        const auto one = make(options);
        const DeviceMemory scratch(cuda::backend(), one->scratch_bytes());
        one->forward(stream, src.view(), weights.floats(), nullptr, dst.view(), scratch.data());
        cuda::synchronise(stream);
    }
    cuda::close_stream(stream);
}

TEST_F(EngineChoice, AFusingEngineIsTakenWhereABiasOrASumIsAsked) {
    ConvolutionOptions options = large();
    options.bias = true;
    options.write = Write::accumulate;
    Engine fuses = engine(5, 1e-5);
    fuses.fuses = true;
    standin::offer_engines({fuses, engine(1, 1e-4)});
    EXPECT_EQ(chosen(options), "5:");
    std::mt19937 random(std::random_device{}());
    options.src = {1, 6, 3, 4, 5};
    expect_same_as_direct(options, random);
}

TEST_F(EngineChoice, ABf16ConvolutionIsRefusedByAnOldCardInASentence) {
    standin::insert_card({.name = "Old card", .major = 7, .minor = 5});
    try {
        make(small(Type::bf16));
        FAIL() << "was taken";
    } catch (const InputError& error) {
        EXPECT_STREQ(error.what(),
                     "precision bf16 needs a GPU of compute capability 8.0 or newer, and Old card has 7.5; use "
                     "precision fp32");
    }
}

}  // namespace
}  // namespace iwseg
