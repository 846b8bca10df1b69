// Convolutions by tiles, run on the model of the tile instructions, against their definitions in double precision.
#include "kernels/convolution/amx/amx_convolution.h"

#include <cstring>
#include <functional>
#include <set>

#include "kernels/cpu/thread_pool.h"
#include "tests/support/convolution_fixture.h"
#include "tests/support/operation_references.h"
#include "tests/support/tile_model.h"

namespace iwseg {
namespace {

std::string form_of(const ConvolutionOptions& o) {
    const auto sides = [](const Sides& s) {
        return std::to_string(s.d) + "x" + std::to_string(s.h) + "x" + std::to_string(s.w);
    };
    return text_of(o) + ", of " + sides(o.kernel) + " at a stride of " + sides(o.stride) +
           (o.padded ? "" : ", not padded");
}

class AmxConvolution : public testing::Test {
  protected:
    AmxConvolution()
        : seed_(std::random_device{}()), random_(seed_), trace_(__FILE__, __LINE__, "seed " + std::to_string(seed_)) {}

    /// Operands of all three passes and what they should give.
    struct Case {
        ConvolutionOptions o;
        Array x, before, gradient;
        std::vector<double> weights, bias;
    };
    struct Results {
        Array dst, diff_src;
        std::vector<float> diff_weights, diff_bias;
    };

    std::int64_t below(std::int64_t low, std::int64_t high) {
        return std::uniform_int_distribution<std::int64_t>(low, high)(random_);
    }
    int side(int low, int high) { return static_cast<int>(below(low, high)); }
    std::vector<double> noise(std::int64_t count) {
        std::vector<double> values(static_cast<std::size_t>(count));
        for (double& value : values) value = round_to_bf16(static_cast<float>(std::normal_distribution<>()(random_)));
        return values;
    }
    Array noise(const Shape& shape) {
        Array array(shape);
        array.values = noise(shape.elements());
        return array;
    }
    static ConvolutionOptions joining(const Shape& src, std::int64_t outputs, const Sides& kernel,
                                      const Sides& stride = 1) {
        ConvolutionOptions o = options_of(src, outputs, 3, Layout::blocked16);
        o.kernel = kernel;
        o.stride = stride;
        o.src_type = o.dst_type = Type::bf16;
        return o;
    }
    Case of(const ConvolutionOptions& o) {
        o.check();
        return {o,
                noise(o.src),
                noise(o.dst()),
                noise(o.dst()),
                noise(o.weight_count()),
                noise(o.bias ? o.dst_channels : 0)};
    }

    static Results run(const Case& c, Stream stream = {});
    static void expect_right(const Case& c, const Results& got);
    void expect_right(const ConvolutionOptions& o) {
        SCOPED_TRACE(form_of(o));
        const Case c = of(o);
        expect_right(c, run(c));
    }

    unsigned seed_;
    std::mt19937 random_;
    testing::ScopedTrace trace_;
};

AmxConvolution::Results AmxConvolution::run(const Case& c, Stream stream) {
    const ConvolutionOptions& o = c.o;
    const Backend& device = cpu::backend();
    const auto made = cpu::make_amx_convolution(stream, o, {}, TileModel::products());
    EXPECT_EQ(made->implementation(), "AMX");
    // As long as asked for, to the byte, and full of what reads as NaN.
    const KernelArray<unsigned char> scratch(device, made->scratch_bytes(), 0xFF);
    const KernelArray<float> weights(device, std::vector<float>(c.weights.begin(), c.weights.end()));
    const KernelArray<float> bias(device, std::vector<float>(c.bias.begin(), c.bias.end()));
    const KernelArray<float> diff_weights(device, o.weight_count(), NAN), diff_bias(device, o.dst_channels, NAN);
    const KernelTensor src(device, c.x, o.src_layout, o.src_type), diff_src(device, o.src, o.src_layout, o.src_type);
    const KernelTensor dst(device, c.before, o.dst_layout, o.dst_type),
        diff(device, c.gradient, o.dst_layout, o.dst_type);
    made->forward(stream, src.view(), weights.data(), o.bias ? bias.data() : nullptr, dst.view(), scratch.data());
    made->backward_data(stream, diff.view(), weights.data(), diff_src.view(), scratch.data());
    made->backward_weights(stream, src.view(), diff.view(), diff_weights.data(), diff_bias.data(), scratch.data());
    EXPECT_TRUE(dst.padding_is_zero());
    EXPECT_TRUE(diff_src.padding_is_zero());
    return {dst.array(), diff_src.array(), diff_weights.host(), diff_bias.host()};
}

/// Of the largest: f32 sums of at most 10^4 products of either sign; bf16 rounds each result to 2^-9.
void expect_close(const char* what, const std::vector<double>& got, const std::vector<double>& expected, Type type) {
    double largest = 1e-30;
    for (const double v : expected) largest = std::max(largest, std::abs(v));
    ASSERT_EQ(got.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i)
        ASSERT_NEAR(got[i], expected[i], (type == Type::f32 ? 2e-5 : 4e-3) * largest) << what << ", place " << i;
}

/// Calls body(place of dst within a channel, of src, tap) for all that a tap joins in a sample.
template <class Body>
void each_joined(const ConvolutionOptions& o, Body&& body) {
    const Shape s = o.src, t = o.dst();
    const Sides before = o.padding();
    for (std::int64_t at = 0; at < t.voxels(); ++at)
        for (int tap = 0; tap < o.taps(); ++tap) {
            const std::int64_t d = at / t.w / t.h * o.stride.d + tap / o.kernel.w / o.kernel.h - before.d;
            const std::int64_t h = at / t.w % t.h * o.stride.h + tap / o.kernel.w % o.kernel.h - before.h;
            const std::int64_t w = at % t.w * o.stride.w + tap % o.kernel.w - before.w;
            if (d >= 0 && d < s.d && h >= 0 && h < s.h && w >= 0 && w < s.w) body(at, (d * s.h + h) * s.w + w, tap);
        }
}

void AmxConvolution::expect_right(const Case& c, const Results& got) {
    const ConvolutionOptions& o = c.o;
    Array dst = reference::convolution(o, c.x, c.weights, c.bias);
    for (std::size_t i = 0; o.write == Write::accumulate && i < dst.values.size(); ++i)
        dst.values[i] += c.before.values[i];
    expect_close("dst", got.dst.values, dst.values, o.dst_type);
    const auto outputs = static_cast<std::size_t>(o.dst_channels), inputs = static_cast<std::size_t>(o.src.c);
    const auto taps = static_cast<std::size_t>(o.taps()), to = static_cast<std::size_t>(o.dst().voxels());
    const auto from = static_cast<std::size_t>(o.src.voxels());
    Array diff_src(o.src);
    std::vector<double> diff_weights(c.weights.size()), diff_bias(outputs);
    for (std::size_t n = 0; n < static_cast<std::size_t>(o.src.n); ++n)
        each_joined(o, [&](std::int64_t dst_at, std::int64_t src_at, int tap) {
            for (std::size_t out = 0; out < outputs; ++out)
                for (std::size_t in = 0; in < inputs; ++in) {
                    // f32 gradients are rounded to the operands' type; these are of bf16 already.
                    const double gradient =
                        c.gradient.values[(n * outputs + out) * to + static_cast<std::size_t>(dst_at)];
                    const std::size_t place = (n * inputs + in) * from + static_cast<std::size_t>(src_at);
                    const std::size_t weight = (out * inputs + in) * taps + static_cast<std::size_t>(tap);
                    diff_src.values[place] += gradient * c.weights[weight];
                    diff_weights[weight] += gradient * c.x.values[place];
                }
        });
    for (std::size_t i = 0; i < c.gradient.values.size(); ++i) diff_bias[i / to % outputs] += c.gradient.values[i];
    expect_close("diff_src", got.diff_src.values, diff_src.values, o.src_type);
    expect_close("diff_weights", {got.diff_weights.begin(), got.diff_weights.end()}, diff_weights, Type::f32);
    expect_close("diff_bias", {got.diff_bias.begin(), got.diff_bias.end()}, diff_bias, Type::f32);
}

TEST_F(AmxConvolution, AgreesForEveryWidth) {
    for (std::int64_t width = 1; width <= 36; ++width)
        for (const int stride : {1, 2})
            expect_right(joining({1, below(1, 20), below(1, 3), below(1, 4), width}, below(1, 20), 3, stride));
}

TEST_F(AmxConvolution, AgreesForSeveralBlocksAndSamples) {
    for (int i = 0; i < 12; ++i) {
        ConvolutionOptions o = joining({below(1, 3), below(1, 80), below(1, 5), below(1, 6), below(1, 7)}, below(1, 80),
                                       i % 3 == 2 ? 1 : 3, i % 2 + 1);
        o.bias = below(0, 1) == 1;
        o.write = below(0, 1) ? Write::accumulate : Write::overwrite;
        o.dst_type = below(0, 1) ? Type::f32 : Type::bf16;
        expect_right(o);
    }
}

TEST_F(AmxConvolution, AgreesForAnyKernelAndStride) {
    for (int i = 0; i < 24; ++i) {
        ConvolutionOptions o =
            joining({below(1, 2), below(1, 40), below(1, 6), below(1, 7), below(1, 12)}, below(1, 40),
                    {side(1, 5), side(1, 5), side(1, 5)}, {side(1, 3), side(1, 3), side(1, 3)});
        o.padded = o.kernel.d % 2 && o.kernel.h % 2 && o.kernel.w % 2;
        if (o.dst().elements() <= 0) continue;
        expect_right(o);
    }
}

TEST_F(AmxConvolution, AgreesForThoseThatNetworksHave) {
    for (const Sides& kernel : {Sides(1), Sides(3), Sides(1, 3, 3), Sides(3, 3, 1)})
        for (const Sides& stride : {Sides(1), Sides(2), Sides(1, 2, 2)})
            for (const std::int64_t channels : {16, 32, 48})
                expect_right(
                    joining({1, channels, below(2, 4), below(2, 5), below(2, 9)}, 16 * below(1, 3), kernel, stride));
    // From a level to the one above it, as the data gradient of these.
    ConvolutionOptions o = joining({1, 16, 4, 6, 10}, 32, 2, 2);
    o.padded = false;
    expect_right(o);
}

TEST_F(AmxConvolution, AgreesForOneVoxelAndForVolumesOfSeveralSlabs) {
    expect_right(joining({1, 1, 1, 1, 1}, 1, 3));
    expect_right(joining({2, 33, 1, 1, 1}, 17, 3, 2));
    expect_right(joining({1, 16, 9, 40, 40}, 16, 3));
    expect_right(joining({1, 40, 12, 12, 33}, 8, 3));
}

TEST_F(AmxConvolution, GivesTheSameBytesOnAnyNumberOfThreads) {
    for (const int stride : {1, 2}) {
        const Case c = of(joining({2, 20, 4, 5, 9}, 40, 3, stride));
        const Results alone = run(c);
        for (const int threads : {1, 2, 5}) {
            ThreadPool pool(threads);
            for (int again = 0; again < 2; ++again) {
                const Results got = run(c, pool.stream());
                EXPECT_EQ(got.dst.values, alone.dst.values) << threads;
                EXPECT_EQ(got.diff_src.values, alone.diff_src.values) << threads;
                EXPECT_EQ(
                    std::memcmp(got.diff_weights.data(), alone.diff_weights.data(), 4 * alone.diff_weights.size()), 0)
                    << threads;
            }
        }
    }
}

TEST_F(AmxConvolution, ComputesOnAStreamOfMoreThreadsThanItWasMadeFor) {
    const Case c = of(joining({1, 16, 8, 8, 8}, 16, 3));
    const auto made = cpu::make_amx_convolution({}, c.o, {}, TileModel::products());
    const Backend& device = cpu::backend();
    const KernelArray<unsigned char> scratch(device, made->scratch_bytes(), 0xFF);
    const KernelArray<float> weights(device, std::vector<float>(c.weights.begin(), c.weights.end()));
    const KernelTensor src(device, c.x, c.o.src_layout, Type::bf16), dst(device, c.before, c.o.dst_layout, Type::bf16);
    ThreadPool pool(3);
    made->forward(pool.stream(), src.view(), weights.data(), nullptr, dst.view(), scratch.data());
    EXPECT_EQ(dst.array().values, run(c).dst.values);
}

/// What is not finite reaches what is made of it, and nothing else.
TEST_F(AmxConvolution, KeepsInfinityAndNanWhereTheyBelong) {
    for (const std::int64_t channels : {16, 40})
        for (const Sides& kernel : {Sides(3), Sides(1), Sides(3, 3, 1)})
            for (const int stride : {1, 2})
                for (const double odd : {static_cast<double>(INFINITY), static_cast<double>(NAN)}) {
                    const Case c = of(joining({1, channels, 3, 4, 21}, channels, kernel, stride));
                    SCOPED_TRACE(form_of(c.o));
                    const std::int64_t src = c.o.src.voxels(), dst = c.o.dst().voxels();
                    const std::int64_t at_src = below(0, src - 1), at_dst = below(0, dst - 1);
                    Case spoilt = c;
                    spoilt.x.values[static_cast<std::size_t>(at_src)] = odd;  // of channel 0
                    spoilt.gradient.values[static_cast<std::size_t>(at_dst)] = odd;
                    std::set<std::int64_t> reached, reached_back;
                    each_joined(c.o, [&](std::int64_t to, std::int64_t from, int) {
                        if (from == at_src) reached.insert(to);
                        if (to == at_dst) reached_back.insert(from);
                    });
                    const Results clean = run(c), got = run(spoilt);
                    for (std::size_t i = 0; i < clean.dst.values.size(); ++i) {
                        const auto voxel = static_cast<std::int64_t>(i) % dst;
                        if (reached.count(voxel))
                            EXPECT_FALSE(std::isfinite(got.dst.values[i])) << voxel;
                        else
                            EXPECT_EQ(got.dst.values[i], clean.dst.values[i]) << voxel;
                    }
                    for (std::size_t i = 0; i < clean.diff_src.values.size(); ++i) {
                        const auto voxel = static_cast<std::int64_t>(i) % src;
                        if (reached_back.count(voxel))
                            EXPECT_FALSE(std::isfinite(got.diff_src.values[i])) << voxel;
                        else
                            EXPECT_EQ(got.diff_src.values[i], clean.diff_src.values[i]) << voxel;
                    }
                    // Of weights: channel 0 of either tensor.
                    const std::int64_t taps = c.o.taps();
                    for (std::size_t i = 0; i < clean.diff_weights.size(); ++i) {
                        const auto place = static_cast<std::int64_t>(i);
                        if (place / taps % channels == 0 || place / taps / channels == 0) continue;
                        EXPECT_EQ(got.diff_weights[i], clean.diff_weights[i]) << place;
                    }
                }
}

/// What is said of its cost: products of tiles, 16 cycles each, and loads, 8 each.
TEST_F(AmxConvolution, NeedsAsManyProductsAsCounted) {
    const auto counted = [&](const ConvolutionOptions& o, const std::function<void(Convolution&)>& pass) {
        const auto made = cpu::make_amx_convolution({}, o, {}, TileModel::products());
        const TileModel::Counts before = TileModel::counts();
        pass(*made);
        TileModel::Counts after = TileModel::counts();
        after.products -= before.products, after.loads -= before.loads, after.stores -= before.stores;
        return after;
    };
    for (const std::int64_t channels : {16, 64}) {
        const Case c = of(joining({1, channels, 4, 8, 62}, channels, 3));
        const Backend& device = cpu::backend();
        const KernelArray<unsigned char> scratch(
            device, cpu::make_amx_convolution({}, c.o, {}, TileModel::products())->scratch_bytes(), 0xFF);
        const KernelArray<float> weights(device, c.o.weight_count(), 1.0f), diff(device, c.o.weight_count());
        const KernelTensor src(device, c.x, c.o.src_layout, Type::bf16),
            dst(device, c.before, c.o.dst_layout, Type::bf16);
        const auto forward = counted(c.o, [&](Convolution& made) {
            made.forward({}, src.view(), weights.data(), nullptr, dst.view(), scratch.data());
        });
        const auto gradient = counted(c.o, [&](Convolution& made) {
            made.backward_weights({}, src.view(), dst.view(), diff.data(), nullptr, scratch.data());
        });
        // 8 rows of 62 voxels and of 2 zeros are 32 tiles of 16; of 4 planes, 2 + 3 + 3 + 2 of those that taps read lie
        // within. A row of three taps is two terms of one block, or three of each two.
        const std::int64_t blocks = channels / 16, terms = channels == 16 ? 2 : 3 * blocks / 2;
        EXPECT_EQ(forward.products, 32 * 10 * 3 * terms * blocks);
        EXPECT_EQ(forward.loads * 4, forward.products * (blocks == 1 ? 5 : 4));
        EXPECT_EQ(forward.stores, 32 * 4 * blocks);
        // 16 tiles of 32 voxels, nothing but the zeros for nothing.
        EXPECT_EQ(gradient.products, 16 * 10 * 9 * blocks * blocks);
    }
}

TEST_F(AmxConvolution, RefusesWhatItCannotTake) {
    const ConvolutionOptions good = joining({1, 16, 2, 2, 2}, 16, 3);
    const auto refused = [&](auto&& change) {
        ConvolutionOptions o = good;
        change(o);
        EXPECT_FALSE(cpu::amx_takes(o));
        EXPECT_THROW(cpu::make_amx_convolution({}, o, {}, TileModel::products()), std::invalid_argument);
    };
    EXPECT_TRUE(cpu::amx_takes(good));
    refused([](auto& o) { o.groups = 2; });
    refused([](auto& o) { o.src_layout = Layout::ncdhw; });
    refused([](auto& o) { o.dst_layout = Layout::blocked8; });
    refused([](auto& o) { o.src_type = Type::f32; });
    refused([](auto& o) { o.bf16_operands = Bf16Operands::widened; });
}

}  // namespace
}  // namespace iwseg
