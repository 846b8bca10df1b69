// U-Nets as nnU-Net plans them against PyTorch's modules, and BasicUNet against MONAI's: logits, gradients and three
// steps (tests/models/unet_golden.py).
#include "models/plain_unet.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "engine/graph.h"
#include "engine/initialisation.h"
#include "engine/safetensors.h"
#include "losses/loss.h"
#include "models/networks.h"
#include "models/predictor.h"
#include "models/residual_encoder_unet.h"
#include "models/unet_stages.h"
#include "tests/support/backends.h"
#include "tests/support/golden.h"
#include "training/session.h"

namespace iwseg {
namespace {

const std::vector<Sides> kStrides{1, {1, 2, 2}, 2}, kKernels{{1, 3, 3}, 3, 3};

Network golden_network(const std::string& name) {
    if (name == "plain_unet")
        return plain_unet({.in_channels = 2, .widths = {3, 5, 6}, .strides = kStrides, .kernels = kKernels});
    if (name == "basic_unet") return make_network(name, 1, {2, 3, 2, 2, 3, 2});
    return residual_encoder_unet(
        {.in_channels = 2, .widths = {3, 5, 5}, .strides = kStrides, .kernels = kKernels, .blocks = {1, 2, 2}});
}

/// Largest |got - expected| as a share of the largest |expected|.
double distance(const std::vector<float>& got, const std::vector<float>& expected) {
    double largest = 1e-30, worst = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
        largest = std::max(largest, std::abs(double{expected[i]}));
        worst = std::max(worst, std::abs(double{got.at(i)} - expected[i]));
    }
    return worst / largest;
}

class TrainedUnets : public testing::TestWithParam<std::tuple<TestBackend, const char*>> {
  protected:
    void SetUp() override {
        const auto [backend, network] = GetParam();
        IWSEG_SKIP_WITHOUT_DEVICE(backend);
        context_.emplace(backend_of(backend), ContextOptions{.threads = 2});
        const auto stored = read_safetensors(golden_file(network + std::string(".safetensors")));
        for (const auto& [name, tensor] : stored) golden_[name] = tensor.as_f32();
        const std::vector<std::int64_t>& sides = stored.at("image").shape;
        TrainingOptions options;
        options.network = golden_network(network);
        options.loss = loss_from_name("bce");
        options.input = {sides[0], sides[1], sides[2], sides[3], sides[4]};
        session_.emplace(*context_, parameters_, options);
        set("before.");
        batch_.shape = options.input;
        batch_.image = golden_.at("image");
        for (const float value : golden_.at("target")) batch_.target.push_back(value > 0.5f);
    }

    void set(const std::string& prefix) {
        for (int i = 0; i < parameters_.size(); ++i) {
            const std::vector<float>& values = golden_.at(prefix + parameters_[{i}].name);
            ASSERT_EQ(static_cast<std::int64_t>(values.size()), parameters_[{i}].elements);
            std::copy(values.begin(), values.end(), parameters_.value({i}));
        }
        parameters_.upload();
    }
    std::vector<float> values_of(int i, bool gradient) {
        const float* from = gradient ? parameters_.gradient({i}) : parameters_.value({i});
        return {from, from + parameters_[{i}].elements};
    }

    std::optional<Context> context_;
    Parameters parameters_;
    std::map<std::string, std::vector<float>> golden_;
    std::optional<TrainingSession> session_;
    Batch batch_;
};

TEST_P(TrainedUnets, FollowPyTorchForThreeSteps) {
    // BasicUNet is some twenty layers deep, and its norms' gradients are sums of which little is left: up to 2e-5.
    const double of_gradients = std::get<1>(GetParam()) == std::string("basic_unet") ? 1e-4 : 1e-5;
    // As many arrays as PyTorch has, of which each is looked at.
    const auto stored =
        std::count_if(golden_.begin(), golden_.end(), [](const auto& one) { return one.first.starts_with("before."); });
    EXPECT_EQ(parameters_.size(), stored);
    session_->step(batch_, 0.1f);
    EXPECT_LT(distance(session_->logits(), golden_.at("logits")), 1e-5);
    parameters_.download();
    for (int i = 0; i < parameters_.size(); ++i) {
        const std::string& name = parameters_[{i}].name;
        const std::vector<float>& expected = golden_.at("gradient." + name);
        // What comes before an InstanceNorm's mean has no gradient: rounding alone is in PyTorch's.
        if (name.ends_with(".conv.bias")) {
            for (const float value : values_of(i, true)) EXPECT_LT(std::abs(value), 1e-6) << name;
            continue;
        }
        EXPECT_LT(distance(values_of(i, true), expected), of_gradients) << name;
    }
    session_->step(batch_, 0.1f);
    session_->step(batch_, 0.1f);
    parameters_.download();
    for (int i = 0; i < parameters_.size(); ++i)
        EXPECT_LT(distance(values_of(i, false), golden_.at("after." + parameters_[{i}].name)), 1e-5)
            << parameters_[{i}].name;
}

INSTANTIATE_TEST_SUITE_P(On, TrainedUnets,
                         testing::Combine(testing::Values(TestBackend::cpu, TestBackend::simt, TestBackend::cuda),
                                          testing::Values("plain_unet", "residual_encoder_unet", "basic_unet")),
                         [](const auto& one) {
                             return std::string(name_of(std::get<0>(one.param))) + "_" + std::get<1>(one.param);
                         });

TEST(PlainUnetFile, TellsTheNetworkThatItIsOf) {
    const auto file = std::filesystem::temp_directory_path() / ("plain_unet_" + std::to_string(getpid()));
    Context context({.device = "cpu", .threads = 1});
    const Network network = plain_unet(
        {.in_channels = 2, .widths = {3, 4}, .strides = {1, {1, 2, 2}}, .convs = {3, 3}, .decoder_convs = {3}});
    EXPECT_EQ(network.divisor, 2);
    {
        Parameters parameters;
        const GridPredictor predictor(context, parameters, network, {8, 8});
        initialise(context, parameters, 3);
        parameters.save(file);
    }
    const Network read = plain_unet_of_weights(file.string());
    EXPECT_EQ(read.in_channels, 2);
    EXPECT_EQ(read.out_channels, 1);
    EXPECT_EQ(read.widths, (std::vector<int>{3, 4}));
    EXPECT_EQ(read.divisor, 2);
    Predictor predictor(context, read, file, {.patch = 8, .overlap = 0.5});
    const std::vector<float> image(2 * 5 * 9 * 7, 0.5f);
    EXPECT_EQ(predictor.predict(image, {5, 9, 7}).probability.size(), 5u * 9 * 7);
    std::filesystem::remove(file);
    EXPECT_THROW(plain_unet_of_weights(golden_file("unet_two_channel.weights.safetensors").string()), InputError);
}

TEST(PlainUnetFile, TellsOfEachStageByItselfAndOfItsStyle) {
    const auto file = std::filesystem::temp_directory_path() / ("styled_unet_" + std::to_string(getpid()));
    Context context({.device = "cpu", .threads = 1});
    const UnetStyle style{.conv_bias = false, .epsilon = 0.1f, .slope = 0.3f};
    const Network network =
        plain_unet({.widths = {3, 4, 4}, .convs = {1, 3, 2}, .decoder_convs = {2, 1}, .style = style});
    Parameters parameters;
    GridPredictor predictor(context, parameters, network, {8, 8});
    initialise(context, parameters, 3);
    for (const Parameter& parameter : parameters.list())
        EXPECT_TRUE(parameter.name.find("conv.bias") == std::string::npos) << parameter.name;
    parameters.save(file, style_metadata(style));
    std::vector<float> image(8 * 8 * 8);
    for (std::size_t i = 0; i < image.size(); ++i) image[i] = static_cast<float>(i * 7 % 31) / 31 - 0.5f;
    const std::vector<float> expected = predictor.predict(image.data(), 8, 8, 8).logit;
    Predictor read(context, plain_unet_of_weights(file.string()), file, {.patch = 8, .overlap = 0});
    EXPECT_EQ(read.predict(image, {8, 8, 8}).logit, expected);
    parameters.save(file);
    Predictor without(context, plain_unet_of_weights(file.string()), file, {.patch = 8, .overlap = 0});
    EXPECT_NE(without.predict(image, {8, 8, 8}).logit, expected) << "epsilon and slope change nothing";
    parameters.save(file, {{"unet_style", "{\"epsilon\": \"small\"}"}});
    EXPECT_THROW(plain_unet_of_weights(file.string()), InputError);
    std::filesystem::remove(file);
}

TEST(ResidualEncoderUnetFile, TellsTheNetworkThatItIsOf) {
    const auto from = std::filesystem::temp_directory_path() / ("residual_unet_" + std::to_string(getpid()));
    Context context({.device = "cpu", .threads = 1});
    const ResidualEncoderUnetOptions options{.in_channels = 2,
                                             .out_channels = 1,
                                             .widths = {3, 4, 4},
                                             .strides = {1, {1, 2, 2}, 2},
                                             .kernels = {{1, 3, 3}, 3, 3},
                                             .blocks = {1, 3, 2},
                                             .decoder_convs = {2, 2}};
    Parameters parameters;
    {
        const GridPredictor predictor(context, parameters, residual_encoder_unet(options), {8, 8});
        initialise(context, parameters, 3);
        parameters.save(from);
    }
    const Network read = network_of_weights(from.string());
    EXPECT_EQ(read.name, "residual_encoder_unet");
    EXPECT_EQ(read.in_channels, 2);
    EXPECT_EQ(read.out_channels, 1);
    EXPECT_EQ(read.widths, options.widths);
    EXPECT_EQ(read.divisor, 4);
    Parameters again;
    const GridPredictor predictor(context, again, read, {8, 8});
    EXPECT_EQ(again.size(), parameters.size()) << "as many blocks and convolutions";
    again.load(from);
    std::filesystem::remove(from);
    const std::string other = golden_file("unet_two_channel.weights.safetensors").string();
    try {
        residual_encoder_unet_of_weights(other);
        FAIL() << "weights of another network were taken";
    } catch (const InputError& error) {
        EXPECT_TRUE(std::string(error.what()).starts_with(other)) << error.what();
    }
}

TEST(BasicUnetFile, TellsTheNetworkThatItIsOf) {
    const auto file = std::filesystem::temp_directory_path() / ("basic_unet_" + std::to_string(getpid()));
    Context context({.device = "cpu", .threads = 1});
    const std::vector<int> widths{3, 5, 4, 2, 7, 6};
    Parameters parameters;
    {
        const GridPredictor predictor(context, parameters, make_network("basic_unet", 2, widths), {32, 32});
        initialise(context, parameters, 3);
        parameters.save(file);
    }
    const Network read = network_of_weights(file.string());
    EXPECT_EQ(read.name, "basic_unet");
    EXPECT_EQ(read.in_channels, 2);
    EXPECT_EQ(read.out_channels, 1);
    EXPECT_EQ(read.widths, widths);
    EXPECT_EQ(read.divisor, 16);
    Parameters again;
    const GridPredictor predictor(context, again, read, {32, 32});
    EXPECT_EQ(again.size(), parameters.size());
    again.load(file);
    std::filesystem::remove(file);
}

TEST(BasicUnetWidths, ThatItDoesNotHaveAreRefused) {
    for (const std::vector<int>& bad : {std::vector<int>{}, {4, 4, 4, 4}, {4, 4, 4, 4, 4, 4, 4}, {4, 4, 4, 4, 1, 4}})
        EXPECT_THROW(make_network("basic_unet", 1, bad), InputError);
    Graph graph;
    const Network network = make_network("basic_unet", 1, {1, 1, 2, 2, 2, 1});
    EXPECT_THROW(network.build(graph.input("odd", {1, 1, 16, 33, 16})), InputError);
    EXPECT_THROW(network.build(graph.input("one voxel", {1, 1, 16, 16, 16})), InputError);
    EXPECT_EQ(network.build(graph.input("patch", {1, 1, 16, 32, 48})).shape(), (Shape{1, 1, 16, 32, 48}));
}

TEST(PlainUnetFile, OfStridesThatNoNetworkHasIsRefused) {
    const auto file = std::filesystem::temp_directory_path() / ("wide_strides_" + std::to_string(getpid()));
    const std::string stage = "encoder.stages.";
    std::map<std::string, std::vector<std::int64_t>> shapes;
    for (const char* i : {"0", "1", "2"}) shapes[stage + i + ".0.convs.0.conv.weight"] = {1, 1, 1, 1, 1};
    for (const char* i : {"0", "1"}) {
        shapes["decoder.transpconvs." + std::string(i) + ".weight"] = {1, 1, 256, 1, 1};  // 2^32 in all
        shapes["decoder.stages." + std::string(i) + ".convs.0.conv.weight"] = {1, 2, 1, 1, 1};
        shapes["decoder.seg_layers." + std::string(i) + ".weight"] = {1, 1, 1, 1, 1};
    }
    Parameters parameters;
    for (const auto& [name, shape] : shapes) parameters.declare({name, shape});
    parameters.save(file);
    EXPECT_THROW(plain_unet_of_weights(file.string()), InputError);
    std::filesystem::remove(file);
}

TEST(PlainUnetOptions, ThatDoNotFitTogetherAreRefused) {
    for (const PlainUnetOptions& bad :
         {PlainUnetOptions{.widths = {4}}, PlainUnetOptions{.widths = {4, 8}, .strides = {1}},
          PlainUnetOptions{.widths = {4, 8}, .kernels = {3, 3, 3}}, PlainUnetOptions{.convs = {0}},
          PlainUnetOptions{.widths = {4, 8}, .strides = {1, 0}}, PlainUnetOptions{.widths = {4, 8}, .kernels = {3, 9}},
          PlainUnetOptions{.widths = std::vector<int>(13, 4), .strides = std::vector<Sides>(13, 7)}})
        EXPECT_THROW(plain_unet(bad), InputError);
    EXPECT_THROW(residual_encoder_unet({.widths = {4, 8}, .blocks = {1, 0}}), InputError);
    EXPECT_THROW(residual_encoder_unet({.widths = {4, 8}, .blocks = {1}}), InputError);
    Graph graph;
    const Network network = plain_unet({.widths = {4, 8}});
    EXPECT_THROW(network.build(graph.input("odd", {1, 1, 6, 7, 8})), InputError);
    EXPECT_THROW(network.build(graph.input("one voxel", {1, 1, 2, 2, 2})), InputError);
}

}  // namespace
}  // namespace iwseg
