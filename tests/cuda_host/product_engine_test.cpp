// Convolutions whose kernel is their stride as products of matrices, on cuBLASLt's stand-in: the same as by our own
// kernels, and chosen as cuDNN's engines are, where they are fast, right, repeatable and run in a recording.
#include "kernels/convolution/product.h"

#include <fstream>
#include <iterator>
#include <random>
#include <string>

#include "kernels/cuda/matrix_product.h"
#include "tests/cuda_host/cuda_host.h"
#include "tests/cuda_host/same_as_direct.h"

namespace iwseg {
namespace {

using standin::ProductAlgorithm;

constexpr const char* kAll21 =
    "forward cublaslt130100:15,0,10001000100010, data cublaslt130100:15,0,10001000100010, weights "
    "cublaslt130100:15,0,10001000100010";

ConvolutionOptions options_of(const Shape& src, std::int64_t outputs, const Sides& kernel = 1) {
    ConvolutionOptions options;
    options.src = src;
    options.dst_channels = outputs;
    options.kernel = options.stride = kernel;
    options.padded = kernel == 1;
    options.src_layout = options.dst_layout = Layout::ndhwc;
    return options;
}

/// Large enough to be measured.
ConvolutionOptions large() {
    return options_of({1, 16, 32, 32, 33}, 4);
}

class ProductEngine : public CudaHost {
  protected:
    ProductEngine() { standin::offer_engines({}); }

    static std::string implementation(const ConvolutionOptions& options) {
        return cuda::make_convolution({}, options, {})->implementation();
    }
    /// The number of the algorithm of the forward pass, or who else computes it.
    static std::string chosen(const ConvolutionOptions& options) {
        const std::string text = cuda::make_convolution({}, options, {false, false})->implementation();
        const std::string first = text.substr(8, text.find(", data") - 8);
        const std::size_t colon = first.find(':');
        if (!first.starts_with("cublaslt")) return first;
        return std::to_string(std::stoi(first.substr(colon + 1, first.find(',') - colon - 1), nullptr, 16));
    }

    std::mt19937 random_{std::random_device{}()};
};

TEST_F(ProductEngine, OfEveryFormEqualsOurOwn) {
    const std::vector<ConvolutionOptions> forms{
        options_of({1, 1, 1, 1, 1}, 2),
        options_of({2, 5, 3, 4, 7}, 3),
        options_of({1, 16, 3, 5, 4}, 24),
        options_of({1, 2, 1, 1, 3}, 1, {1, 1, 3}),
        options_of({2, 3, 4, 6, 8}, 5, 2),
        options_of({1, 8, 4, 2, 6}, 16, 2),
        options_of({2, 4, 3, 4, 6}, 6, {1, 2, 2}),
        options_of({1, 7, 6, 3, 4}, 8, {3, 1, 1}),
        options_of({2, 3, 2, 3, 12}, 4, {1, 1, 4}),
        options_of({1, 2, 3, 10, 14}, 3, {3, 5, 7}),
        options_of({2, 1, 4, 4, 4}, 16, 4),
    };
    for (const Type type : {Type::f32, Type::bf16})
        for (ConvolutionOptions form : forms)
            for (const Write write : {Write::overwrite, Write::accumulate}) {
                form.src_type = form.dst_type = type;
                form.bias = random_() % 2;
                form.write = write;
                SCOPED_TRACE(cuda::problem_of(form, cuda::Pass::forward).name());
                ASSERT_TRUE(cuda::is_product(form));
                EXPECT_EQ(implementation(form), kAll21);
                expect_same_as_direct(form, random_);
            }
}

TEST_F(ProductEngine, OfManyVoxelsSumsAWeightGradientInEqualParts) {
    // 4096 voxels are 4 parts and 2048 blocks are 2; 4025 voxels are none but the whole.
    const std::pair<ConvolutionOptions, int> all[] = {{options_of({2, 8, 8, 16, 16}, 6), 4},
                                                      {options_of({1, 3, 16, 32, 32}, 5, 2), 2},
                                                      {options_of({1, 8, 7, 25, 23}, 6), 1}};
    for (const Type type : {Type::f32, Type::bf16})
        for (auto [many, parts] : all) {
            many.src_type = many.dst_type = type;
            const auto plans = cuda::product_plans(cuda::problem_of(many, cuda::Pass::weights));
            ASSERT_EQ(plans.size(), 2u);
            const auto rounded = [](std::int64_t bytes) { return (bytes + 255) / 256 * 256; };
            const std::int64_t bytes = many.weight_count() * 4;
            const std::int64_t moved =
                many.kernel == 1 ? 0 : rounded(bytes_of(many.src, type, Layout::ndhwc)) + rounded(bytes);
            EXPECT_EQ(plans[1].plan.workspace_bytes, rounded(parts * bytes) + moved) << "and none of cuBLASLt's";
            expect_same_as_direct(many, random_);
        }
}

TEST_F(ProductEngine, IsNoneOfConvolutionsThatReadAVoxelTwiceOrLeaveOneOut) {
    EXPECT_FALSE(cuda::is_product(options_of({1, 4, 5, 6, 7}, 8, 2))) << "a plane is left out";
    ConvolutionOptions other = options_of({1, 4, 4, 6, 8}, 8);
    other.stride = 2;
    EXPECT_FALSE(cuda::is_product(other)) << "voxels are left out";
    other = options_of({1, 4, 3, 6, 9}, 8, 3);
    EXPECT_TRUE(cuda::is_product(other));
    other.padded = true;
    EXPECT_FALSE(cuda::is_product(other)) << "zeros are read";
    other.padded = false, other.stride = 1;
    EXPECT_FALSE(cuda::is_product(other)) << "voxels are read again and again";
    other = options_of({1, 4, 4, 6, 8}, 8);
    other.groups = 2;
    EXPECT_FALSE(cuda::is_product(other)) << "there are two products";
    EXPECT_TRUE(cuda::product_plans(cuda::problem_of(other, cuda::Pass::forward)).empty());
}

TEST_F(ProductEngine, AddsToWhatLiesElsewhere) {
    for (const Type type : {Type::f32, Type::bf16}) {
        ConvolutionOptions options = options_of({2, 5, 2, 4, 6}, 7, 2);
        options.src_type = options.dst_type = type;
        options.bias = true, options.write = Write::accumulate;
        const View like{nullptr, options.dst(), type, Layout::ndhwc};
        const OnCard src({nullptr, options.src, type, Layout::ndhwc}, random_),
            weights({nullptr, {7, 5, 2, 2, 2}}, random_), bias({nullptr, {1, 1, 1, 1, 7}}, random_),
            summand(like, random_);
        std::vector<float> results[2];
        for (const bool direct : {false, true}) {
            const auto made =
                direct ? cuda::make_direct_convolution(options, {}) : cuda::make_convolution({}, options, {});
            const DeviceMemory scratch(cuda::backend(), made->scratch_bytes());
            const OnCard dst(like, random_);
            made->forward_sum({}, src.view(), weights.floats(), bias.floats(), summand.view(), dst.view(),
                              scratch.data());
            results[direct] = dst.read();
            EXPECT_EQ(summand.read(), summand.values);
        }
        // bf16 is rounded to 2^-9; weights and bias, too, which the direct kernels do not do to a bias.
        EXPECT_LT(largest_difference(results[0], results[1]), type == Type::bf16 ? 1e-2 : 1e-5);
    }
}

// ----------------------------------------------------------------------------------------------------------------------

TEST_F(ProductEngine, IsTakenWhereItIsFasterThanCudnns) {
    standin::offer_engines({{.index = 1, .seconds = 1e-3}});
    standin::offer_algorithms({{.id = 3, .seconds = 9e-4}, {.id = 4, .seconds = 8e-4}});
    EXPECT_EQ(chosen(large()), "4") << "though cuBLASLt thinks it the slower one";
    std::filesystem::remove_all(folder_ / "iwseg");
    standin::offer_algorithms({{.id = 3, .seconds = 2e-3}});
    EXPECT_EQ(chosen(large()), "cudnn 1:");
}

TEST_F(ProductEngine, OfASmallConvolutionComesAfterCudnns) {
    standin::offer_engines({{.index = 1, .seconds = 1e-3}});
    standin::offer_algorithms({{.id = 3, .seconds = 1e-9}});
    EXPECT_EQ(chosen(options_of({1, 4, 3, 4, 5}, 8)), "cudnn 1:");
    standin::offer_engines({});
    EXPECT_EQ(chosen(options_of({1, 4, 3, 4, 6}, 8)), "3");
}

TEST_F(ProductEngine, ThatAddsPartsInAnyOrderOrRoundedIsNeverAsked) {
    ProductAlgorithm in_place{.id = 1, .seconds = 1e-6, .reduction = 1},
        rounded{.id = 2, .seconds = 1e-6, .reduction = 4}, fixed{.id = 3, .reduction = 2};
    standin::offer_algorithms({in_place, rounded, fixed});
    for (const bool deterministic : {true, false}) {
        ConvolutionOptions options = large();
        options.deterministic = deterministic;
        EXPECT_EQ(chosen(options), "3");
    }
    EXPECT_EQ(standin::algorithm_runs().size(), 1u);
}

TEST_F(ProductEngine, RoundsOperandsOnlyWhereTf32IsAllowed) {
    standin::offer_algorithms({{.id = 1, .seconds = 1e-5, .rounds = true}, {.id = 2}});
    EXPECT_EQ(chosen(large()), "2");
    ConvolutionOptions rounds = large();
    rounds.tf32 = true;
    EXPECT_EQ(chosen(rounds), "1");
    ConvolutionOptions half = large();
    half.src_type = half.dst_type = Type::bf16;
    EXPECT_EQ(chosen(half), "1");
}

TEST_F(ProductEngine, ThatIsWrongOrDiffersFromRunToRunIsLeftOutWhichIsSaid) {
    ProductAlgorithm wrong{.id = 1, .seconds = 1e-6, .wrong_from = 1000},
        varies{.id = 2, .seconds = 1e-5, .varies = true};
    standin::offer_algorithms({wrong, varies, {.id = 3}});
    testing::internal::CaptureStderr();
    EXPECT_EQ(chosen(large()), "3");
    const std::string said = testing::internal::GetCapturedStderr();
    EXPECT_NE(said.find("cuBLASLt's engine cublaslt130100:1,0,10001000100010 is wrong for convolution forward "
                        "1x16x32x32x33 to 4, kernel 1, f32"),
              std::string::npos)
        << said;
    EXPECT_NE(said.find("two runs differ"), std::string::npos) << said;
}

TEST_F(ProductEngine, ThatDoesNotRunOrNotInARecordingIsLeftOut) {
    ProductAlgorithm run{.id = 1, .seconds = 1e-6}, capture{.id = 2, .seconds = 1e-6},
        hungry{.id = 3, .seconds = 1e-6, .workspace_bytes = std::int64_t{33} << 20};
    run.refused_at_run = capture.refused_in_capture = true;
    standin::offer_algorithms({run, capture, hungry, {.id = 4}});
    EXPECT_EQ(chosen(large()), "4");
}

TEST_F(ProductEngine, WithoutAnAlgorithmAnOwnKernelTakesTheConvolution) {
    standin::offer_algorithms({});
    testing::internal::CaptureStderr();
    EXPECT_EQ(implementation(options_of({1, 4, 2, 4, 6}, 8, 2)), "forward general, data general, weights general");
    EXPECT_EQ(implementation(options_of({1, 4, 2, 4, 6}, 8)), "forward direct, data direct, weights direct");
    EXPECT_NE(testing::internal::GetCapturedStderr().find("cuDNN has nothing"), std::string::npos);
}

TEST_F(ProductEngine, IsKnownAtTheNextStartOfTheSameVersion) {
    ConvolutionOptions of_run = large();
    of_run.plan_file = (folder_ / "plans.txt").string();
    std::filesystem::create_directories(folder_);
    const ProductAlgorithm slow{.id = 0xABCDEF, .seconds = 1e-4}, fast{.id = 2, .seconds = 1e-5};
    standin::offer_algorithms({slow});
    EXPECT_EQ(chosen(of_run), std::to_string(0xABCDEF));
    std::ifstream in(of_run.plan_file);
    const std::string lines{std::istreambuf_iterator<char>(in), {}};
    const std::string text = "0 cublaslt130100:abcdef,0,10001000100010";
    EXPECT_NE(lines.find("forward 1x16x32x32x33 to 4, kernel 1, f32\t" + text + "\n"), std::string::npos) << lines;
    standin::offer_algorithms({fast, slow});
    EXPECT_EQ(chosen(of_run), std::to_string(0xABCDEF));
    EXPECT_TRUE(standin::algorithm_runs().empty()) << "nothing is measured again";
    // Another version may read the words otherwise.
    std::filesystem::remove_all(folder_ / "iwseg");
    standin::offer_algorithms({fast, slow}, 130200);
    EXPECT_EQ(chosen(of_run), "2");
}

TEST_F(ProductEngine, FromAFileThatIsNonsenseIsMeasuredAnew) {
    ConvolutionOptions of_run = large();
    of_run.plan_file = (folder_ / "plans.txt").string();
    std::filesystem::create_directories(folder_);
    standin::offer_algorithms({{.id = 5}});
    EXPECT_EQ(chosen(of_run), "5");
    std::ifstream in(of_run.plan_file);
    std::string line;
    std::getline(in, line);
    const std::string key = line.substr(0, line.find('\t'));
    for (const char* words : {"", ",", "x", "5,", "5,g", "5,0,0,0,0,0,0,0,0", "-5", "77", "10000000000000000"}) {
        std::ofstream(of_run.plan_file) << key << "\t0 cublaslt130100:" << words << "\n";
        EXPECT_EQ(chosen(of_run), "5") << words;
    }
}

}  // namespace
}  // namespace iwseg
