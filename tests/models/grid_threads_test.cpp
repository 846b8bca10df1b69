// One predictor and several threads: each gets what it would get alone.
#include <gtest/gtest.h>

#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/extent.h"
#include "engine/context.h"
#include "engine/initialisation.h"
#include "models/grid_prediction.h"
#include "models/unet.h"

namespace iwseg {
namespace {

class GridThreads : public testing::Test {
  protected:
    GridThreads() { initialise(context, parameters, 3); }

    static std::vector<float> noise(const Extent& shape, unsigned seed) {
        std::mt19937 random(seed);
        std::normal_distribution<float> normal;
        std::vector<float> image(static_cast<std::size_t>(shape[0] * shape[1] * shape[2]));
        for (float& value : image) value = normal(random);
        return image;
    }

    Context context{{.device = "cpu", .threads = 2}};
    Parameters parameters;
    GridPredictor predictor{context, parameters, unet({1, 1, {4, 4, 8, 8}}), {11, 7}};
};

TEST_F(GridThreads, AtOnceGetWhatEachGetsAlone) {
    const unsigned seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    // Of different sizes, so that one's sums in the other's place would not go unnoticed.
    const std::vector<Extent> shapes{{13, 9, 17}, {8, 21, 12}, {30, 5, 9}};
    std::vector<Prediction> found(shapes.size());
    std::vector<std::vector<float>> images;
    for (std::size_t i = 0; i < shapes.size(); ++i) images.push_back(noise(shapes[i], seed + static_cast<unsigned>(i)));
    const auto predict = [&](std::size_t i) {
        return predictor.predict(images[i].data(), shapes[i][0], shapes[i][1], shapes[i][2]);
    };
    // Together first: the first call of all makes the plan.
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < shapes.size(); ++i)
        threads.emplace_back([&, i] {
            for (int time = 0; time < 3; ++time) found[i] = predict(i);
        });
    for (std::thread& thread : threads) thread.join();
    for (std::size_t i = 0; i < shapes.size(); ++i) {
        const Prediction expected = predict(i);
        EXPECT_TRUE(found[i].logit == expected.logit) << i;
        EXPECT_TRUE(found[i].probability == expected.probability) << i;
    }
}

TEST_F(GridThreads, ACallFromItsOwnProgressIsRefusedAndLeavesThePredictorUsable) {
    const Extent shape{9, 9, 9};
    const std::vector<float> image = noise(shape, 1);
    const auto predict = [&](const PatchProgress& progress) {
        return predictor.predict(image.data(), 9, 9, 9, progress);
    };
    EXPECT_THROW(predict([&](std::int64_t, std::int64_t) { predict({}); }), std::logic_error);
    EXPECT_EQ(predict({}).logit.size(), image.size());
}

}  // namespace
}  // namespace iwseg
