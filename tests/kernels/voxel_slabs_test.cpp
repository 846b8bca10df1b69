// 1x1x1 convolutions that oneDNN is given slab by slab: the same bytes as all voxels at once, of bf16 with less
// scratch, and over their source.
#include "kernels/convolution/onednn/voxel_slabs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "engine/context.h"
#include "kernels/convolution/onednn/onednn.h"
#include "kernels/convolution/operands.h"
#include "kernels/device/backend.h"

namespace iwseg {
namespace {

using Words = std::vector<std::uint16_t>;

class VoxelSlabs : public testing::Test {
  protected:
    VoxelSlabs() : seed_(std::random_device{}()), trace_(__FILE__, __LINE__, "seed " + std::to_string(seed_)) {
        random_.seed(seed_);
    }
    void SetUp() override {
        options_.src = {1, 16, 32, 96, 64};
        options_.dst_channels = 16;
        options_.kernel = 1;
        options_.src_layout = options_.dst_layout = Layout::blocked16;
        options_.src_type = options_.dst_type = Type::bf16;
        if (cpu::operand_type(options_) != Type::bf16) GTEST_SKIP() << "needs a processor that multiplies bf16";
    }

    float drawn() { return std::uniform_real_distribution<float>(-1, 1)(random_); }
    std::vector<float> drawn_values(std::int64_t count) {
        std::vector<float> values(static_cast<std::size_t>(count));
        for (float& value : values) value = drawn();
        return values;
    }
    /// bf16 of a tensor whose channels that fill the block are zero.
    Words drawn_tensor(const Shape& shape) {
        Words words(static_cast<std::size_t>(shape.n * 16 * shape.voxels()));
        for (std::size_t i = 0; i < words.size(); ++i)
            if (static_cast<std::int64_t>(i % 16) < shape.c) {
                const float value = drawn();
                std::uint32_t bits = 0;
                std::memcpy(&bits, &value, 4);
                words[i] = static_cast<std::uint16_t>(bits >> 16);
            }
        return words;
    }
    struct Left {
        Words dst;
        std::int64_t scratch;
    };
    Left run(bool slabs, int threads, Words src, Words dst, bool over = false) {
        options_.in_place = over;
        Context context({.device = "cpu", .threads = threads});
        // Asked for a gradient too, oneDNN is given all at once.
        const auto convolution = cpu::make_onednn_convolution(context.stream(), options_,
                                                              {.backward_data = !slabs, .backward_weights = false});
        EXPECT_EQ(convolution->implementation().find("slabs") != std::string::npos, slabs);
        EXPECT_EQ(convolution->works_in_place(), over);
        if (options_.epilogue.wanted) {
            EXPECT_TRUE(convolution->takes_epilogue());
            Epilogue epilogue;
            epilogue.statistics = {mean_.data(), deviation_.data()};
            epilogue.weights = {scale_.data(), shift_.data()};
            convolution->use_epilogue(epilogue);
        }
        std::vector<char> scratch(static_cast<std::size_t>(convolution->scratch_bytes() + 64));
        convolution->forward(context.stream(), {src.data(), options_.src, Type::bf16, Layout::blocked16},
                             weights_.data(), options_.bias ? bias_.data() : nullptr,
                             {over ? src.data() : dst.data(), options_.dst(), Type::bf16, Layout::blocked16},
                             scratch.data() + (64 - reinterpret_cast<std::uintptr_t>(scratch.data()) % 64) % 64);
        return {std::move(over ? src : dst), convolution->scratch_bytes()};
    }

    unsigned seed_;
    testing::ScopedTrace trace_;
    std::mt19937 random_;
    ConvolutionOptions options_;
    std::vector<float> weights_, bias_, mean_, deviation_, scale_, shift_;
};

TEST_F(VoxelSlabs, LeaveTheBytesOfAllAtOnceWithLessScratch) {
    for (int form = 0; form < 8; ++form) {
        SCOPED_TRACE(form);
        options_.src.n = 1 + form % 2;
        options_.src.c = form < 4 ? 16 : 11;
        options_.dst_channels = form % 3 == 0 ? 16 : 13;
        options_.bias = form % 4 < 2;
        options_.write = form == 5 ? Write::accumulate : Write::overwrite;
        options_.epilogue = {};
        if (form >= 6 || form == 1) {
            options_.epilogue.wanted = options_.epilogue.normalises = true;
            options_.epilogue.activation = NormActivation{0.01f};
        }
        ASSERT_GT(cpu::slab_planes(options_, {false, false}), 0);
        weights_ = drawn_values(options_.weight_count());
        for (auto* values : {&bias_, &mean_, &scale_, &shift_}) *values = drawn_values(16);
        deviation_.assign(16, 1.5f);
        const Words src = drawn_tensor(options_.src), dst = drawn_tensor(options_.dst());
        const Left whole = run(false, 2, src, dst), slabs = run(true, 2, src, dst), alone = run(true, 1, src, dst);
        EXPECT_TRUE(slabs.dst == whole.dst);
        EXPECT_TRUE(slabs.dst == alone.dst);
        if (options_.write == Write::overwrite) {
            EXPECT_TRUE(run(true, 2, src, dst, true).dst == whole.dst) << "over its source";
        }
        EXPECT_NE(whole.dst, dst);
        EXPECT_LT(2 * slabs.scratch, whole.scratch);
    }
}

TEST_F(VoxelSlabs, OfF32LeaveTheSameBytesOverTheirSource) {
    options_.src_type = options_.dst_type = Type::f32;
    EXPECT_EQ(cpu::slab_planes(options_, {false, false}), 0);
    weights_ = drawn_values(options_.weight_count());
    const std::vector<float> given = drawn_values(options_.src.elements());
    Context context({.device = "cpu", .threads = 2});
    const auto run = [&](bool over) {
        options_.in_place = over;
        const auto convolution = cpu::make_onednn_convolution(context.stream(), options_, {false, false});
        EXPECT_EQ(convolution->works_in_place(), over);
        std::vector<float> src = given, dst(static_cast<std::size_t>(options_.dst().elements()));
        std::vector<char> scratch(static_cast<std::size_t>(convolution->scratch_bytes() + 64));
        convolution->forward(context.stream(), {src.data(), options_.src, Type::f32, Layout::blocked16},
                             weights_.data(), nullptr,
                             {over ? src.data() : dst.data(), options_.dst(), Type::f32, Layout::blocked16},
                             scratch.data() + (64 - reinterpret_cast<std::uintptr_t>(scratch.data()) % 64) % 64);
        return over ? src : dst;
    };
    EXPECT_TRUE(run(true) == run(false));
}

TEST_F(VoxelSlabs, AreOfEqualPlanesWithinTheCaches) {
    const auto planes = [&](const Shape& src) {
        options_.src = src;
        return cpu::slab_planes(options_, {false, false});
    };
    EXPECT_EQ(planes({1, 16, 96, 96, 96}), 6);  // 3.5 MB of f32 each
    EXPECT_EQ(planes({3, 16, 4, 64, 64}), 4);   // by sample, where it is small
    EXPECT_EQ(planes({1, 16, 4, 64, 64}), 0);   // all at once
    EXPECT_EQ(planes({1, 16, 97, 64, 64}), 0);  // a prime: planes one by one, of 0.3 MB
    EXPECT_EQ(planes({1, 32, 96, 96, 96}), 0);  // of two blocks of channels, which lie apart
    options_.src_type = Type::f32;
    EXPECT_EQ(planes({1, 16, 96, 96, 96}), 0);
}

}  // namespace
}  // namespace iwseg
