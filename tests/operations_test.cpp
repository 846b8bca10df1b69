// Every operation on the CPU, in every layout and type, against double precision; every gradient against central
// differences of the double-precision forward pass. Fresh random inputs; the seed is printed on failure.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "kernels/batch_norm.h"
#include "kernels/convolution.h"
#include "kernels/elementwise.h"
#include "kernels/max_pool.h"
#include "kernels/reorder.h"
#include "kernels/sgd.h"
#include "kernels/upsample.h"
#include "tests/kernel_tensor.h"
#include "tests/reference_operations.h"

namespace iwseg {
namespace {

using reference::Array;

struct Form {
    Layout layout;
    Type type;
};

std::ostream& operator<<(std::ostream& out, const Form& form) {
    const char* layouts[] = {"ncdhw", "ndhwc", "blocked8", "blocked16"};
    return out << layouts[static_cast<int>(form.layout)] << (form.type == Type::bf16 ? "_bf16" : "_f32");
}

class Operations : public testing::TestWithParam<Form> {
  protected:
    Operations() : seed_(std::random_device{}()), random_(seed_), trace_(__FILE__, __LINE__, "seed " + std::to_string(seed_)) {}

    std::int64_t below(std::int64_t low, std::int64_t high) {
        return std::uniform_int_distribution<std::int64_t>(low, high)(random_);
    }
    /// Values that bf16 holds exactly, so that only a kernel's own rounding is judged.
    Array noise(const Shape& shape) {
        Array array(shape);
        for (double& value : array.values) value = round_to_bf16(static_cast<float>(std::normal_distribution<>()(random_)));
        return array;
    }
    std::vector<double> noise(std::int64_t count) { return noise(Shape{1, 1, 1, 1, count}).values; }

    KernelTensor tensor(const Array& array) const { return KernelTensor(array, GetParam().layout, GetParam().type); }
    KernelTensor empty(const Shape& shape) const { return KernelTensor(shape, GetParam().layout, GetParam().type); }
    /// Of the largest value: f32 sums of at most 10^4 products; bf16 rounds each result to 2^-9.
    double tolerance() const { return GetParam().type == Type::f32 ? 2e-5 : 6e-3; }

    /// d sum(weight * f(x)) / dx at one place, by central differences.
    template <class Forward>
    double difference(std::vector<double>& x, std::size_t place, double step, const Array& weight, Forward&& forward) {
        const double kept = x[place];
        const auto value = [&](double at) {
            x[place] = at;
            const Array y = forward();
            double sum = 0;
            for (std::size_t i = 0; i < y.values.size(); ++i) sum += y.values[i] * weight.values[i];
            return sum;
        };
        const double slope = (value(kept + step) - value(kept - step)) / (2 * step);
        x[place] = kept;
        return slope;
    }

    /// Compares some places of a gradient with central differences.
    template <class Forward>
    void check_gradient(const std::vector<double>& gradient, std::vector<double>& x, const Array& weight, Forward&& forward,
                        double allowed) {
        double largest = 0;
        for (const double g : gradient) largest = std::max(largest, std::abs(g));
        for (int i = 0; i < 12; ++i) {
            const auto place = static_cast<std::size_t>(below(0, static_cast<std::int64_t>(x.size()) - 1));
            // Error of order step^2 where f is smooth, and 1e-14 / step of rounding. Where a ReLU changes side within the
            // step the difference is no derivative: a step too small for that decides.
            double slope = difference(x, place, 1e-5, weight, forward);
            if (std::abs(gradient[place] - slope) > allowed * largest) slope = difference(x, place, 1e-8, weight, forward);
            EXPECT_NEAR(gradient[place], slope, allowed * largest + 1e-5) << "place " << place;
        }
    }

    unsigned seed_;
    std::mt19937 random_;
    testing::ScopedTrace trace_;
};

void expect_close(const Array& got, const Array& expected, double allowed) {
    double largest = 1e-30;
    for (const double v : expected.values) largest = std::max(largest, std::abs(v));
    for (std::size_t i = 0; i < expected.values.size(); ++i)
        ASSERT_NEAR(got.values[i], expected.values[i], allowed * largest) << "place " << i;
}

std::vector<float> to_floats(const std::vector<double>& values) { return {values.begin(), values.end()}; }
std::vector<double> to_doubles(const std::vector<float>& values) { return {values.begin(), values.end()}; }

TEST_P(Operations, ConvolutionAndItsGradients) {
    for (const int kernel : {1, 3})
        for (const bool accumulate : {false, true}) {
            const Shape src{below(1, 2), below(1, 20), below(1, 6), below(1, 6), below(1, 9)};
            SCOPED_TRACE(testing::Message() << "kernel " << kernel << ", channels " << src.c << ", shape " << src.d << " "
                                            << src.h << " " << src.w << (accumulate ? ", accumulated" : ""));
            ConvolutionOptions options;
            options.src = src;
            options.dst_channels = below(1, 20);
            options.kernel = kernel;
            options.src_layout = options.dst_layout = GetParam().layout;
            options.src_type = options.dst_type = GetParam().type;
            options.bias = accumulate;
            options.write = accumulate ? Write::accumulate : Write::overwrite;
            const auto convolution = cpu::make_convolution(options, {});
            std::vector<char> scratch(static_cast<std::size_t>(convolution->scratch_bytes()) + 64);
            Array x = noise(src);
            const Array before = noise(options.dst()), diff = noise(options.dst());
            std::vector<double> weights = noise(options.dst_channels * src.c * kernel * kernel * kernel);
            std::vector<double> bias = options.bias ? noise(options.dst_channels) : std::vector<double>();
            const auto forward = [&] { return reference::convolution(x, weights, bias, options.dst_channels, kernel); };
            const std::vector<float> w = to_floats(weights), b = to_floats(bias);

            KernelTensor src_tensor = tensor(x), dst = tensor(before);
            convolution->forward({}, src_tensor.view(), w.data(), b.data(), dst.view(), scratch.data());
            Array expected = forward();
            for (std::size_t i = 0; accumulate && i < expected.values.size(); ++i) expected.values[i] += before.values[i];
            expect_close(dst.array(), expected, tolerance());
            EXPECT_TRUE(dst.padding_is_zero());

            KernelTensor diff_dst = tensor(diff), diff_src = empty(src);
            convolution->backward_data({}, diff_dst.view(), w.data(), diff_src.view(), scratch.data());
            check_gradient(diff_src.array().values, x.values, diff, forward, tolerance());
            EXPECT_TRUE(diff_src.padding_is_zero());
            std::vector<float> diff_weights(weights.size(), NAN), diff_bias(bias.size(), NAN);
            convolution->backward_weights({}, src_tensor.view(), diff_dst.view(), diff_weights.data(),
                                          options.bias ? diff_bias.data() : nullptr, scratch.data());
            check_gradient(to_doubles(diff_weights), weights, diff, forward, tolerance());
            if (options.bias) check_gradient(to_doubles(diff_bias), bias, diff, forward, tolerance());
        }
}

TEST_P(Operations, FirstAndLastConvolutionsTakePlainChannels) {
    const Shape src{2, below(1, 4), 4, 5, below(3, 8)};
    ConvolutionOptions first;
    first.src = src;
    first.dst_channels = below(4, 17);
    first.src_type = first.dst_type = GetParam().type;
    first.dst_layout = GetParam().layout;
    const auto enter = cpu::make_convolution(first, {false, true});
    ConvolutionOptions last;
    last.src = first.dst();
    last.dst_channels = 2;
    last.kernel = 1;
    last.src_layout = GetParam().layout;
    last.src_type = GetParam().type;
    const auto leave = cpu::make_convolution(last, {});
    std::vector<char> scratch(static_cast<std::size_t>(std::max(enter->scratch_bytes(), leave->scratch_bytes())) + 64);
    Array x = noise(src), middle = noise(first.dst());
    const Array diff = noise(first.dst()), diff_last = noise(last.dst());
    std::vector<double> w1 = noise(first.dst_channels * src.c * 27), w2 = noise(2 * first.dst_channels);
    const auto enter_forward = [&] { return reference::convolution(x, w1, {}, first.dst_channels, 3); };
    const auto leave_forward = [&] { return reference::convolution(middle, w2, {}, 2, 1); };
    const std::vector<float> f1 = to_floats(w1), f2 = to_floats(w2);

    KernelTensor image(x, Layout::ncdhw, GetParam().type), y = empty(first.dst()), d = tensor(diff);
    enter->forward({}, image.view(), f1.data(), nullptr, y.view(), scratch.data());
    expect_close(y.array(), enter_forward(), tolerance());
    std::vector<float> g1(w1.size()), g2(w2.size());
    enter->backward_weights({}, image.view(), d.view(), g1.data(), nullptr, scratch.data());
    check_gradient(to_doubles(g1), w1, diff, enter_forward, tolerance());

    KernelTensor m = tensor(middle), z(last.dst(), Layout::ncdhw, Type::f32), dz(diff_last, Layout::ncdhw, Type::f32);
    leave->forward({}, m.view(), f2.data(), nullptr, z.view(), scratch.data());
    expect_close(z.array(), leave_forward(), 2e-5);
    KernelTensor dm = empty(first.dst());
    leave->backward_data({}, dz.view(), f2.data(), dm.view(), scratch.data());
    check_gradient(dm.array().values, middle.values, diff_last, leave_forward, tolerance());
    leave->backward_weights({}, m.view(), dz.view(), g2.data(), nullptr, scratch.data());
    check_gradient(to_doubles(g2), w2, diff_last, leave_forward, tolerance());
}

TEST_P(Operations, BatchNormAndItsGradients) {
    for (const bool relu : {false, true}) {
        const Shape shape{below(1, 3), below(1, 20), below(2, 6), below(2, 6), below(2, 9)};
        Array x = noise(shape);
        for (double& value : x.values) value = round_to_bf16(static_cast<float>(value * 2 + 3));
        std::vector<double> scale = noise(shape.c), shift = noise(shape.c);
        const Array diff = noise(shape), before = noise(shape);
        const auto forward = [&] { return reference::batch_norm(x, scale, shift, relu); };
        const std::vector<float> s = to_floats(scale), b = to_floats(shift);
        std::vector<float> mean(s.size()), inverse(s.size()), running_mean(s.size(), 1), running_variance(s.size(), 2);
        std::vector<char> scratch(static_cast<std::size_t>(cpu::batch_norm_scratch_bytes(shape, GetParam().layout)));
        KernelTensor in = tensor(x), out = empty(shape);
        const BatchNormStatistics statistics{mean.data(), inverse.data()};
        cpu::batch_norm_statistics({}, in.view(), 1e-5f, statistics, {running_mean.data(), running_variance.data(), 0.1f},
                                   scratch.data());
        cpu::batch_norm_apply({}, in.view(), statistics, {s.data(), b.data()}, relu, out.view());
        expect_close(out.array(), forward(), tolerance());
        EXPECT_TRUE(out.padding_is_zero());

        const double count = static_cast<double>(shape.n * shape.voxels());
        double first_mean = 0, square = 0;
        reference::each(shape, [&](auto n, auto c, auto d, auto h, auto w) {
            if (c == 0) first_mean += x.at(n, c, d, h, w) / count;
        });
        reference::each(shape, [&](auto n, auto c, auto d, auto h, auto w) {
            if (c == 0) square += std::pow(x.at(n, c, d, h, w) - first_mean, 2);
        });
        EXPECT_NEAR(running_mean[0], 0.9 * 1 + 0.1 * first_mean, 1e-5);
        EXPECT_NEAR(running_variance[0], 0.9 * 2 + 0.1 * square / (count - 1), 1e-4);

        for (const Write write : {Write::overwrite, Write::accumulate}) {
            KernelTensor dy = tensor(diff), dx = tensor(before);
            std::vector<float> ds(s.size()), db(s.size());
            cpu::batch_norm_backward({}, in.view(), dy.view(), statistics, {s.data(), b.data()}, relu, dx.view(), write,
                                     ds.data(), db.data(), scratch.data());
            std::vector<double> gradient = dx.array().values;
            for (std::size_t i = 0; write == Write::accumulate && i < gradient.size(); ++i) gradient[i] -= before.values[i];
            // bf16: what is accumulated into is rounded too.
            check_gradient(gradient, x.values, diff, forward, 5 * tolerance());
            check_gradient(to_doubles(ds), scale, diff, forward, tolerance());
            check_gradient(to_doubles(db), shift, diff, forward, tolerance());
            EXPECT_TRUE(dx.padding_is_zero());
        }
    }
}

TEST_P(Operations, MaxPoolAndItsGradient) {
    const Shape shape{below(1, 2), below(1, 20), 2 * below(1, 3), 2 * below(1, 3), 2 * below(1, 5)};
    Array x(shape);
    // All different, so that the largest of a window is not a matter of taste and stays under the difference's step.
    for (std::size_t i = 0; i < x.values.size(); ++i) x.values[i] = static_cast<double>(i % 251) / 4;
    std::shuffle(x.values.begin(), x.values.end(), random_);
    const Array diff = noise({shape.n, shape.c, shape.d / 2, shape.h / 2, shape.w / 2}), before = noise(shape);
    KernelTensor in = tensor(x), out = empty(diff.shape), dy = tensor(diff);
    cpu::max_pool({}, in.view(), out.view());
    expect_close(out.array(), reference::max_pool(x), 0);
    KernelTensor dx = empty(shape), sum = tensor(before);
    cpu::max_pool_backward({}, in.view(), dy.view(), dx.view(), Write::overwrite);
    cpu::max_pool_backward({}, in.view(), dy.view(), sum.view(), Write::accumulate);
    const Array gradient = dx.array(), pooled = out.array();
    double total = 0, expected = 0;
    for (const double g : gradient.values) total += g;
    for (const double g : diff.values) expected += g;
    EXPECT_NEAR(total, expected, 1e-3 * std::max(1.0, std::abs(expected)));
    reference::each(diff.shape, [&](auto n, auto c, auto d, auto h, auto w) {
        for (int corner = 0; corner < 8; ++corner) {
            const auto i = 2 * d + (corner >> 2), j = 2 * h + (corner >> 1 & 1), k = 2 * w + (corner & 1);
            if (gradient.at(n, c, i, j, k) == 0) continue;
            ASSERT_EQ(x.at(n, c, i, j, k), pooled.at(n, c, d, h, w)) << "a gradient that is not at the largest";
        }
    });
    Array both = before;
    for (std::size_t i = 0; i < both.values.size(); ++i) both.values[i] += gradient.values[i];
    expect_close(sum.array(), both, tolerance());
}

TEST_P(Operations, UpsampleAndItsGradient) {
    const Shape shape{below(1, 2), below(1, 20), below(1, 4), below(1, 4), below(1, 6)};
    Array x = noise(shape);
    const Array diff = noise({shape.n, shape.c, 2 * shape.d, 2 * shape.h, 2 * shape.w});
    const auto forward = [&] { return reference::upsample(x); };
    KernelTensor in = tensor(x), out = empty(diff.shape), dy = tensor(diff), dx = empty(shape);
    cpu::upsample({}, in.view(), out.view());
    expect_close(out.array(), forward(), tolerance());
    EXPECT_TRUE(out.padding_is_zero());
    cpu::upsample_backward({}, dy.view(), dx.view(), Write::overwrite);
    check_gradient(dx.array().values, x.values, diff, forward, tolerance());
}

TEST_P(Operations, CopyAddReorderAndChannelSum) {
    const Shape shape{2, below(1, 20), below(1, 5), below(1, 5), below(1, 9)};
    const Array a = noise(shape), b = noise(shape);
    KernelTensor first = tensor(a), second = tensor(b), plain(shape, Layout::ncdhw, Type::f32), again = empty(shape);
    cpu::reorder({}, first.view(), plain.view());
    cpu::reorder({}, plain.view(), again.view());
    expect_close(again.array(), a, 0);
    EXPECT_TRUE(again.padding_is_zero());
    cpu::add({}, second.view(), again.view());
    Array sum = a;
    for (std::size_t i = 0; i < sum.values.size(); ++i) sum.values[i] += b.values[i];
    expect_close(again.array(), sum, tolerance());
    std::vector<char> scratch(static_cast<std::size_t>(cpu::channel_sum_scratch_bytes(shape, GetParam().layout)));
    std::vector<float> sums(static_cast<std::size_t>(shape.c));
    cpu::channel_sum({}, first.view(), sums.data(), scratch.data());
    std::vector<double> expected(sums.size());
    reference::each(shape, [&](auto n, auto c, auto d, auto h, auto w) { expected[c] += a.at(n, c, d, h, w); });
    for (std::size_t c = 0; c < sums.size(); ++c) EXPECT_NEAR(sums[c], expected[c], 1e-4);
}

INSTANTIATE_TEST_SUITE_P(Forms, Operations,
                         testing::Values(Form{Layout::ncdhw, Type::f32}, Form{Layout::blocked8, Type::f32},
                                         Form{Layout::blocked16, Type::f32}, Form{Layout::blocked8, Type::bf16},
                                         Form{Layout::blocked16, Type::bf16}),
                         testing::PrintToStringParamName());

TEST(Convolution, NativeBf16EqualsWidenedWhereTheProcessorHasIt) {
    std::mt19937 random(std::random_device{}());
    ConvolutionOptions options;
    options.src = {1, 16, 4, 4, 6};
    options.dst_channels = 16;
    options.src_layout = options.dst_layout = Layout::blocked16;
    options.src_type = options.dst_type = Type::bf16;
    options.bf16_operands = Bf16Operands::native;
    const auto native = cpu::make_convolution(options, {});
    if (native->implementation().find("widened") != std::string::npos) GTEST_SKIP() << "needs AVX-512";
    options.bf16_operands = Bf16Operands::widened;
    const auto widened = cpu::make_convolution(options, {});
    Array x(options.src);
    std::vector<float> weights(16 * 16 * 27);
    for (double& v : x.values) v = round_to_bf16(static_cast<float>(std::normal_distribution<>()(random)));
    for (float& w : weights) w = static_cast<float>(std::normal_distribution<>()(random));
    std::vector<char> scratch(static_cast<std::size_t>(std::max(native->scratch_bytes(), widened->scratch_bytes())));
    KernelTensor src(x, Layout::blocked16, Type::bf16), a(options.src, Layout::blocked16, Type::bf16), b = a;
    std::vector<float> ga(weights.size()), gb(weights.size());
    for (auto& [convolution, to, gradient] : {std::tuple{native.get(), &a, &ga}, std::tuple{widened.get(), &b, &gb}}) {
        convolution->forward({}, src.view(), weights.data(), nullptr, to->view(), scratch.data());
        convolution->backward_weights({}, src.view(), src.view(), gradient->data(), nullptr, scratch.data());
    }
    expect_close(a.array(), b.array(), 8e-3);  // one rounding to bf16, 2^-8 at worst
    for (std::size_t i = 0; i < ga.size(); ++i) EXPECT_NEAR(ga[i], gb[i], 1e-2);
    for (auto& [convolution, to] : {std::pair{native.get(), &a}, std::pair{widened.get(), &b}})
        convolution->backward_data({}, src.view(), weights.data(), to->view(), scratch.data());
    expect_close(a.array(), b.array(), 8e-3);
}

TEST(Sgd, FollowsPyTorchsFormula) {
    for (const bool nesterov : {false, true}) {
        std::vector<float> value(40000, 1.0f), momentum(40000, 0.5f), gradient(40000, 0.25f);
        cpu::sgd_update({}, {0.1f, 0.9f, 0.01f, nesterov}, 40000, gradient.data(), momentum.data(), value.data());
        const double g = 0.25 + 0.01 * 1.0, v = 0.9 * 0.5 + g;
        for (const std::size_t i : {std::size_t{0}, std::size_t{16384}, std::size_t{39999}}) {
            EXPECT_NEAR(momentum[i], v, 1e-6);
            EXPECT_NEAR(value[i], 1 - 0.1 * (nesterov ? g + 0.9 * v : v), 1e-6);
        }
    }
}

TEST(BatchNorm, ANanInTheInputIsSeenInTheOutput) {
    Array x({1, 3, 2, 2, 2});
    x.at(0, 1, 0, 1, 0) = NAN;
    KernelTensor in(x, Layout::blocked8, Type::f32), out(x.shape, Layout::blocked8, Type::f32);
    std::vector<float> mean(3, 0), inverse(3, 1), scale(3, 1), shift(3, 0);
    cpu::batch_norm_apply({}, in.view(), {mean.data(), inverse.data()}, {scale.data(), shift.data()}, true, out.view());
    EXPECT_TRUE(std::isnan(out.array().at(0, 1, 0, 1, 0)));
}

}  // namespace
}  // namespace iwseg
