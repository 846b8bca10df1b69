// `iwseg kernel --variant` on the stand-in's card: the engine picked is launched, once, and no other.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "apps/bench/kernel_run.h"
#include "apps/commands/commands.h"
#include "base/error.h"
#include "tests/cuda_host/cuda_host.h"

namespace iwseg {
namespace {

using standin::Engine;

class KernelVariant : public CudaHost {
  protected:
    /// What the command prints.
    static std::string run(const std::string& arguments) {
        CLI::App app;
        add_kernel_command(app);
        testing::internal::CaptureStdout();
        try {
            app.parse("kernel " + arguments + " --device cuda");
        } catch (...) {
            testing::internal::GetCapturedStdout();
            throw;
        }
        return testing::internal::GetCapturedStdout();
    }
    /// What is called within the kernel's range, of those that put work on the card.
    static std::vector<std::string> within_range() {
        std::vector<std::string> within;
        for (const std::string_view call : standin::take_calls_in_ranges())
            if (call.starts_with("cudaLaunch") || call.starts_with("cudnnBackendExecute") ||
                call.starts_with("cudaMem"))
                within.emplace_back(call);
        return within;
    }
    static std::int64_t runs_of_all() {
        std::int64_t sum = 0;
        for (const auto& [engine, runs] : standin::engine_runs()) sum += runs;
        return sum;
    }
};

std::vector<Engine> three_engines() {
    return {{.index = 34, .knobs = {{2, 0}, {13, 1}}}, {.index = 7}, {.index = 9, .seconds = 1e-5}};
}

constexpr const char* kPasses[] = {"convolution_forward", "convolution_data_gradient", "convolution_weight_gradient"};

TEST_F(KernelVariant, OneEngineIsLaunchedOnceAndNothingIsMeasured) {
    for (const std::string pass : kPasses) {
        const std::string asked = pass + " --shape 1 16 3 5 9 --dtype bf16 --variant ";
        const char* engines[] = {"34:2=0,13=1", "7:", "9:"};
        for (std::size_t i = 0; i < 3; ++i) {
            standin::offer_engines(three_engines());
            standin::take_calls_in_ranges();
            const std::string said = run(asked + std::to_string(i));
            EXPECT_NE(said.find("by cudnn " + std::string(engines[i]) + ": "), std::string::npos) << said;
            EXPECT_EQ(standin::engine_runs().at(engines[i]), 1) << asked << i;
            EXPECT_EQ(runs_of_all(), 1) << "of all engines: " << asked << i;
            EXPECT_EQ(within_range(), std::vector<std::string>{"cudnnBackendExecute"}) << asked << i;
        }
        for (const char* own : {"3", "4"}) {
            standin::offer_engines(three_engines());
            standin::take_calls_in_ranges();
            EXPECT_NE(run(asked + own).find(own[0] == '3' ? "by narrow: " : "by direct: "), std::string::npos);
            EXPECT_EQ(runs_of_all(), 0);
            // Weights are arranged, or partial gradients added up, by a kernel beside the one that computes.
            EXPECT_EQ(within_range(), std::vector<std::string>(2, "cudaLaunchKernelEx")) << asked << own;
        }
    }
}

TEST_F(KernelVariant, EachVariantIsRight) {
    standin::offer_engines(three_engines());
    for (const std::string pass : kPasses)
        for (const char* type : {"fp32", "bf16"})
            for (const char* kernel : {"1", "3"})
                for (int i = 0; i < (std::string(type) == "bf16" && kernel[0] == '3' ? 5 : 4); ++i)
                    EXPECT_NO_THROW(run(pass + " --shape 2 16 3 4 5 --out-channels 8 --check --dtype " + type +
                                        " --kernel-size " + kernel + " --variant " + std::to_string(i)))
                        << pass << " " << type << " " << i;
}

TEST_F(KernelVariant, TheListNamesThemInAPlansOrderAndLaunchesNone) {
    standin::offer_engines(three_engines());
    const std::string small = run("convolution_forward --shape 1 16 3 5 9 --dtype bf16 --variant list");
    std::size_t at = 0;
    for (const char* line : {"   0  cudnn 34:2=0,13=1  tried; taken where it is the first that is right\n",
                             "   1  cudnn 7:  ", "   2  cudnn 9:  ", "   3  narrow  ",
                             "   4  direct             taken where none of these is right\n"}) {
        const std::size_t next = small.find(line, at);
        ASSERT_NE(next, std::string::npos) << line << " in\n" << small;
        at = next;
    }
    EXPECT_TRUE(standin::engine_runs().empty());
    EXPECT_NE(run("convolution_forward --shape 1 16 32 32 33 --out-channels 4 --kernel-size 1 --variant list")
                  .find("timed; taken where it is the fastest that is right"),
              std::string::npos);
}

TEST_F(KernelVariant, ProductsOfMatricesAreListedBehindCudnnsAndAreRight) {
    standin::offer_engines({{.index = 7}});
    for (const std::string form : {"--kernel-size 1", "--kernel-size 2 --stride 2 --unpadded"}) {
        const std::string of = " --shape 1 16 4 6 8 --out-channels 8 " + form;
        const std::string list = run("convolution_forward" + of + " --variant list");
        EXPECT_NE(list.find("   1  cublaslt130100:15,0,10001000100010  tried; "), std::string::npos) << list;
        EXPECT_NE(list.find("   2  cublaslt130100:7,0,10001000100010   tried; "), std::string::npos) << list;
        for (const std::string pass : kPasses)
            for (int i = 0; i < 4; ++i)
                EXPECT_NO_THROW(run(pass + of + " --check --variant " + std::to_string(i))) << pass << form << i;
    }
}

TEST_F(KernelVariant, OfOtherKernelsStridesAndGroupsAreRightToo) {
    standin::offer_engines(three_engines());
    for (const std::string form : {"--kernel-size 1 3 3 --stride 1 2 2", "--kernel-size 5 --groups 4",
                                   "--kernel-size 2 --stride 2 --unpadded"}) {
        const std::string of = " --shape 1 16 4 6 7 --out-channels 8 " + form;
        const std::string list = run("convolution_forward" + of + " --variant list");
        EXPECT_NE(list.find("   2  cudnn 9:  "), std::string::npos) << list;
        EXPECT_NE(list.find("   3  general  "), std::string::npos) << list;
        EXPECT_EQ(list.find("direct"), std::string::npos) << list;
        for (const std::string pass : kPasses)
            for (int i = 0; i < 4; ++i)
                EXPECT_NO_THROW(run(pass + of + " --check --variant " + std::to_string(i))) << pass << form << i;
    }
}

TEST_F(KernelVariant, AWrongNumberSaysHowManyThereAre) {
    standin::offer_engines(three_engines());
    const auto refusal = [](const std::string& arguments) -> std::string {
        try {
            run(arguments);
        } catch (const InputError& error) {
            return error.what();
        }
        return "not refused";
    };
    EXPECT_EQ(refusal("convolution_forward --shape 1 16 3 5 9 --variant 4"),
              "there is no variant 4 of this convolution: it has 4 on this device, 0 to 3; --variant list names them");
    standin::offer_engines({});
    EXPECT_EQ(refusal("convolution_forward --shape 1 16 3 5 9 --variant 1"),
              "there is no variant 1 of this convolution: it has 1 on this device, 0; --variant list names it");
    EXPECT_EQ(refusal("convolution_forward --variant fast"),
              "--variant takes the number of an engine, or list, which prints them, and not fast");
    EXPECT_EQ(refusal("max_pool --variant 0"), "--variant picks the engine of a convolution, and max_pool is none");
    EXPECT_EQ(refusal("max_pool --variant list"), "--variant picks the engine of a convolution, and max_pool is none");
}

TEST_F(KernelVariant, AnEngineThatIsWrongFailsTheCheck) {
    std::vector<Engine> engines = three_engines();
    engines[1].wrong_from = 0;
    standin::offer_engines(engines);
    const std::string asked = "convolution_forward --shape 1 16 3 5 9 --check --variant ";
    EXPECT_NO_THROW(run(asked + "0"));
    EXPECT_THROW(run(asked + "1"), std::runtime_error);  // which ends the program with exit code 1
    EXPECT_NO_THROW(run(asked + "2"));
}

}  // namespace
}  // namespace iwseg
