// The C interface, called as C programs call it.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "engine/initialisation.h"
#include "engine/parameters.h"
#include "include/iwseg/c_api.h"
#include "kernels/components/components_of.h"
#include "models/predictor.h"
#include "models/unet.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

class CInterface : public testing::Test {
  protected:
    ~CInterface() override {
        iwseg_close(model_);
        fs::remove(file_);
    }

    /// Random weights of a small network of two channels, and beside them a mask.
    void save(const PredictionSettings& settings) {
        Context context({.device = "cpu", .threads = 1});
        Parameters parameters;
        const GridPredictor declares(context, parameters, unet({.in_channels = 2, .widths = {3, 4, 5, 6}}), {16, 16});
        initialise(context, parameters, random_());
        auto metadata = metadata_of(settings);
        metadata["operating_point"] = R"({"threshold": 0.25, "min_volume": 12})";
        parameters.save(file_, metadata);
    }
    static PredictionSettings settings() {
        return {
            .intensity = {Intensity::Kind::zscore}, .channels = {"FLAIR", "T1"}, .grid = {.patch = 14, .stride = 9}};
    }
    void open() { ASSERT_EQ(iwseg_open(file_.c_str(), "cpu", 2, &model_), IWSEG_OK) << iwseg_last_error(); }
    std::vector<float> image(std::int64_t channels) {
        std::normal_distribution<float> draw(100, 50);
        std::vector<float> values(static_cast<std::size_t>(channels * kVoxels));
        for (float& value : values) value = random_() % 3 ? draw(random_) : 0.0f;
        return values;
    }

    std::mt19937 random_{std::random_device{}()};
    std::string file_ =
        (fs::path(testing::TempDir()) / ("c_interface_" + std::to_string(::getpid()) + ".safetensors")).string();
    iwseg_model* model_ = nullptr;
    static constexpr std::int64_t kShape[3] = {17, 12, 21}, kVoxels = 17 * 12 * 21;
    static constexpr double kSpacing[3] = {3, 0.9, 1.1};
};

TEST_F(CInterface, PredictsWhatThePredictorDoes) {
    save(settings());
    open();
    const std::vector<float> raw = image(2), before = raw;
    std::vector<float> probability(kVoxels);
    std::vector<std::uint8_t> mask(kVoxels, 9);
    ASSERT_EQ(iwseg_predict(model_, raw.data(), kShape, kSpacing, probability.data(), mask.data()), IWSEG_OK)
        << iwseg_last_error();
    Predictor predictor = Predictor::from_file(Context({.device = "cpu", .threads = 1}), file_);
    const Extent extent{kShape[0], kShape[1], kShape[2]};
    const Prediction expected = predictor.predict(raw, extent);
    EXPECT_TRUE(probability == expected.probability);
    EXPECT_TRUE(mask == predictor.mask(expected.probability, extent, {3, 0.9, 1.1}));
    EXPECT_TRUE(raw == before);
    // One of the two alone.
    std::vector<std::uint8_t> mask_alone(kVoxels, 9);
    EXPECT_EQ(iwseg_predict(model_, raw.data(), kShape, kSpacing, nullptr, mask_alone.data()), IWSEG_OK);
    EXPECT_TRUE(mask_alone == mask);
    std::vector<float> alone(kVoxels);
    EXPECT_EQ(iwseg_predict(model_, raw.data(), kShape, nullptr, alone.data(), nullptr), IWSEG_OK);
    EXPECT_TRUE(alone == probability);
}

TEST_F(CInterface, SaysWhatTheModelTakes) {
    PredictionSettings with_mask = settings();
    with_mask.mask_channel = "brain";
    save(with_mask);
    open();
    int count = 0;
    EXPECT_EQ(iwseg_channel_count(model_, &count), IWSEG_OK);
    EXPECT_EQ(count, 3);
    const char* name = nullptr;
    std::string names;
    for (int channel = 0; channel < count; ++channel) {
        EXPECT_EQ(iwseg_channel_name(model_, channel, &name), IWSEG_OK);
        names += std::string(name) + " ";
    }
    EXPECT_EQ(names, "FLAIR T1 brain ");
    float threshold = 0;
    double volume = 0;
    EXPECT_EQ(iwseg_mask_rule(model_, &threshold, &volume), IWSEG_OK);
    EXPECT_EQ(threshold, 0.25f);
    EXPECT_EQ(volume, 12);
    const char* device = nullptr;
    EXPECT_EQ(iwseg_device(model_, &device), IWSEG_OK);
    EXPECT_NE(std::string(device).find("2 threads"), std::string::npos) << device;
    std::int64_t small = 0, large = 0;
    const std::int64_t larger[3] = {34, 12, 21};
    EXPECT_EQ(iwseg_prediction_bytes(model_, kShape, &small), IWSEG_OK);
    EXPECT_EQ(iwseg_prediction_bytes(model_, larger, &large), IWSEG_OK);
    // What is prepared of three channels, logits and probabilities.
    EXPECT_EQ(large - small, 4 * (3 + 2) * kVoxels);
}

TEST_F(CInterface, AFileThatDoesNotNameItsChannelsHasNamelessOnes) {
    PredictionSettings nameless = settings();
    nameless.channels.clear();
    save(nameless);
    open();
    const char* name = "x";
    EXPECT_EQ(iwseg_channel_name(model_, 1, &name), IWSEG_OK);
    EXPECT_EQ(std::string(name), "");
}

TEST_F(CInterface, WrongCallsAreRefusedInASentenceAndLeaveTheModelUsable) {
    EXPECT_EQ(iwseg_open("/nowhere/w.safetensors", nullptr, 0, &model_), IWSEG_UNUSABLE);
    EXPECT_EQ(model_, nullptr);
    EXPECT_NE(std::string(iwseg_last_error()).find("/nowhere/w.safetensors"), std::string::npos) << iwseg_last_error();
    save(settings());
    EXPECT_EQ(iwseg_open(file_.c_str(), "abacus", 0, &model_), IWSEG_UNUSABLE);
    EXPECT_NE(std::string(iwseg_last_error()).find("abacus"), std::string::npos) << iwseg_last_error();
    EXPECT_EQ(iwseg_open(file_.c_str(), "cpu", -1, &model_), IWSEG_BAD_ARGUMENT);
    EXPECT_EQ(iwseg_open(nullptr, "cpu", 0, &model_), IWSEG_BAD_ARGUMENT);
    EXPECT_EQ(iwseg_open(file_.c_str(), "cpu", 0, nullptr), IWSEG_BAD_ARGUMENT);
    open();
    std::vector<float> raw = image(2), probability(kVoxels);
    std::vector<std::uint8_t> mask(kVoxels);
    struct Shape3 {
        std::int64_t sides[3];
    };
    for (const Shape3& bad : {Shape3{{0, 12, 21}}, Shape3{{17, -1, 21}}, Shape3{{1 << 16, 1 << 16, 1}},
                              Shape3{{std::numeric_limits<std::int64_t>::max(), 2, 2}}}) {
        EXPECT_EQ(iwseg_predict(model_, raw.data(), bad.sides, kSpacing, probability.data(), nullptr),
                  IWSEG_BAD_ARGUMENT);
        EXPECT_NE(std::string(iwseg_last_error()).find("iwseg_predict: a shape of "), std::string::npos)
            << iwseg_last_error();
        std::int64_t bytes = 0;
        EXPECT_EQ(iwseg_prediction_bytes(model_, bad.sides, &bytes), IWSEG_BAD_ARGUMENT);
    }
    EXPECT_EQ(iwseg_predict(model_, raw.data(), kShape, kSpacing, nullptr, nullptr), IWSEG_BAD_ARGUMENT);
    EXPECT_EQ(iwseg_predict(model_, nullptr, kShape, kSpacing, probability.data(), nullptr), IWSEG_BAD_ARGUMENT);
    EXPECT_EQ(iwseg_predict(model_, raw.data(), nullptr, kSpacing, probability.data(), nullptr), IWSEG_BAD_ARGUMENT);
    EXPECT_EQ(iwseg_predict(model_, raw.data(), kShape, nullptr, nullptr, mask.data()), IWSEG_BAD_ARGUMENT);
    EXPECT_EQ(iwseg_predict(nullptr, raw.data(), kShape, kSpacing, probability.data(), nullptr), IWSEG_BAD_ARGUMENT);
    const double flat[3] = {1, 0, 1};
    EXPECT_EQ(iwseg_predict(model_, raw.data(), kShape, flat, nullptr, mask.data()), IWSEG_UNUSABLE);
    raw[4999] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_EQ(iwseg_predict(model_, raw.data(), kShape, kSpacing, probability.data(), nullptr), IWSEG_UNUSABLE);
    EXPECT_NE(std::string(iwseg_last_error()).find("channel 1 (T1) of the image holds nan at voxel 715"),
              std::string::npos)
        << iwseg_last_error();
    const char* name = nullptr;
    EXPECT_EQ(iwseg_channel_name(model_, 2, &name), IWSEG_BAD_ARGUMENT);
    EXPECT_EQ(iwseg_channel_name(model_, -1, &name), IWSEG_BAD_ARGUMENT);
    iwseg_close(nullptr);
    raw[4999] = 0;
    EXPECT_EQ(iwseg_predict(model_, raw.data(), kShape, kSpacing, probability.data(), nullptr), IWSEG_OK);
}

TEST_F(CInterface, ALongSentenceEndsWithAWholeCharacter) {
    for (const std::size_t begin : {0, 1}) {
        std::string name = "/" + std::string(begin, 'x');
        while (name.size() < 3000) name += "\u00e9";
        EXPECT_EQ(iwseg_open(name.c_str(), "cpu", 0, &model_), IWSEG_UNUSABLE);
        const std::string text = iwseg_last_error();
        EXPECT_GT(text.size(), 2000u);
        EXPECT_EQ(text.substr(text.size() - 2), "\u00e9");
    }
}

TEST_F(CInterface, EachThreadHasItsOwnLastError) {
    EXPECT_EQ(iwseg_open("/nowhere/here", "cpu", 0, &model_), IWSEG_UNUSABLE);
    std::string fresh = "x", other;
    std::thread([&] {
        iwseg_model* model = nullptr;
        fresh = iwseg_last_error();
        iwseg_open("/nowhere/there", "cpu", 0, &model);
        other = iwseg_last_error();
    }).join();
    EXPECT_EQ(fresh, "");
    EXPECT_NE(other.find("/nowhere/there"), std::string::npos);
    EXPECT_NE(std::string(iwseg_last_error()).find("/nowhere/here"), std::string::npos);
}

TEST_F(CInterface, ThreadsOnOneModelTakeTurnsAndOnTwoDoNotMeet) {
    save(settings());
    open();
    iwseg_model* second = nullptr;
    ASSERT_EQ(iwseg_open(file_.c_str(), "cpu", 1, &second), IWSEG_OK);
    std::vector<std::vector<float>> images, found(6, std::vector<float>(kVoxels));
    for (int i = 0; i < 3; ++i) images.push_back(image(2));
    std::vector<std::thread> threads;
    std::vector<int> statuses(6, -1);
    for (int i = 0; i < 6; ++i)
        threads.emplace_back([&, i] {
            for (int time = 0; time < 2; ++time)
                statuses[i] = iwseg_predict(i % 2 ? second : model_, images[i / 2].data(), kShape, nullptr,
                                            found[i].data(), nullptr);
        });
    for (std::thread& thread : threads) thread.join();
    for (int i = 0; i < 6; ++i) {
        EXPECT_EQ(statuses[i], IWSEG_OK);
        std::vector<float> alone(kVoxels);
        EXPECT_EQ(iwseg_predict(model_, images[i / 2].data(), kShape, nullptr, alone.data(), nullptr), IWSEG_OK);
        EXPECT_TRUE(found[i] == alone) << i;
    }
    iwseg_close(second);
}

TEST_F(CInterface, ComponentsAreLabelledAndTheFirstSizesGiven) {
    std::vector<std::uint8_t> mask(kVoxels);
    for (std::uint8_t& voxel : mask) voxel = random_() % 8 == 0 ? 3 : 0;
    const Components expected = components_of(mask, {kShape[0], kShape[1], kShape[2]}, 6);
    std::vector<std::int64_t> sizes(static_cast<std::size_t>(expected.count));
    for (const std::int32_t label : expected.labels)
        if (label > 0) ++sizes[static_cast<std::size_t>(label - 1)];
    std::vector<std::int32_t> labels(kVoxels);
    std::int32_t count = 0;
    for (const std::int64_t capacity : {std::int64_t{0}, std::int64_t{5}, std::int64_t{expected.count} + 3}) {
        std::vector<std::int64_t> found(static_cast<std::size_t>(capacity), -7);
        ASSERT_EQ(iwseg_components(mask.data(), kShape, 6, labels.data(), &count, capacity ? found.data() : nullptr,
                                   capacity),
                  IWSEG_OK);
        EXPECT_EQ(count, expected.count);
        EXPECT_TRUE(labels == expected.labels);
        for (std::size_t i = 0; i < found.size(); ++i) EXPECT_EQ(found[i], i < sizes.size() ? sizes[i] : -7);
    }
    EXPECT_EQ(iwseg_components(mask.data(), kShape, 7, labels.data(), &count, nullptr, 0), IWSEG_BAD_ARGUMENT);
    EXPECT_EQ(iwseg_components(mask.data(), kShape, 6, labels.data(), &count, nullptr, 1), IWSEG_BAD_ARGUMENT);
    EXPECT_EQ(iwseg_components(mask.data(), kShape, 6, labels.data(), &count, nullptr, -1), IWSEG_BAD_ARGUMENT);
    EXPECT_EQ(iwseg_components(mask.data(), kShape, 6, nullptr, &count, nullptr, 0), IWSEG_BAD_ARGUMENT);
}

TEST_F(CInterface, InverseWeightsMakeEveryComponentCountAlike) {
    std::vector<std::uint8_t> mask(kVoxels);
    for (std::uint8_t& voxel : mask) voxel = random_() % 9 == 0;
    std::vector<std::int32_t> labels(kVoxels);
    std::int32_t count = 0;
    ASSERT_EQ(iwseg_components(mask.data(), kShape, 26, labels.data(), &count, nullptr, 0), IWSEG_OK);
    std::vector<float> weights(kVoxels);
    ASSERT_EQ(iwseg_inverse_weights(labels.data(), kShape, 1e-6f, 1e9f, weights.data()), IWSEG_OK);
    std::vector<double> sums(static_cast<std::size_t>(count) + 1);
    for (std::int64_t v = 0; v < kVoxels; ++v) sums[static_cast<std::size_t>(labels[v])] += weights[v];
    for (const double sum : sums)  // f32 weights, up to voxels_ of them: 1e-7 each
        EXPECT_NEAR(sum / (static_cast<double>(kVoxels) / (count + 1.0)), 1, 1e-6);
    EXPECT_EQ(iwseg_inverse_weights(labels.data(), kShape, 0, 1, weights.data()), IWSEG_BAD_ARGUMENT);
    EXPECT_EQ(iwseg_inverse_weights(labels.data(), kShape, 2, 1, weights.data()), IWSEG_BAD_ARGUMENT);
    labels[7] = -2;
    EXPECT_EQ(iwseg_inverse_weights(labels.data(), kShape, 1, 2e5f, weights.data()), IWSEG_BAD_ARGUMENT);
    EXPECT_NE(std::string(iwseg_last_error()).find("a label of -2"), std::string::npos) << iwseg_last_error();
}

TEST_F(CInterface, ItsVersionIsThePackages) {
    EXPECT_EQ(std::string(iwseg_version()), IWSEG_PROJECT_VERSION);
}

}  // namespace
}  // namespace iwseg
