#include "apps/bench/kernel_run.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "tests/support/backends.h"

namespace iwseg {
namespace {

KernelCaseOptions small(const std::string& kernel, Type type) {
    KernelCaseOptions options;
    options.kernel = kernel;
    options.shape = {2, 16, 4, 6, 8};
    options.type = type;
    options.seed = 3;
    return options;
}

/// On the processor's own layout and type, and by the CUDA source on the executor.
void expect_right(const Backend& device, const KernelCaseOptions& options) {
    Context context(device, {});
    KernelRun run(context, options);
    run.launch();
    const std::vector<KernelDifference> differences = run.check();
    EXPECT_FALSE(differences.empty());
    for (const KernelDifference& d : differences)
        EXPECT_LE(d.largest, d.allowed) << options.kernel << ": " << d.operand;
}

TEST(KernelRun, EveryKernelAgreesWithTheCpuInEitherType) {
    for (const std::string& kernel : kernel_case_names())
        for (const Type type : {Type::f32, Type::bf16}) {
            expect_right(cpu::backend(), small(kernel, type));
            expect_right(backend_of(TestBackend::simt), small(kernel, type));
        }
}

TEST(KernelRun, AConvolutionOfAnyKernelAgreesWithTheCpuAndNoneIsRefusedInASentence) {
    for (const char* pass : {"convolution_forward", "convolution_data_gradient", "convolution_weight_gradient"})
        for (const Type type : {Type::f32, Type::bf16}) {
            KernelCaseOptions options = small(pass, type);
            options.kernel_size = {1, 3, 5}, options.stride = {1, 2, 1}, options.groups = 4;
            expect_right(cpu::backend(), options);
            expect_right(backend_of(TestBackend::simt), options);
            options.kernel_size = 2;
            EXPECT_THROW(make_kernel_case(options), InputError);
            options.stride = 2, options.padded = false;
            expect_right(backend_of(TestBackend::simt), options);
            options.groups = 5;
            EXPECT_THROW(make_kernel_case(options), InputError);
        }
}

TEST(KernelRun, EachOfTheCpusEnginesForAnyKernelIsRight) {
    Context context(cpu::backend(), {});
    for (const char* pass : {"convolution_forward", "convolution_data_gradient", "convolution_weight_gradient"})
        for (const Type type : {Type::f32, Type::bf16})
            for (const std::int64_t channels : {8, 16}) {  // blocks of 8, and of 16 where there are any
                KernelCaseOptions options = small(pass, type);
                options.shape.c = options.out_channels = channels;
                options.kernel_size = 3, options.stride = 2;
                const auto engines = kernel_engines(cpu::backend(), context.stream(), options);
                EXPECT_TRUE(std::any_of(engines.begin(), engines.end(),
                                        [](const ConvolutionEngine& one) { return one.name == "general"; }));
                for (std::size_t i = 0; i < engines.size(); ++i) {
                    SCOPED_TRACE(std::string(pass) + ", " + engines[i].name);
                    options.variant = static_cast<int>(i);
                    expect_right(cpu::backend(), options);
                }
            }
}

TEST(KernelRun, ASecondCheckStartsFromTheSameState) {
    Context context(backend_of(TestBackend::simt), {});
    KernelRun run(context, small("add", Type::f32));  // adds to what is there
    for (int i = 0; i < 3; ++i) run.launch();
    EXPECT_TRUE(run.check().front().right());
    EXPECT_TRUE(run.check().front().right());
}

void copy_but_one(Stream stream, View from, View to) {
    simt::copy(stream, from, to);
    to.as<float>()[5] += 1;
}

void copy_with_nan(Stream stream, View from, View to) {
    simt::copy(stream, from, to);
    to.as<float>()[to.shape.elements() - 1] = NAN;
}

TEST(KernelRun, OneWrongElementIsSeen) {
    for (const auto wrong : {copy_but_one, copy_with_nan}) {
        Backend device = simt::backend();
        device.copy = wrong;
        Context context(device, {});
        KernelRun run(context, small("copy", Type::f32));
        EXPECT_FALSE(run.check().front().right());
    }
}

// ----------------------------------------------------------------------------------------------------------------------

constexpr const char* kPasses[] = {"convolution_forward", "convolution_data_gradient", "convolution_weight_gradient"};

std::vector<ConvolutionEngine> engines_of(const Backend& device, const KernelCaseOptions& options) {
    return kernel_engines(device, Context(device, {}).stream(), options);
}

TEST(KernelRun, EachVariantOfAConvolutionIsRight) {
    for (const TestBackend backend : {TestBackend::cpu, TestBackend::simt})
        for (const char* pass : kPasses)
            for (const Type type : {Type::f32, Type::bf16})
                for (const int kernel : {1, 3}) {
                    const Backend& device = backend_of(backend);
                    KernelCaseOptions options = small(pass, type);
                    options.kernel_size = kernel;
                    const auto engines = engines_of(device, options);
                    ASSERT_FALSE(engines.empty());
                    EXPECT_EQ(engines[0].choice, "taken");
                    for (std::size_t i = 0; i < engines.size(); ++i) {
                        options.variant = static_cast<int>(i);
                        SCOPED_TRACE(options.kernel + " by " + engines[i].name);
                        expect_right(device, options);
                        Context context(device, {});
                        EXPECT_EQ(KernelRun(context, options).engine(), engines[i].name);
                        for (std::size_t j = 0; j < i; ++j) EXPECT_NE(engines[i].name, engines[j].name);
                    }
                }
}

/// Each engine's convolution says what it is made of, and the first one's is what a plan makes.
TEST(KernelRun, TheFirstVariantIsWhatAPlanTakes) {
    for (const TestBackend backend : {TestBackend::cpu, TestBackend::simt})
        for (const Type type : {Type::f32, Type::bf16})
            for (const char* pass : kPasses) {
                const Backend& device = backend_of(backend);
                const KernelCaseOptions options = small(pass, type);
                Context context(device, {});
                const std::string first = engines_of(device, options).front().make()->implementation();
                const std::string taken = KernelRun(context, options).engine();
                EXPECT_TRUE(taken == first || taken.find("by [" + first + "]") != std::string::npos)
                    << pass << ": " << taken << ", " << first;
            }
}

TEST(KernelRun, OfferedOnTheCpuIsWhatComputesThePassDifferently) {
    for (const char* pass : kPasses)
        for (const Type type : {Type::f32, Type::bf16})
            for (const ConvolutionEngine& one : engines_of(cpu::backend(), small(pass, type)))
                EXPECT_TRUE(one.name.starts_with("oneDNN") || one.name.starts_with("taps") ||
                            one.name.starts_with("winograd") || (type == Type::bf16 && one.name == "AMX") ||
                            one.name.starts_with(pass == kPasses[2] ? "direct" : "rows"))
                    << pass << " " << one.name;
}

TEST(KernelRun, NarrowChannelsHaveTwoVariantsOnTheExecutor) {
    const auto engines = engines_of(backend_of(TestBackend::simt), small("convolution_forward", Type::bf16));
    ASSERT_EQ(engines.size(), 2u);
    EXPECT_EQ(engines[0].name, "narrow");
    EXPECT_EQ(engines[1].name, "direct");
}

TEST(KernelRun, AVariantThatThereIsNotIsRefusedWithHowManyThereAre) {
    const Backend& device = backend_of(TestBackend::simt);
    Context context(device, {});
    KernelCaseOptions options = small("convolution_forward", Type::bf16);
    for (const int variant : {2, -1}) {
        options.variant = variant;
        try {
            const KernelRun run(context, options);
            FAIL() << variant;
        } catch (const InputError& error) {
            EXPECT_EQ(error.what(), "there is no variant " + std::to_string(variant) +
                                        " of this convolution: it has 2 on this device, 0 to 1; --variant list names "
                                        "them");
        }
    }
    options = small("max_pool", Type::f32);
    options.variant = 0;
    EXPECT_THROW(KernelRun(context, options), InputError);
    EXPECT_THROW(engines_of(device, options), InputError);
}

/// A convolution that adds to one element of another's result.
class OneWrong : public Convolution {
  public:
    explicit OneWrong(std::unique_ptr<Convolution> right) : right_(std::move(right)) {}
    std::string implementation() const override { return right_->implementation(); }
    std::int64_t scratch_bytes() const override { return right_->scratch_bytes(); }
    void forward(Stream stream, View src, const float* weights, const float* bias, View dst, void* scratch) override {
        right_->forward(stream, src, weights, bias, dst, scratch);
        dst.as<float>()[dst.shape.elements() - 1] += 1;
    }
    void backward_data(Stream, View, const float*, View, void*) override {}
    void backward_weights(Stream, View, View, float*, float*, void*) override {}

  private:
    std::unique_ptr<Convolution> right_;
};

std::vector<ConvolutionEngine> second_is_wrong(Stream stream, const ConvolutionOptions& options, ConvolutionPass pass) {
    auto engines = simt::convolution_engines(stream, options, pass);
    engines.push_back({"wrong", "", [right = engines[0]] { return std::make_unique<OneWrong>(right.make()); }});
    return engines;
}

TEST(KernelRun, AVariantThatIsWrongIsSeenAndTheOthersAreNot) {
    Backend device = simt::backend();
    device.convolution_engines = second_is_wrong;
    Context context(device, {});
    KernelCaseOptions options = small("convolution_forward", Type::f32);
    for (const int variant : {0, 1}) {
        options.variant = variant;
        EXPECT_EQ(KernelRun(context, options).check().front().right(), variant == 0);
    }
}

TEST(KernelRun, AnUnknownKernelNamesTheNearest) {
    try {
        make_kernel_case(small("max_pol", Type::f32));
        FAIL();
    } catch (const InputError& error) {
        EXPECT_STREQ(error.what(), "there is no kernel max_pol; did you mean max_pool?");
    }
}

}  // namespace
}  // namespace iwseg
