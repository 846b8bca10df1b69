// A whole bf16 network whose convolutions are by tiles, run on the model of the tile instructions.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "kernels/convolution/amx/amx_convolution.h"
#include "models/plain_unet.h"
#include "models/unet.h"
#include "tests/support/fused_step.h"
#include "tests/support/predicted.h"
#include "tests/support/tile_model.h"

namespace iwseg {
namespace {

int by_tiles = 0;

/// The CPU's functions as on a processor with AMX.
const Backend& with_tiles() {
    static const Backend table = [] {
        Backend with = cpu::backend();
        with.preferred_layout = [](std::int64_t) { return Layout::blocked16; };
        with.make_convolution = [](Stream stream, const ConvolutionOptions& options, ConvolutionPasses passes) {
            if (!cpu::amx_takes(options)) return cpu::make_convolution(stream, options, passes);
            ++by_tiles;
            return cpu::make_amx_convolution(stream, options, passes, TileModel::products());
        };
        return with;
    }();
    return table;
}

/// A step of a U-Net with strided and transposed convolutions, of tensors of one block of channels and of several.
struct OneStep {
    Parameters parameters;
    double loss = 0;

    OneStep(const Backend& backend, int threads) {
        Context context(backend, {.threads = threads});
        TrainingOptions options;
        options.network = plain_unet({1, 1, {16, 40, 24}});
        options.loss = loss_from_name("bce");
        options.bf16 = true;
        options.input = {1, 1, 8, 12, 20};
        TrainingSession session(context, parameters, options);
        initialise(context, parameters, 3);
        std::mt19937 random(1);
        Batch batch;
        batch.shape = options.input;
        for (std::int64_t i = 0; i < options.input.elements(); ++i) {
            batch.image.push_back(2 + std::normal_distribution<float>()(random));
            batch.target.push_back(random() % 8 == 0);
        }
        loss = session.step(batch, 1e-2f);
        parameters.download();
    }
};

/// Tolerances as in expect_same_step, for the same reason; native bf16 and bf16 widened to f32 differ by 0.04 here too.
TEST(AmxNetwork, TrainsAsByOtherConvolutions) {
    by_tiles = 0;
    const OneStep tiles(with_tiles(), 2), others(cpu::backend(), 2);
    EXPECT_EQ(by_tiles, 11) << "all but the first and the last";
    EXPECT_NEAR(tiles.loss, others.loss, 5e-3 * others.loss);
    EXPECT_LT(relative_difference(tiles.parameters, others.parameters, true), 0.1);
    EXPECT_GT(relative_difference(tiles.parameters, others.parameters, true), 0) << "the same ones";
}

TEST(AmxNetwork, AStepHasTheSameBytesOnAnyNumberOfThreads) {
    const OneStep one(with_tiles(), 1);
    for (const int threads : {2, 5}) {
        const OneStep several(with_tiles(), threads);
        EXPECT_EQ(several.loss, one.loss) << threads;
        for (int i = 0; i < one.parameters.size(); ++i) {
            const Parameter& parameter = one.parameters[{i}];
            // The first convolution, of the image's one channel, may be oneDNN's, whose gradient each thread adds up.
            if (parameter.shape.size() == 5 && parameter.shape[1] == 1 && parameter.shape[2] == 3) continue;
            const float *a = one.parameters.gradient({i}), *b = several.parameters.gradient({i});
            EXPECT_TRUE(std::equal(a, a + parameter.elements, b)) << threads << " threads, " << parameter.name;
        }
    }
}

std::unique_ptr<Convolution> make_with_tiles(Stream stream, const ConvolutionOptions& options,
                                             ConvolutionPasses passes) {
    return with_tiles().make_convolution(stream, options, passes);
}

// Normalisations and ReLU behind convolutions, of results that others read and that nobody else does. Each result is
// rounded to bf16, here and there at other places: of some forty convolutions in a row 2^-5 of the largest value.
TEST(AmxNetwork, PredictsAsWithPassesForWhatFollowsConvolutions) {
    const Backend passes = without_epilogues<&make_with_tiles>(with_tiles());
    const auto build = [](Tensor image) { return std::vector{unet(image, {1, 1, {16, 24, 40, 32}})}; };
    Predicted fused(with_tiles(), build, {1, 1, 8, 16, 16}, true), unfused(passes, build, {1, 1, 8, 16, 16}, true);
    // All but those behind a pooling, the skips' and the one behind the last convolution of another.
    EXPECT_LE(fused.calls("batch norm forward"), 10);
    EXPECT_EQ(unfused.calls("batch norm forward"), 38);
    const auto got = fused.run(), expected = unfused.run();
    EXPECT_LE(largest_difference(got[0], expected[0]), 0.03 * largest(expected[0]));
}

}  // namespace
}  // namespace iwseg
