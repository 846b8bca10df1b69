// Convolutions of any kernel, stride and groups on cuDNN's stand-in: every form is one that cuDNN's documentation has,
// and our own kernels are one more engine, taken where cuDNN refuses, is wrong or is slower.
#include <fstream>
#include <iterator>
#include <random>
#include <set>
#include <string>

#include "kernels/convolution/cudnn/session.h"
#include "tests/cuda_host/cuda_host.h"
#include "tests/cuda_host/same_as_direct.h"

namespace iwseg {
namespace {

using standin::Engine;

constexpr const char* kAllGeneral = "forward general, data general, weights general";

class GeneralConvolution : public CudaHost {
  protected:
    GeneralConvolution() { standin::offer_algorithms({}); }  // of cuBLASLt, which have tests of their own

    ConvolutionOptions options(const Sides& kernel, const Sides& stride = 1, std::int64_t groups = 1,
                               bool padded = true) {
        const auto side = [&] { return 3 + static_cast<std::int64_t>(random_() % 6); };
        ConvolutionOptions options;
        options.src = {1 + static_cast<std::int64_t>(random_() % 2), groups * side(), side(), side(), side()};
        options.dst_channels = groups * side();
        options.kernel = kernel, options.stride = stride;
        options.groups = groups, options.padded = padded;
        options.src_layout = options.dst_layout = Layout::ndhwc;
        return options;
    }
    /// As networks have them: of other sides, at a stride, in groups, and what a transposed one is the gradient of.
    std::vector<ConvolutionOptions> forms() {
        std::vector<ConvolutionOptions> forms{options({1, 3, 3}),
                                              options({3, 1, 1}),
                                              options(5),
                                              options({7, 1, 3}),
                                              options(3, 2),
                                              options({1, 3, 3}, {1, 2, 2}),
                                              options(1, 2),
                                              options(3, {1, 2, 1}, 2),
                                              options({1, 7, 5}, {2, 1, 1}, 3),
                                              options(2, 2, 1, false),
                                              options({1, 2, 2}, {1, 2, 2}, 1, false),
                                              options({2, 1, 3}, 1, 1, false)};
        ConvolutionOptions depthwise = options(3);
        depthwise.dst_channels = depthwise.groups = depthwise.src.c;
        forms.push_back(depthwise);
        depthwise.stride = 2, depthwise.dst_channels *= 2;
        forms.push_back(depthwise);
        return forms;
    }
    static std::string implementation(const ConvolutionOptions& options) {
        return cuda::make_convolution({}, options, {})->implementation();
    }

    std::mt19937 random_{std::random_device{}()};
};

/// Large enough to be measured.
ConvolutionOptions large() {
    ConvolutionOptions options;
    options.src = {1, 16, 32, 32, 33};
    options.dst_channels = 4;
    options.kernel = {1, 1, 3};
    options.stride = {1, 1, 2};
    options.src_layout = options.dst_layout = Layout::ndhwc;
    return options;
}

TEST_F(GeneralConvolution, OfEveryFormIsCudnnsAndEqualsOurOwn) {
    Engine fuses{.index = 5, .seconds = 1e-5};
    fuses.fuses = true;
    for (const std::vector<Engine>& engines : {std::vector<Engine>{{.index = 1}}, {fuses, {.index = 1}}})
        for (const Type type : {Type::f32, Type::bf16})
            for (ConvolutionOptions form : forms()) {
                standin::offer_engines(engines);
                form.src_type = form.dst_type = type;
                form.bias = random_() % 2;
                form.write = random_() % 2 ? Write::accumulate : Write::overwrite;
                SCOPED_TRACE(cuda::problem_of(form, cuda::Pass::forward).name());
                ASSERT_TRUE(cuda::is_for_cudnn(form, {}));
                EXPECT_EQ(implementation(form).find("general"), std::string::npos) << implementation(form);
                expect_same_as_direct(form, random_);
            }
}

TEST_F(GeneralConvolution, OfOneChannelIsCudnnsWhateverItsLayoutIsCalled) {
    ConvolutionOptions one = options({1, 3, 3});
    one.src.c = 1;
    one.src_layout = Layout::ncdhw;
    EXPECT_TRUE(cuda::is_for_cudnn(one, {}));
    one.src.c = 2;
    EXPECT_FALSE(cuda::is_for_cudnn(one, {}));
    one.src_layout = Layout::ndhwc;
    one.dst_channels = 1, one.dst_layout = Layout::ncdhw, one.bias = true;
    expect_same_as_direct(one, random_);
    // A sum of such lies as it does, and is called the same: by an engine that adds, and by a copy before one that does
    // not.
    one.write = Write::accumulate;
    for (const bool fuses : {true, false}) {
        standin::offer_engines({{.index = 1, .fuses = fuses}});
        const OnCard src({nullptr, one.src, one.src_type, Layout::ndhwc}, random_),
            weights({nullptr, {1, one.inputs(), one.kernel.d, one.kernel.h, one.kernel.w}}, random_),
            bias({nullptr, {1, 1, 1, 1, 1}}, random_),
            summand({nullptr, one.dst(), one.src_type, Layout::ncdhw}, random_);
        std::vector<float> results[2];
        for (const bool direct : {false, true}) {
            const auto made = direct ? cuda::make_direct_convolution(one, {}) : cuda::make_convolution({}, one, {});
            const DeviceMemory scratch(cuda::backend(), made->scratch_bytes());
            const OnCard dst({nullptr, one.dst(), one.src_type, Layout::ncdhw}, random_);
            made->forward_sum({}, src.view(), weights.floats(), bias.floats(), summand.view(), dst.view(),
                              scratch.data());
            results[direct] = dst.read();
        }
        EXPECT_LT(largest_difference(results[0], results[1]), one.src_type == Type::bf16 ? 1e-2 : 1e-5) << fuses;
    }
}

TEST_F(GeneralConvolution, HasANameOfItsOwnInTheFileOfPlans) {
    std::set<std::string> names;
    std::size_t count = 0;
    ConvolutionOptions one = options(3);
    one.src = {1, 12, 8, 8, 8};
    one.dst_channels = 24;
    const auto add = [&](const ConvolutionOptions& options) {
        for (const cuda::Pass pass : {cuda::Pass::forward, cuda::Pass::data, cuda::Pass::weights})
            names.insert(cuda::problem_of(options, pass).name()), ++count;
    };
    for (const Sides& kernel : {Sides(3), Sides(1), Sides(1, 3, 3), Sides(3, 1, 1), Sides(5)})
        for (const Sides& stride : {Sides(1), Sides(2), Sides(1, 2, 2)})
            for (const std::int64_t groups : {1, 2, 12}) {
                one.kernel = kernel, one.stride = stride, one.groups = groups;
                one.padded = true;
                add(one);
                one.padded = false;
                if (!(kernel == 1)) add(one);
            }
    EXPECT_EQ(names.size(), count);
    // Plain ones keep the name by which files of earlier versions have their plans.
    EXPECT_TRUE(names.contains("forward 1x12x8x8x8 to 24, kernel 3, f32"));
    EXPECT_TRUE(names.contains("forward 1x12x8x8x8 to 24, kernel 1x3x3, stride 1x2x2, 12 groups, not padded, f32"));
}

TEST_F(GeneralConvolution, ThatCudnnRefusesIsComputedByOwnKernels) {
    Engine plain_only{.index = 1};
    plain_only.plain_only = true;
    for (const bool graphs : {true, false})
        for (ConvolutionOptions form : forms()) {
            if (form.stride == 1 && form.groups == 1 && graphs) continue;
            standin::offer_engines({plain_only}, graphs);
            form.bias = true;
            SCOPED_TRACE(cuda::problem_of(form, cuda::Pass::forward).name());
            testing::internal::CaptureStderr();
            EXPECT_EQ(implementation(form), kAllGeneral);
            EXPECT_NE(testing::internal::GetCapturedStderr().find("cuDNN has nothing for convolution"),
                      std::string::npos);
            expect_same_as_direct(form, random_);
        }
}

TEST_F(GeneralConvolution, IsOurOwnWhereThatIsMeasuredToBeFaster) {
    standin::offer_engines({{.index = 1, .seconds = 1e-9}});  // where a launch of ours takes 1 us
    EXPECT_EQ(implementation(large()), "forward cudnn 1:, data cudnn 1:, weights cudnn 1:");
    std::filesystem::remove_all(folder_ / "iwseg");
    standin::offer_engines({{.index = 1, .seconds = 1e-2}});
    EXPECT_EQ(implementation(large()), kAllGeneral);
}

TEST_F(GeneralConvolution, ByOurOwnKernelsIsKnownAtTheNextStart) {
    ConvolutionOptions options = large();
    options.plan_file = (folder_ / "plans.txt").string();
    std::filesystem::create_directories(folder_);
    standin::offer_engines({});
    EXPECT_EQ(implementation(options), kAllGeneral);
    standin::offer_engines({{.index = 1, .seconds = 1e-9}});
    EXPECT_EQ(implementation(options), kAllGeneral);
    std::ifstream in(options.plan_file);
    const std::string lines{std::istreambuf_iterator<char>(in), {}};
    EXPECT_NE(lines.find("forward 1x16x32x32x33 to 4, kernel 1x1x3, stride 1x1x2, f32\t0 general\n"), std::string::npos)
        << lines;
}

TEST_F(GeneralConvolution, ThatAnEngineComputesWrongIsComputedByAnother) {
    Engine wrong{.index = 1, .seconds = 1e-9};
    wrong.wrong_from = 0;
    standin::offer_engines({wrong});
    testing::internal::CaptureStderr();
    EXPECT_EQ(implementation(large()), kAllGeneral);
    const std::string said = testing::internal::GetCapturedStderr();
    EXPECT_NE(said.find("cuDNN's engine 1: is wrong for convolution weight gradient 1x16x32x32x33 to 4, kernel 1x1x3, "
                        "stride 1x1x2, f32"),
              std::string::npos)
        << said;
}

TEST_F(GeneralConvolution, ListsCudnnsEnginesAndOurOwn) {
    standin::offer_engines({{.index = 7}, {.index = 9}});
    for (const cuda::Pass pass : {cuda::Pass::forward, cuda::Pass::data, cuda::Pass::weights}) {
        std::vector<std::string> names;
        for (const ConvolutionEngine& one : cuda::convolution_engines({}, large(), pass)) {
            names.push_back(one.name);
            EXPECT_EQ(one.choice, "timed; taken where it is the fastest that is right");
        }
        EXPECT_EQ(names, (std::vector<std::string>{"cudnn 7:", "cudnn 9:", "general"}));
    }
}

}  // namespace
}  // namespace iwseg
