// What follows a convolution in prediction, applied by the convolution, beside passes of its own.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "engine/ops/add.h"
#include "engine/ops/batch_norm.h"
#include "engine/ops/conv.h"
#include "engine/ops/relu.h"
#include "engine/ops/transposed_conv.h"
#include "kernels/convolution/onednn/onednn.h"
#include "kernels/convolution/taps/vectors.h"
#include "models/unet.h"
#include "tests/simt/simt_backend.h"
#include "tests/support/predicted.h"

namespace iwseg {
namespace {

/// Whether most convolutions are by the plain loop, which applies none.
bool by_plain_loop() {
    return !cpu::has_onednn() && cpu::best_vectors() == cpu::Vectors::none;
}
constexpr const char* kPlainLoop = "without oneDNN and AVX2 the plain loop convolves, which has no epilogue";

/// The CPU's, with every epilogue a pass of its own.
const Backend& apart() {
    static const Backend table = without_epilogues<&cpu::make_convolution>(cpu::backend());
    return table;
}

/// Some convolutions, each with what may follow it, of odd sizes; the same network each time it is built.
struct DrawnNetwork {
    explicit DrawnNetwork(unsigned seed) : random(seed) {
        shape = {below(1, 2), below(1, 2) * 16, below(3, 7), below(3, 9), below(5, 33)};
        build = [first = random](Tensor x) {
            DrawnNetwork drawn(first);
            return drawn.build_now(x);
        };
    }

    Shape shape;
    Build build;

  private:
    explicit DrawnNetwork(const std::mt19937& state) : random(state) {}

    std::int64_t below(std::int64_t low, std::int64_t high) {
        return std::uniform_int_distribution<std::int64_t>(low, high)(random);
    }
    bool chance() { return below(0, 1) == 1; }
    Tensor activated(Tensor x) {
        switch (below(0, 3)) {
            case 0:
                return x;
            case 1:
                return relu(x);
            case 2:
                return leaky_relu(x);
            default:
                return leaky_relu(x, 0.2f);
        }
    }
    std::vector<Tensor> build_now(Tensor image) {
        std::vector<Tensor> kept;
        Tensor x = image;
        for (int i = 0; i < 4; ++i) {
            const Sides kernels[] = {1, 3, 3, {1, 3, 3}}, strides[] = {1, 1, 1, 2, {1, 2, 2}};
            ConvOptions options{.channels = static_cast<int>(16 * below(1, 2)),
                                .kernel = kernels[below(0, 3)],
                                .stride = strides[below(0, 4)],
                                .groups = below(0, 4) == 0 ? 2 : 1,
                                .bias = chance(),
                                .name = "conv_" + std::to_string(i)};
            if (options.groups == 1 && chance()) options.channels -= 3;
            if (x.shape().c % options.groups || options.channels % options.groups) options.groups = 1;
            Tensor y = below(0, 6) == 0 ? transposed_conv(x, {.channels = 16, .kernel = 2, .name = options.name})
                                        : conv(x, options);
            if (y.shape() == x.shape() && chance()) y = add(y, x);
            const Tensor result = y;
            if (chance()) y = batch_norm(y, {.name = "layer_" + std::to_string(i) + ".norm"});
            y = activated(y);
            if (chance() && !(result.id == y.id)) kept.push_back(result);             // read twice
            if (y.shape() == result.shape() && below(0, 3) == 0) y = add(y, result);  // and thrice
            x = y;
        }
        kept.push_back(conv(x, {.channels = 2, .kernel = 1, .name = "last"}));
        return kept;
    }

    std::mt19937 random;
};

// f32: oneDNN's weights that carry a normalisation are rounded once more, by 6e-8, as are sums of them; five
// convolutions in a row, the last of which may have a tenth of its inputs' size: 5e-6 of the largest value (of 600
// networks the worst had 2.2e-6). bf16: each result is rounded to 2^-9 of itself, here and there at other places: 2^-4
// (the worst had 2^-5).
TEST(Epilogue, OfDrawnNetworksEqualsPassesOfItsOwn) {
    if (by_plain_loop()) GTEST_SKIP() << kPlainLoop;
    const unsigned seed = std::random_device{}();
    int applied = 0;
    for (unsigned i = 0; i < 24; ++i) {
        SCOPED_TRACE("network " + std::to_string(seed + i));
        const DrawnNetwork drawn(seed + i);
        for (const bool bf16 : {false, true})
            for (const Layout layout : {Layout::blocked16, Layout::blocked8, Layout::ncdhw}) {
                if (bf16 && layout == Layout::ncdhw) continue;
                Predicted fused(cpu::backend(), drawn.build, drawn.shape, bf16, layout),
                    unfused(apart(), drawn.build, drawn.shape, bf16, layout);
                for (const char* kind : {"batch norm forward", "activation"})
                    applied += unfused.calls(kind) - fused.calls(kind);
                for (const unsigned weights : {1u, 2u}) {  // changed between runs
                    fused.draw(weights), unfused.draw(weights);
                    const auto got = fused.run(), expected = unfused.run();
                    ASSERT_EQ(got.size(), expected.size());
                    for (std::size_t k = 0; k < got.size(); ++k)
                        EXPECT_LE(largest_difference(got[k], expected[k]),
                                  (bf16 ? 0.0625 : 5e-6) * largest(expected[k]))
                            << "output " << k << (bf16 ? ", bf16, layout " : ", layout ") << static_cast<int>(layout);
                }
            }
    }
    EXPECT_GT(applied, 0);
}

Build conv_norm_relu(int kernel, bool read_twice, bool sums) {
    return [=](Tensor image) {
        Tensor x = conv(image, {.channels = 16, .kernel = kernel, .name = "first"});
        if (sums) x = add(x, image);
        const Tensor y = relu(batch_norm(x, {.name = "norm"}));
        return read_twice ? std::vector{y, x} : std::vector{y};
    };
}

TEST(Epilogue, OfANormalisationAndReluLeavesNoPass) {
    if (by_plain_loop()) GTEST_SKIP() << kPlainLoop;
    for (const int kernel : {1, 3})
        for (const bool bf16 : {false, true}) {
            Predicted fused(cpu::backend(), conv_norm_relu(kernel, false, false), {1, 16, 4, 5, 30}, bf16,
                            Layout::blocked16);
            EXPECT_EQ(fused.calls("batch norm forward"), 0) << kernel << bf16;
        }
}

// What is read elsewhere, or kept, is the convolution's own result, to the bit.
TEST(Epilogue, LeavesAResultThatOthersReadAsItIs) {
    const Shape shape{1, 16, 4, 5, 30};
    for (const bool sums : {false, true})
        for (const bool bf16 : {false, true})
            for (const int kernel : {1, 3}) {
                const Build build = conv_norm_relu(kernel, true, sums);
                Predicted fused(cpu::backend(), build, shape, bf16, Layout::blocked16),
                    unfused(apart(), build, shape, bf16, Layout::blocked16);
                const auto got = fused.run(), expected = unfused.run();
                EXPECT_EQ(got[1], expected[1]);
                EXPECT_LE(largest_difference(got[0], expected[0]), (bf16 ? 0.008 : 1e-6) * largest(expected[0]));
                EXPECT_GE(*std::min_element(got[0].begin(), got[0].end()), 0.0f);
                EXPECT_LT(*std::min_element(got[1].begin(), got[1].end()), 0.0f);
            }
}

// A result that is not a number must be seen at the end, whoever applies ReLU.
TEST(Epilogue, ReluLetsNotANumberThrough) {
    for (const int kernel : {1, 3})
        for (const bool bf16 : {false, true}) {
            const auto build = [=](Tensor image) {
                const Tensor x = conv(image, {.channels = 16, .kernel = kernel, .name = "first"});
                return std::vector{conv(relu(batch_norm(x, {.name = "norm"})), {.channels = 1, .kernel = 1})};
            };
            Predicted fused(cpu::backend(), build, {1, 16, 3, 4, 20}, bf16, Layout::blocked16);
            fused.image[40] = NAN;
            const auto got = fused.run();
            EXPECT_TRUE(std::any_of(got[0].begin(), got[0].end(), [](float v) { return std::isnan(v); }))
                << kernel << bf16;
        }
}

// The executor's convolutions have none: what follows stays a pass, and the whole network is the same. Within f32's
// rounding of some forty convolutions.
TEST(Epilogue, OfAWholeNetworkEqualsTheExecutorsPasses) {
    const simt::Unwatched unwatched;
    const auto build = [](Tensor image) { return std::vector{unet(image, {1, 1, {8, 12, 16, 16}})}; };
    Predicted here(cpu::backend(), build, {1, 1, 8, 8, 16}), there(simt::backend(), build, {1, 1, 8, 8, 16});
    EXPECT_LT(here.calls("batch norm forward"), there.calls("batch norm forward"));
    const auto got = here.run(), expected = there.run();
    EXPECT_LE(largest_difference(got[0], expected[0]), 2e-5 * largest(expected[0]));
}

// A result beside the convolution's own lies there while the source does, where a pass comes later: that must not be
// where most memory is taken. Weights of 16 x 16
// that carry a normalisation take at most 28 kB of scratch.
TEST(Epilogue, TakesNoMoreMemoryThanPasses) {
    constexpr std::int64_t kChangedWeights = 32 << 10;
    for (const std::vector<int>& widths : {std::vector{16, 16, 16, 16}, std::vector{16, 24, 40, 32}})
        for (const bool bf16 : {false, true}) {
            const Build build = [&](Tensor image) { return std::vector{unet(image, {1, 1, widths})}; };
            const Predicted fused(cpu::backend(), build, {1, 1, 32, 32, 32}, bf16),
                unfused(apart(), build, {1, 1, 32, 32, 32}, bf16);
            EXPECT_LT(fused.calls("batch norm forward"), unfused.calls("batch norm forward"));
            EXPECT_LE(fused.plan->bytes(), unfused.plan->bytes() + kChangedWeights) << bf16;
        }
}

// Of f32 in kernels of 3 it is applied with the bits of a pass where both are compiled for the same instructions; else
// a pass may multiply and add in two steps, which is a rounding of 2^-24 in each of six convolutions.
TEST(Epilogue, OfKernelsOf3InF32IsTheSameBytesAsAPass) {
    const Build build = [](Tensor image) {
        Tensor x = image;
        for (int i = 0; i < 3; ++i) {
            const std::string name = std::to_string(i);
            x = conv(leaky_relu(batch_norm(conv(x, {.channels = 24, .name = "a" + name}), {.name = name + ".norm"})),
                     {.channels = 16, .name = "b" + name});
        }
        return std::vector{x};
    };
    const Shape shape{2, 16, 5, 9, 31};
    Predicted fused(cpu::backend(), build, shape, false, Layout::blocked16),
        unfused(apart(), build, shape, false, Layout::blocked16);
    if (cpu::backend().preferred_layout(16) != Layout::blocked16) GTEST_SKIP() << "by oneDNN without AVX-512";
    ASSERT_EQ(fused.calls("batch norm forward"), 0);
    const auto got = fused.run(), expected = unfused.run();
#if defined(__clang__) || defined(IWSEG_SANITIZED)
    EXPECT_LE(largest_difference(got[0], expected[0]), 2e-6 * largest(expected[0]));
#else
    EXPECT_EQ(got, expected);
#endif
}

}  // namespace
}  // namespace iwseg
