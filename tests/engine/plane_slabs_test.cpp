// Large convolutions in prediction go through their source slab by slab of planes: a transposed convolution before one
// is made on the way, and results are written over their source. The same bytes as with every tensor in memory of its
// own, in a smaller arena.
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "engine/compile.h"
#include "engine/graph.h"
#include "engine/initialisation.h"
#include "engine/ops/add.h"
#include "engine/ops/concat.h"
#include "engine/ops/conv.h"
#include "engine/ops/instance_norm.h"
#include "engine/ops/relu.h"
#include "engine/ops/transposed_conv.h"
#include "engine/plan.h"
#include "kernels/convolution/taps/vectors.h"
#include "tests/support/apart.h"

namespace iwseg {
namespace {

/// The first and the last level of a U-Net's decoder, of so large a patch that slabs are worth it (16 MB a tensor).
struct UnetTop {
    Shape image;
    Sides kernel = 3, stride = 2;
    bool bias = true;
    int channels = 16, below = 24;
    bool residual = false;  ///< the first convolution of what is concatenated is added to the skip connection
    bool nested = false;    ///< what is concatenated is so once more
    bool bf16 = false;
    bool projects = false;  ///< a convolution of one voxel comes before the last
};

class PlaneSlabs : public testing::Test {
  protected:
    PlaneSlabs() : context_({.device = "cpu", .threads = 2}), seed_(std::random_device{}()) {}

    void SetUp() override {
        if (cpu::best_vectors() == cpu::Vectors::none) GTEST_SKIP() << "needs Winograd's transforms";
    }

    struct Ran {
        std::vector<float> logits;
        std::int64_t bytes = 0;
        bool makes = false;  ///< planes on the way, so that nothing is concatenated
        int over = 0;        ///< results that lie over their source
    };
    /// alone: every tensor is computed as a whole, in memory of its own.
    Ran run(const UnetTop& top, bool alone) {
        Graph graph;
        const Tensor image = graph.input("image", top.image);
        const auto convolved = [&](Tensor x, int channels, Sides stride) {
            return leaky_relu(instance_norm(conv(x, {.channels = channels, .kernel = top.kernel, .stride = stride})));
        };
        const Tensor skip = convolved(convolved(image, top.channels, 1), top.channels, 1),
                     below = convolved(skip, top.below, top.stride);
        const Tensor above = transposed_conv(below, {.channels = top.channels, .kernel = top.stride, .bias = top.bias});
        const Tensor both = top.nested ? concat(concat(above, skip), skip) : concat(above, skip);
        Tensor x;
        if (top.residual)
            x = add(conv(both, {.channels = top.channels, .kernel = top.kernel}), skip);
        else
            x = convolved(both, top.channels, 1);
        x = convolved(x, top.channels, 1);
        if (top.projects) x = leaky_relu(conv(x, {.channels = top.channels, .kernel = 1}));
        const Tensor logits = conv(x, {.channels = 2, .kernel = 1});
        Parameters parameters;
        CompileOptions options{.bf16 = top.bf16, .keep = {logits}, .minimise = {}};
        if (alone) options.keep.push_back(both);
        Compiled made = compile(graph, context_, parameters, options);
        parameters.place(context_.backend(), context_.stream(), false);
        initialise(context_, parameters, seed_);
        Plan plan(context_, alone ? apart(made.program) : made.program);
        std::vector<float> values(static_cast<std::size_t>(top.image.elements()));
        std::mt19937 random(seed_);
        for (float& value : values) value = std::normal_distribution<float>()(random);
        plan.bind(made[image], values.data());
        Ran ran{.logits = std::vector<float>(static_cast<std::size_t>(logits.shape().elements())),
                .bytes = plan.bytes()};
        for (int i = 0; i < 2; ++i) plan.run();  // the second time memory holds what the first has left
        plan.read(made[logits], ran.logits.data());
        ran.makes = true;
        for (const Call& call : plan.calls()) {
            ran.makes &= call.kind != "concat";
            ran.over += call.over && plan[call.over->first].data == plan[call.over->second].data;
        }
        return ran;
    }

    Context context_;
    unsigned seed_;
};

TEST_F(PlaneSlabs, GiveTheSameBytesInASmallerArena) {
    struct Case {
        UnetTop top;
        bool makes;
    };
    for (const Case& one : {Case{{{1, 2, 32, 96, 88}}, true},
                            {{{1, 1, 48, 72, 80}, 3, {1, 2, 2}, false}, true},
                            {{{1, 1, 20, 112, 128}, {1, 3, 3}, {1, 2, 2}}, true},
                            {{.image = {1, 1, 32, 64, 72}, .channels = 32, .below = 64}, true},
                            {{.image = {1, 1, 32, 96, 88}, .residual = true}, true},
                            {{.image = {1, 1, 32, 96, 88}, .nested = true}, false},
                            {{.image = {1, 1, 32, 96, 88}, .bf16 = true}, true},
                            {{.image = {1, 1, 32, 96, 88}, .bf16 = true, .projects = true}, true},
                            {{{1, 1, 74, 64, 64}}, false}}) {  // 74 planes cannot be divided into slabs of pairs
        SCOPED_TRACE("seed " + std::to_string(seed_) + ", depth " + std::to_string(one.top.image.d) +
                     (one.top.residual ? ", residual"
                      : one.top.nested ? ", nested"
                                       : "") +
                     (one.top.bf16 ? ", bf16" : "") + (one.top.projects ? ", with 1x1x1" : ""));
        const Ran slabs = run(one.top, false), alone = run(one.top, true);
        EXPECT_EQ(slabs.makes, one.makes);
        EXPECT_FALSE(alone.makes);
        EXPECT_GE(slabs.over, one.top.residual   ? 0  // a sum goes to where its summand lies
                              : one.top.projects ? 2
                                                 : 1);
        EXPECT_EQ(alone.over, 0);
        EXPECT_LT(slabs.bytes, alone.bytes);
        EXPECT_TRUE(slabs.logits == alone.logits);
    }
}

TEST_F(PlaneSlabs, AreNotForSmallTensors) {
    const Ran small = run({{1, 1, 16, 16, 16}}, false);
    EXPECT_FALSE(small.makes);
    EXPECT_EQ(small.over, 0);
}

}  // namespace
}  // namespace iwseg
