// The CPU's own convolutions of any kernel and stride, for every set of vectors that the processor has, against double
// precision.
#include "kernels/convolution/taps/tap_convolution.h"

#include <cstring>
#include <string>

#include "kernels/convolution/operands.h"
#include "kernels/cpu/thread_pool.h"
#include "tests/support/convolution_operands.h"
#include "tests/support/convolution_products.h"
#include "tests/support/operation_references.h"

namespace iwseg {
namespace {

struct Results {
    std::vector<float> weights, bias;
    Array dst, diff_src;
};

class TapConvolution : public ConvolutionPassTest {
  protected:
    static std::vector<cpu::Vectors> vectors() {
        switch (cpu::best_vectors()) {
            case cpu::Vectors::avx512:
                return {cpu::Vectors::avx512, cpu::Vectors::eight};
            case cpu::Vectors::eight:
                return {cpu::Vectors::eight};
            default:
                return {};
        }
    }
    void SetUp() override {
        ConvolutionPassTest::SetUp();
        if (vectors().empty()) GTEST_SKIP() << "needs AVX2 or NEON";
    }

    ConvolutionOptions options(const Shape& src, std::int64_t outputs, const Sides& kernel, const Sides& stride = 1) {
        ConvolutionOptions o;
        o.src = src;
        o.dst_channels = outputs;
        o.kernel = kernel;
        o.stride = stride;
        o.src_layout = o.dst_layout = GetParam().layout;
        o.src_type = o.dst_type = GetParam().type;
        return o;
    }

    Results run(const ConvolutionOptions& o, const Operands& with, cpu::Vectors vectors, Stream stream) {
        const auto convolution = cpu::make_tap_convolution(o, {}, vectors);
        const auto work = scratch(convolution->scratch_bytes());
        const auto w = floats(with.weights), b = floats(with.bias);
        const KernelTensor src(device(), with.src, o.src_layout, o.src_type);
        const KernelTensor dst(device(), with.before, o.dst_layout, o.dst_type);
        convolution->forward(stream, src.view(), w.data(), b.data(), dst.view(), work.data());
        EXPECT_TRUE(dst.padding_is_zero());
        const KernelTensor diff(device(), with.diff, o.dst_layout, o.dst_type);
        const KernelTensor diff_src(device(), o.src, o.src_layout, o.src_type);
        convolution->backward_data(stream, diff.view(), w.data(), diff_src.view(), work.data());
        EXPECT_TRUE(diff_src.padding_is_zero());
        const auto diff_weights = blank(with.weights.size()), diff_bias = blank(with.bias.size());
        convolution->backward_weights(stream, src.view(), diff.view(), diff_weights.data(), diff_bias.data(),
                                      work.data());
        return {diff_weights.host(), diff_bias.host(), dst.array(), diff_src.array()};
    }

    void expect_right(const ConvolutionOptions& o) {
        const auto sides = [](const Sides& s) {
            return std::to_string(s.d) + " " + std::to_string(s.h) + " " + std::to_string(s.w);
        };
        SCOPED_TRACE(testing::Message() << o.src.n << " x " << o.src.c << " to " << o.dst_channels << " channels in "
                                        << o.groups << " groups, shape " << o.src.d << " " << o.src.h << " " << o.src.w
                                        << ", kernel " << sides(o.kernel) << ", stride " << sides(o.stride)
                                        << (o.src_layout == Layout::ncdhw ? ", plain source" : ""));
        const Operands with = operands(o);
        Array dst = reference::convolution(o, with.src, with.weights, o.bias ? with.bias : std::vector<double>());
        for (std::size_t i = 0; o.write == Write::accumulate && i < dst.values.size(); ++i)
            dst.values[i] += with.before.values[i];
        Array diff_src(o.src);
        Array diff_weights({1, 1, 1, 1, o.weight_count()}), diff_bias({1, 1, 1, 1, o.dst_channels});
        each_product(o, [&](std::int64_t to, std::int64_t from, std::int64_t weight) {
            const auto i = static_cast<std::size_t>(to), j = static_cast<std::size_t>(from),
                       k = static_cast<std::size_t>(weight);
            diff_src.values[j] += with.diff.values[i] * with.weights[k];
            diff_weights.values[k] += with.diff.values[i] * with.src.values[j];
        });
        reference::each(o.dst(), [&](auto n, auto out, auto d, auto h, auto w) {
            diff_bias.values[static_cast<std::size_t>(out)] += with.diff.at(n, out, d, h, w);
        });
        const auto array_of = [](const std::vector<float>& values) {
            Array array({1, 1, 1, 1, static_cast<std::int64_t>(values.size())});
            array.values = to_doubles(values);
            return array;
        };
        for (const cpu::Vectors v : vectors()) {
            SCOPED_TRACE(name_of(v));
            const Results got = run(o, with, v, stream());
            expect_close(got.dst, dst, tolerance());
            expect_close(got.diff_src, diff_src, tolerance());
            // Gradients of weights are f32 whatever the tensors are.
            expect_close(array_of(got.weights), diff_weights, 2e-5);
            expect_close(array_of(got.bias), diff_bias, 2e-5);
        }
    }

    int odd() { return static_cast<int>(2 * below(0, 3) + 1); }
    int step() { return static_cast<int>(below(1, 3)); }
};

TEST_P(TapConvolution, AgreesForAnyKernelStrideAndChannels) {
    for (int trial = 0; trial < 12; ++trial) {
        ConvolutionOptions o = options({below(1, 2), below(1, 40), below(1, 5), below(1, 7), below(1, 9)}, below(1, 70),
                                       {odd(), odd(), odd()}, {step(), step(), step()});
        o.bias = trial % 2 == 0;
        o.write = trial % 3 == 0 ? Write::accumulate : Write::overwrite;
        if (trial % 4 == 1) o.src_layout = Layout::ncdhw;
        expect_right(o);
    }
}

TEST_P(TapConvolution, AgreesForEveryWidthOfATile) {
    for (std::int64_t width = 1; width <= 30; ++width) {
        const bool deep = below(0, 1) == 1;
        expect_right(options({1, below(1, 20), below(1, 2), below(1, 6), width}, below(1, 40),
                             {deep ? 3 : 1, below(0, 1) ? 3 : 1, 3}, {1, 1, deep ? 1 : 2}));
    }
}

TEST_P(TapConvolution, AgreesForAKernelThatIsTheStride) {
    for (const Sides& kernel : {Sides(2), Sides(1, 2, 2), Sides(3, 2, 1), Sides(1)}) {
        ConvolutionOptions o = options({2, below(1, 40), 2 * kernel.d, 3 * kernel.h, below(1, 17) * kernel.w},
                                       below(1, 40), kernel, kernel);
        o.padded = false;
        expect_right(o);
    }
}

TEST_P(TapConvolution, AgreesForSidesOfOneVoxel) {
    for (const Shape& sides : {Shape{1, 20, 1, 1, 1}, Shape{2, 9, 1, 4, 1}, Shape{1, 16, 3, 1, 9}})
        for (const int kernel : {1, 3, 5, 7}) expect_right(options(sides, below(1, 40), kernel, step()));
}

TEST_P(TapConvolution, AgreesForGroupsOfWholeBlocks) {
    const std::int64_t block = block_of(GetParam().layout, 1);
    for (const std::int64_t groups : {2, 3}) {
        ConvolutionOptions o = options({2, groups * block, 3, 4, 5}, groups * 2 * block, 3, {1, step(), step()});
        o.groups = groups;
        o.bias = true;
        expect_right(o);
        o.src_layout = Layout::ncdhw;
        expect_right(o);
    }
}

TEST_P(TapConvolution, AgreesDepthwise) {
    for (const std::int64_t channels : {2, 16, 21, 40}) {
        ConvolutionOptions o = options({2, channels, below(1, 4), below(1, 6), below(1, 20)}, channels,
                                       {odd(), 3, odd()}, {step(), step(), step()});
        o.groups = channels;
        o.bias = true;
        o.write = channels > 16 ? Write::accumulate : Write::overwrite;
        expect_right(o);
    }
}

TEST_P(TapConvolution, AgreesForMoreRowsThanAreTakenTogether) {
    expect_right(options({1, 33, 2, 40, 70}, 17, {1, 3, 3}, {1, 2, 2}));
    expect_right(options({1, 3, 5, 31, 66}, 9, {3, 3, 1}));
}

TEST_P(TapConvolution, AgreesWhereTheWholeSourceIsPackedBefore) {
    // Of many channels the rows of one band are too many for a cache, in f32, and in bf16 of twice as many.
    expect_right(options({1, 128, 6, 9, 9}, 24, 3, 2));
    expect_right(options({1, 256, 6, 13, 13}, 24, 3, 2));
    expect_right(options({1, 24, 6, 13, 13}, 256, 3));
}

TEST_P(TapConvolution, HasTheSameBytesOnAnyNumberOfThreads) {
    const ConvolutionOptions o = options({2, 24, 5, 13, 11}, 40, {3, 3, 3}, {2, 1, 2});
    const Operands with = operands(o);
    for (const cpu::Vectors v : vectors()) {
        const Results alone = run(o, with, v, {});
        for (const int threads : {2, 3, 7}) {
            ThreadPool pool(threads);
            const Results got = run(o, with, v, pool.stream());
            EXPECT_EQ(got.dst.values, alone.dst.values);
            EXPECT_EQ(got.diff_src.values, alone.diff_src.values);
            EXPECT_EQ(got.weights, alone.weights);
        }
    }
}

TEST_P(TapConvolution, GivesTheSameBytesOverItsSource) {
    const int block = GetParam().layout == Layout::blocked8 ? 8 : 16;
    for (int i = 0; i < 30; ++i) {
        // The last is past the caches: 16 MB of f32 and more.
        const Shape small{below(1, 2), below(1, block), below(1, 9), below(1, 30), below(1, 40)};
        ConvolutionOptions o = options(i < 29 ? small : Shape{1, block, 33, 128, 129}, below(1, block), 1);
        o.bias = below(0, 1) == 1;
        o.epilogue = {.wanted = i < 29 && below(0, 1) == 1, .activation = {0.1f}};
        o.epilogue.beside = o.epilogue.wanted && below(0, 1);
        if (o.epilogue.beside && below(0, 1)) o.write = Write::accumulate;
        o.in_place = true;
        const Operands with = operands(o);
        const auto weights = floats(with.weights), bias = floats(with.bias);
        for (const cpu::Vectors v : vectors()) {
            if (!cpu::tap_convolution_works(o, v)) continue;
            ThreadPool pool(3);
            const auto convolution = cpu::make_tap_convolution(o, {false, false}, v);
            ASSERT_TRUE(convolution->works_in_place());
            const auto work = scratch(convolution->scratch_bytes());
            const auto run = [&](const KernelTensor& src, View dst, View beside) {
                convolution->use_epilogue({.statistics = {}, .weights = {}, .beside = beside});
                convolution->forward(pool.stream(), src.view(), weights.data(), bias.data(), dst, work.data());
            };
            const KernelTensor src = tensor(with.src), over = tensor(with.src), dst = tensor(with.before),
                               other = tensor(with.before), beside = empty(o.dst());
            run(src, dst.view(), beside.view());
            View lies_over = dst.view();
            lies_over.data = over.view().data;
            run(over, o.epilogue.beside ? other.view() : lies_over, lies_over);
            const View right = o.epilogue.beside ? beside.view() : dst.view();
            const auto bytes = static_cast<std::size_t>(bytes_of(o.dst(), o.dst_type, o.dst_layout));
            EXPECT_EQ(std::memcmp(right.data, lies_over.data, bytes), 0);
            if (o.epilogue.beside) {
                EXPECT_EQ(std::memcmp(dst.view().data, other.view().data, bytes), 0);
            }
            const std::vector<unsigned char> used = work.host();
            EXPECT_TRUE(std::all_of(used.begin() + convolution->scratch_bytes(), used.end(), [](unsigned char byte) {
                return byte == 0xFF;
            })) << "written past the scratch";
        }
    }
    ConvolutionOptions o = options({1, block, 2, 3, 4}, block, 1);
    const auto works = [](const ConvolutionOptions& of) {
        return cpu::make_tap_convolution(of, {false, false})->works_in_place();
    };
    EXPECT_FALSE(works(o));
    o.in_place = true;
    EXPECT_TRUE(works(o));
    o.src.c = block + 1;
    EXPECT_FALSE(works(o));
    o.src.c = block, o.dst_channels = block + 1;
    EXPECT_FALSE(works(o));
    o.dst_channels = block, o.kernel = {1, 1, 3};
    EXPECT_FALSE(works(o));
    o.kernel = 1, o.write = Write::accumulate;
    EXPECT_FALSE(works(o));
}

TEST_P(TapConvolution, WritesALargeResultPastTheCachesWithTheSameBytes) {
    // Over 16 MB of f32. Where memory is not aligned, results go through the caches.
    const ConvolutionOptions o = options({1, 16, 16, 128, 129}, 16, {1, 1, 3});
    const Array x = noise(o.src);
    const auto w = floats(noise(o.weight_count()));
    const KernelTensor src = tensor(x);
    const auto bytes = static_cast<std::size_t>(bytes_of(o.dst(), o.dst_type, o.dst_layout));
    std::vector<char> memory(2 * bytes + 256, 1);
    char* const aligned_to = memory.data() + (64 - reinterpret_cast<std::uintptr_t>(memory.data()) % 64) % 64;
    char* const beside = aligned_to + bytes + 68;
    ThreadPool pool(3);
    const auto convolution = cpu::make_tap_convolution(o, {false, false});
    const auto work = scratch(convolution->scratch_bytes());
    for (char* const to : {aligned_to, beside})
        convolution->forward(pool.stream(), src.view(), w.data(), nullptr, {to, o.dst(), o.dst_type, o.dst_layout},
                             work.data());
    EXPECT_EQ(std::memcmp(aligned_to, beside, bytes), 0);
}

TEST_P(TapConvolution, KeepsInfinityAndNanWhereTheyAreRead) {
    const ConvolutionOptions o = options({1, 3, 3, 5, 7}, 5, {1, 3, 3}, {1, 2, 2});
    Operands with = operands(o);
    with.src.at(0, 1, 1, 2, 4) = NAN;
    with.src.at(0, 2, 2, 0, 0) = INFINITY;
    with.diff.at(0, 2, 0, 1, 1) = NAN;
    for (double& w : with.weights) w = std::abs(w) + 1;
    const Array dst = reference::convolution(o, with.src, with.weights, {});
    Array diff_src(o.src);
    each_product(o, [&](std::int64_t to, std::int64_t from, std::int64_t weight) {
        diff_src.values[static_cast<std::size_t>(from)] +=
            with.diff.values[static_cast<std::size_t>(to)] * with.weights[static_cast<std::size_t>(weight)];
    });
    const auto kind = [](double value) { return std::isnan(value) ? 2 : std::isinf(value) ? 1 : 0; };
    for (const cpu::Vectors v : vectors()) {
        const auto convolution = cpu::make_tap_convolution(o, {}, v);
        const auto work = scratch(convolution->scratch_bytes());
        const auto w = floats(with.weights);
        const KernelTensor src = tensor(with.src), y = empty(o.dst()), diff = tensor(with.diff), x = empty(o.src);
        convolution->forward(stream(), src.view(), w.data(), nullptr, y.view(), work.data());
        convolution->backward_data(stream(), diff.view(), w.data(), x.view(), work.data());
        EXPECT_TRUE(y.padding_is_zero());
        EXPECT_TRUE(x.padding_is_zero());
        const Array got = y.array(), got_x = x.array();
        for (std::size_t i = 0; i < dst.values.size(); ++i) EXPECT_EQ(kind(got.values[i]), kind(dst.values[i])) << i;
        for (std::size_t i = 0; i < diff_src.values.size(); ++i)
            EXPECT_EQ(kind(got_x.values[i]), kind(diff_src.values[i])) << i;
    }
}

TEST_P(TapConvolution, RefusesWhatItCannotTake) {
    ConvolutionOptions o = options({1, 6, 2, 2, 2}, 4, 3);
    o.groups = 2;
    EXPECT_THROW(cpu::make_tap_convolution(o, {}), std::invalid_argument);
    o.groups = 1;
    o.dst_layout = Layout::ncdhw;
    EXPECT_THROW(cpu::make_tap_convolution(o, {}), std::invalid_argument);
    EXPECT_THROW(cpu::make_tap_convolution(options({1, 8, 2, 2, 2}, 8, 3), {}, cpu::Vectors::none),
                 std::invalid_argument);
}

INSTANTIATE_TEST_SUITE_P(Forms, TapConvolution,
                         testing::Values(OperationForm{TestBackend::cpu, Layout::blocked8, Type::f32},
                                         OperationForm{TestBackend::cpu, Layout::blocked16, Type::f32},
                                         OperationForm{TestBackend::cpu, Layout::blocked8, Type::bf16},
                                         OperationForm{TestBackend::cpu, Layout::blocked16, Type::bf16}),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace iwseg
