// Windows: where they begin, how they count, and that what comes out does not depend on how it was cut.
#include "models/sliding_window.h"

#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>

#include "engine/initialisation.h"
#include "engine/ops/conv.h"
#include "tests/support/backends.h"
#include "tests/support/refusal.h"

namespace iwseg {
namespace {

TEST(SlidingWindows, BeginWhereThoseOfNnunetDo) {
    using Starts = std::vector<std::int64_t>;
    EXPECT_EQ(window_starts(110, 64, 0.5), (Starts{0, 23, 46}));
    EXPECT_EQ(window_starts(64, 64, 0.5), Starts{0});
    EXPECT_EQ(window_starts(65, 64, 0.5), (Starts{0, 1}));
    EXPECT_EQ(window_starts(13, 8, 1), (Starts{0, 5}));
    EXPECT_EQ(window_starts(7, 2, 0.5), (Starts{0, 1, 2, 3, 4, 5}));
    EXPECT_EQ(window_starts(9, 4, 0.5), (Starts{0, 2, 3, 5})) << "5/3 and 10/3, rounded";
    EXPECT_EQ(window_starts(12, 5, 0.7), (Starts{0, 4, 7})) << "3.5 is rounded to the even";
    EXPECT_THROW(window_starts(7, 8, 0.5), std::invalid_argument);
}

TEST(SlidingWindows, CountByAGaussian) {
    // By compute_gaussian((4, 3, 8), value_scaling_factor=10, device='cpu') of nnU-Net 2.8.1.
    const std::vector<float> weights = gaussian_importance({4, 3, 8});
    ASSERT_EQ(weights.size(), 96u);
    const auto at = [&](int d, int h, int w) { return weights[static_cast<std::size_t>((d * 3 + h) * 8 + w)]; };
    EXPECT_EQ(at(2, 1, 4), 10.0f);
    EXPECT_EQ(at(0, 0, 0), 5.96046448e-08f);
    EXPECT_EQ(at(1, 1, 4), 1.35351562f);
    EXPECT_EQ(at(2, 0, 4), 0.285644531f);
    EXPECT_EQ(at(2, 1, 3), 6.06640625f);
    EXPECT_EQ(at(2, 1, 0), 0.00335502625f);
    EXPECT_EQ(at(3, 2, 7), 0.000429391861f);
    EXPECT_EQ(at(1, 2, 5), 0.0234527588f);
}

/// A network whose result at a voxel depends on that voxel alone: windows change nothing.
Network pointwise() {
    Network network([](Tensor x) { return conv(x, {.channels = 3, .kernel = 1}); });
    network.in_channels = 2;
    network.out_channels = 3;
    return network;
}

class SlidingWindowsOn : public testing::TestWithParam<TestBackend> {
  protected:
    void SetUp() override { IWSEG_SKIP_WITHOUT_DEVICE(GetParam()); }
    Context context(int threads = 1) const { return Context(backend_of(GetParam()), {.threads = threads}); }

    std::vector<float> predict(SlidingWindow& window, const Extent& extent) {
        std::vector<float> image(static_cast<std::size_t>(2 * extent[0] * extent[1] * extent[2]));
        for (std::size_t i = 0; i < image.size(); ++i) image[i] = static_cast<float>(i * 37 % 101) / 50 - 1;
        const std::int64_t plane = 3 * extent[1] * extent[2];
        std::vector<float> all;
        window.predict(image.data(), extent, [&](std::int64_t d, const float* logits) {
            EXPECT_EQ(d * plane, static_cast<std::int64_t>(all.size()));
            all.insert(all.end(), logits, logits + plane);
        });
        EXPECT_EQ(static_cast<std::int64_t>(all.size()), plane * extent[0]);
        return all;
    }
};

TEST_P(SlidingWindowsOn, AreSeamless) {
    Context device = context();
    for (const Extent& extent : {Extent{9, 7, 5}, Extent{3, 20, 6}, Extent{4, 4, 4}, Extent{1, 1, 13}}) {
        std::vector<float> expected;
        for (const SlidingWindowOptions& options :
             {SlidingWindowOptions{.patch = {20, 20, 20}, .gaussian = false}, SlidingWindowOptions{.patch = {4, 5, 3}},
              SlidingWindowOptions{.patch = {4, 2, 6}, .step = 0.3},
              SlidingWindowOptions{.patch = {2, 5, 4}, .step = 1, .mirror = {0, 2}},
              SlidingWindowOptions{.patch = {5, 3, 4}, .gaussian = false, .mirror = {2, 1, 0}}}) {
            SlidingWindow window(device, pointwise(), options);
            window.add_weights([&](Parameters& network) { initialise(device, network, 5); });
            const std::vector<float> made = predict(window, extent);
            if (expected.empty()) expected = made;
            // Sums of some ten patches in f32.
            for (std::size_t i = 0; i < made.size(); ++i) ASSERT_NEAR(made[i], expected[i], 1e-5) << i;
        }
    }
}

TEST_P(SlidingWindowsOn, AverageNetworks) {
    Context device = context();
    const SlidingWindowOptions options{.patch = {4, 5, 3}};
    std::vector<std::vector<float>> alone;
    SlidingWindow both(device, pointwise(), options);
    for (const std::uint64_t seed : {3, 4}) {
        SlidingWindow one(device, pointwise(), options);
        for (SlidingWindow* window : {&one, &both})
            window->add_weights([&](Parameters& network) { initialise(device, network, seed); });
        alone.push_back(predict(one, {6, 7, 8}));
    }
    const std::vector<float> made = predict(both, {6, 7, 8});
    for (std::size_t i = 0; i < made.size(); ++i) ASSERT_NEAR(made[i], (alone[0][i] + alone[1][i]) / 2, 1e-5) << i;
    EXPECT_EQ(both.patches({6, 7, 8}), 2 * 2 * 2 * 5);
    // One that cannot be loaded leaves those before it as they were.
    const auto fail = [](Parameters& network) {
        network.values().assign(network.values().size(), 7.0f);
        throw std::runtime_error("no such file");
    };
    EXPECT_THROW(both.add_weights(fail), std::runtime_error);
    EXPECT_EQ(predict(both, {6, 7, 8}), made);
    // What parameters() holds, in place of both; changed there, it is another network.
    initialise(device, both.parameters(), 3);
    both.parameters().upload();
    both.use_weights();
    EXPECT_EQ(predict(both, {6, 7, 8}), alone[0]);
    initialise(device, both.parameters(), 4);
    both.parameters().upload();
    EXPECT_EQ(predict(both, {6, 7, 8}), alone[1]);
}

INSTANTIATE_TEST_SUITE_P(On, SlidingWindowsOn, testing::Values(TestBackend::cpu, TestBackend::simt, TestBackend::cuda),
                         [](const auto& one) { return name_of(one.param); });

TEST(SlidingWindows, OfThreeAxesSeeMirroredPatches) {
    // Each voxel becomes its neighbour after it along W: mirrored, the one before.
    Network shift([](Tensor x) { return conv(x, {.channels = 1, .kernel = {1, 1, 3}, .bias = false}); });
    Context device({.device = "cpu", .threads = 1});
    const float image[] = {1, 2, 4, 8};
    const auto predict = [&](std::vector<int> mirror) {
        SlidingWindow window(device, shift, {.patch = {1, 1, 4}, .mirror = std::move(mirror)});
        window.add_weights([](Parameters& network) { network.values() = {0, 0, 1}; });
        std::vector<float> all;
        window.predict(image, {1, 1, 4}, [&](std::int64_t, const float* logits) { all.assign(logits, logits + 4); });
        return all;
    };
    EXPECT_EQ(predict({}), (std::vector<float>{2, 4, 8, 0}));
    EXPECT_EQ(predict({2}), (std::vector<float>{1, 2.5f, 5, 2}));
    EXPECT_EQ(predict({0, 1}), (std::vector<float>{2, 4, 8, 0}));
}

TEST(SlidingWindows, RefuseWhatIsNotUsable) {
    Context device({.device = "cpu", .threads = 1});
    const auto refused = [&](const SlidingWindowOptions& options) {
        return refusal([&] { SlidingWindow(device, pointwise(), options); });
    };
    EXPECT_TRUE(says(refused({.patch = {4, 0, 4}}), "a side of 0"));
    EXPECT_TRUE(says(refused({.patch = 4, .step = 0}), "0.01 to 1"));
    EXPECT_TRUE(says(refused({.patch = 4, .mirror = {3}}), "the axes 0, 1 and 2"));
    EXPECT_TRUE(says(refused({.patch = 4, .mirror = {1, 1}}), "each once"));
    SlidingWindow window(device, pointwise(), {.patch = 4});
    const float image[2] = {};
    EXPECT_THROW(window.predict(image, {1, 1, 1}, {}), std::logic_error);
}

}  // namespace
}  // namespace iwseg
