// Batch normalisation on every backend, in every layout and type.
#include "tests/support/operation_forms.h"

namespace iwseg {
namespace {

/// Every operand of a batch normalisation on a device.
struct Operands {
    KernelTensor x, y, diff_y, diff_x;
    KernelArray<float> scale, shift, mean, inverse_deviation, running_mean, running_variance, diff_scale, diff_shift;
    KernelArray<unsigned char> scratch;

    BatchNormStatistics statistics() const { return {mean.data(), inverse_deviation.data()}; }
    BatchNormWeights weights() const { return {scale.data(), shift.data()}; }
    RunningStatistics running() const { return {running_mean.data(), running_variance.data(), 0.1f}; }
};

NormActivation activation_of(bool relu) {
    return relu ? kRelu : kNoActivation;
}

class BatchNorm : public OperationTest {
  protected:
    Operands operands(const Array& x, const Array& diff, const Array& before, const std::vector<double>& scale,
                      const std::vector<double>& shift, Layout layout) const {
        const auto make = [&](const Array& array) { return KernelTensor(device(), array, layout, GetParam().type); };
        const auto channels = static_cast<std::size_t>(x.shape.c);
        return {make(x),
                KernelTensor(device(), x.shape, layout, GetParam().type),
                make(diff),
                make(before),
                floats(scale),
                floats(shift),
                blank(channels),
                blank(channels),
                floats(std::vector<double>(channels, 1)),
                floats(std::vector<double>(channels, 2)),
                blank(channels),
                blank(channels),
                scratch(device().batch_norm_scratch_bytes(x.shape, layout))};
    }
    void forward(const Operands& o, bool relu) const {
        device().batch_norm_statistics(stream(), o.x.view(), 1e-5f, o.statistics(), o.running(), o.scratch.data());
        device().batch_norm_apply({}, o.x.view(), o.statistics(), o.weights(), activation_of(relu), o.y.view());
    }
    void backward(const Operands& o, bool relu, Write write) const {
        device().batch_norm_backward(stream(), o.x.view(), o.diff_y.view(), o.statistics(), o.weights(),
                                     activation_of(relu), o.diff_x.view(), write, o.diff_scale.data(),
                                     o.diff_shift.data(), o.scratch.data());
    }
    /// The gradient the CPU computes in plain f32.
    Array gradient_on_cpu(const Array& x, const Array& diff, const std::vector<double>& scale,
                          const std::vector<double>& shift, bool relu) const {
        const std::vector<float> s = to_floats(scale), b = to_floats(shift);
        std::vector<float> mean(s.size()), inverse(s.size()), ds(s.size()), db(s.size());
        std::vector<char> work(static_cast<std::size_t>(cpu::batch_norm_scratch_bytes(x.shape, Layout::ncdhw)));
        return on_cpu(x, [&](const Backend& cpu, auto& view, View result) {
            const View in = view(x);
            cpu.batch_norm_statistics({}, in, 1e-5f, {mean.data(), inverse.data()}, {}, work.data());
            const KernelTensor dy(cpu, diff, Layout::ncdhw, Type::f32);
            cpu.batch_norm_backward({}, in, dy.view(), {mean.data(), inverse.data()}, {s.data(), b.data()},
                                    activation_of(relu), result, Write::overwrite, ds.data(), db.data(), work.data());
        });
    }

    /// Mean and biased variance of each channel, in double.
    static void moments(const Array& x, std::vector<double>& mean, std::vector<double>& variance) {
        const double count = static_cast<double>(x.shape.n * x.shape.voxels());
        mean.assign(static_cast<std::size_t>(x.shape.c), 0);
        variance = mean;
        reference::each(x.shape,
                        [&](auto n, auto c, auto d, auto h, auto w) { mean[c] += x.at(n, c, d, h, w) / count; });
        reference::each(x.shape, [&](auto n, auto c, auto d, auto h, auto w) {
            variance[c] += std::pow(x.at(n, c, d, h, w) - mean[c], 2) / count;
        });
    }
    void check(const Shape& shape, Layout layout, bool relu);
};

void BatchNorm::check(const Shape& shape, Layout layout, bool relu) {
    SCOPED_TRACE(testing::Message() << "shape " << shape.n << " " << shape.c << " " << shape.d << " " << shape.h << " "
                                    << shape.w << (relu ? ", relu" : ""));
    Array x(shape);
    std::vector<double> scale, shift, mean, variance;
    const Array diff = noise(shape), before = noise(shape);
    const auto reference_forward = [&] { return reference::batch_norm(x, scale, shift, relu); };
    // Not so near to the ReLU's edge that rounding decides the side: that moves the sums of its whole channel.
    const auto at_an_edge = [&] {
        const Array y = reference::batch_norm(x, scale, shift, false);
        return relu &&
               std::any_of(y.values.begin(), y.values.end(), [](double value) { return std::abs(value) < 1e-5; });
    };
    do {
        x = noise(shape);
        for (double& value : x.values) value = round_to_bf16(static_cast<float>(value * 2 + 3));
        scale = noise(shape.c);
        shift = noise(shape.c);
    } while (at_an_edge());
    const Operands o = operands(x, diff, before, scale, shift, layout);
    forward(o, relu);
    expect_close(o.y.array(), reference_forward(), tolerance());
    EXPECT_TRUE(o.y.padding_is_zero());
    const double count = static_cast<double>(shape.n * shape.voxels());
    moments(x, mean, variance);
    const std::vector<float> running_mean = o.running_mean.host(), running_variance = o.running_variance.host();
    for (std::size_t c = 0; c < mean.size(); ++c) {
        EXPECT_NEAR(running_mean[c], 0.9 * 1 + 0.1 * mean[c], 1e-5);
        EXPECT_NEAR(running_variance[c], 0.9 * 2 + 0.1 * variance[c] * count / (count - 1), 1e-4);
    }
    backward(o, relu, Write::accumulate);
    const Array accumulated = o.diff_x.array();
    backward(o, relu, Write::overwrite);
    const Array gradient = o.diff_x.array();
    check_gradient(gradient.values, x.values, diff, reference_forward, tolerance());
    expect_close(gradient, gradient_on_cpu(x, diff, scale, shift, relu), tolerance());
    Array sum = before;
    for (std::size_t i = 0; i < sum.values.size(); ++i) sum.values[i] += gradient.values[i];
    expect_close(accumulated, sum, 2 * tolerance());  // the gradient is rounded, and its sum with what was there
    EXPECT_TRUE(o.diff_x.padding_is_zero());
    check_gradient(to_doubles(o.diff_scale.host()), scale, diff, reference_forward, tolerance());
    check_gradient(to_doubles(o.diff_shift.host()), shift, diff, reference_forward, tolerance());
}

TEST_P(BatchNorm, EqualsDoublePrecisionForwardAndBackward) {
    for (const std::int64_t channels : kChannels)
        on_schedules([&] { check(shape_of(channels, 2), GetParam().layout, below(0, 1)); });
}

TEST_P(BatchNorm, TakesPlainChannels) {
    // Logits are plain; a sample's voxels divide into packs, and do not.
    for (const std::int64_t width : {8, 5})
        on_schedules([&] { check({2, 3, 2, 3, width}, Layout::ncdhw, below(0, 1)); });
}

TEST_P(BatchNorm, ALargeMeanDoesNotCancelOverManyBlocks) {
    // As many numbers as take several blocks, packed and not; a deviation of 1 beside a mean of 4096, f32's numbers
    // being 2^-11 apart there, bf16's 32, and the first voxel far from the rest.
    for (const Shape& shape : {Shape{2, 16, 7, 16, 24}, Shape{2, 1, 17, 33, 47}, Shape{1, 257, 5, 5, 11}}) {
        const bool is_f32 = GetParam().type == Type::f32;
        Array x(shape);
        for (double& value : x.values) {
            const double drawn = 4096 + (is_f32 ? 1 : 200) * std::normal_distribution<>()(random_);
            value = is_f32 ? static_cast<float>(drawn) : round_to_bf16(static_cast<float>(drawn));
        }
        for (std::int64_t c = 0; c < shape.c; ++c) x.at(0, c, 0, 0, 0) = 0;
        std::vector<double> mean, variance;
        moments(x, mean, variance);
        on_schedules([&] {
            const std::vector<double> ones(static_cast<std::size_t>(shape.c), 1);
            const Operands o = operands(x, x, x, ones, ones, GetParam().layout);
            device().batch_norm_statistics(stream(), o.x.view(), 1e-5f, o.statistics(), {}, o.scratch.data());
            for (std::size_t c = 0; c < mean.size(); ++c) {
                // One rounding to f32 of the mean; of squares, 64 roundings at most, or those of the CPU's chunk.
                EXPECT_NEAR(o.mean.host()[c], mean[c], 4096 * 1e-6);
                EXPECT_NEAR(o.inverse_deviation.host()[c] * std::sqrt(variance[c] + 1e-5), 1, 1e-5) << "channel " << c;
            }
        });
    }
}

TEST_P(BatchNorm, TwiceTheSameBitsOnAnySchedule) {
    for (const Shape& shape : {Shape{2, 16, 6, 16, 16}, Shape{1, 3, 9, 11, 31}}) {
        const Array x = noise(shape), diff = noise(shape);
        const std::vector<double> scale = noise(shape.c), shift = noise(shape.c);
        std::vector<std::vector<double>> seen;
        for (int time = 0; time < 3; ++time) {
            if (time > 0) simt::schedule_by(std::uint64_t{random_()} | 1);
            const Operands o = operands(x, diff, diff, scale, shift, GetParam().layout);
            forward(o, true);
            backward(o, true, Write::overwrite);
            std::vector<double> all = o.diff_x.array().values;
            for (const auto* values :
                 {&o.mean, &o.inverse_deviation, &o.diff_scale, &o.diff_shift, &o.running_variance})
                for (const float value : values->host()) all.push_back(value);
            seen.push_back(all);
            simt::check_sentinels();
        }
        EXPECT_EQ(seen[0], seen[1]);
        EXPECT_EQ(seen[0], seen[2]);
    }
}

TEST_P(BatchNorm, WorksInPlace) {
    const Shape shape{2, 20, 3, 5, 7};
    const Array x = noise(shape), diff = noise(shape);
    const std::vector<double> scale = noise(shape.c), shift = noise(shape.c);
    const Operands apart = operands(x, diff, diff, scale, shift, GetParam().layout);
    forward(apart, true);
    backward(apart, true, Write::overwrite);
    const Operands one = operands(x, diff, diff, scale, shift, GetParam().layout);
    device().batch_norm_statistics(stream(), one.x.view(), 1e-5f, one.statistics(), {}, one.scratch.data());
    device().batch_norm_backward(stream(), one.x.view(), one.diff_y.view(), one.statistics(), one.weights(), kRelu,
                                 one.diff_y.view(), Write::overwrite, one.diff_scale.data(), one.diff_shift.data(),
                                 one.scratch.data());
    device().batch_norm_apply({}, one.x.view(), one.statistics(), one.weights(), kRelu, one.x.view());
    EXPECT_EQ(one.x.array().values, apart.y.array().values);
    EXPECT_EQ(one.diff_y.array().values, apart.diff_x.array().values);
}

TEST_P(BatchNorm, NoGradientPassesWhereTheReluIsExactlyAtZero) {
    // As in PyTorch: 0 counts as held back. Half of the numbers are 0, of either sign, and stay so when normalised.
    for (const std::int64_t channels : {3, 16}) {
        const Shape shape{2, channels, 2, 3, 4};
        Array x = noise(shape), diff = noise(shape), expected(shape);
        for (double& value : x.values)
            if (below(0, 1)) value = below(0, 1) ? 0.0 : -0.0;
        const auto zeros = floats(std::vector<double>(static_cast<std::size_t>(channels)));
        const auto ones = floats(std::vector<double>(static_cast<std::size_t>(channels), 1));
        const double count = static_cast<double>(shape.n * shape.voxels());
        std::vector<double> sum(static_cast<std::size_t>(channels)), product = sum;
        const auto passed = [&](auto n, auto c, auto d, auto h, auto w) {
            return x.at(n, c, d, h, w) > 0 ? diff.at(n, c, d, h, w) : 0;
        };
        reference::each(shape, [&](auto n, auto c, auto d, auto h, auto w) {
            sum[c] += passed(n, c, d, h, w);
            product[c] += passed(n, c, d, h, w) * x.at(n, c, d, h, w);
        });
        reference::each(shape, [&](auto n, auto c, auto d, auto h, auto w) {
            expected.at(n, c, d, h, w) = passed(n, c, d, h, w) - (x.at(n, c, d, h, w) * product[c] + sum[c]) / count;
        });
        const KernelTensor in = tensor(x), dy = tensor(diff), dx = empty(shape);
        const auto diff_scale = blank(static_cast<std::size_t>(channels)),
                   diff_shift = blank(static_cast<std::size_t>(channels));
        const auto work = scratch(device().batch_norm_scratch_bytes(shape, GetParam().layout));
        device().batch_norm_backward(stream(), in.view(), dy.view(), {zeros.data(), ones.data()},
                                     {ones.data(), zeros.data()}, kRelu, dx.view(), Write::overwrite, diff_scale.data(),
                                     diff_shift.data(), work.data());
        expect_close(dx.array(), expected, tolerance());
        for (std::size_t c = 0; c < sum.size(); ++c) {
            EXPECT_NEAR(diff_shift.host()[c], sum[c], 1e-4);  // sums of some 30 numbers of order 1
            EXPECT_NEAR(diff_scale.host()[c], product[c], 1e-4);
        }
    }
}

TEST_P(BatchNorm, PredictsByRunningStatistics) {
    const std::vector<double> mean = noise(300);
    std::vector<double> variance = noise(300);
    for (double& value : variance) value *= value;
    const auto running_mean = floats(mean), running_variance = floats(variance), to = blank(300), inverse = blank(300);
    device().batch_norm_running_statistics({}, 300, 1e-5f, {running_mean.data(), running_variance.data()},
                                           {to.data(), inverse.data()});
    for (std::size_t c = 0; c < 300; ++c) {
        ASSERT_EQ(to.host()[c], static_cast<float>(mean[c]));
        ASSERT_NEAR(inverse.host()[c] * std::sqrt(variance[c] + 1e-5), 1, 1e-6);
    }
    simt::check_sentinels();
}

TEST_P(BatchNorm, ANanInTheInputIsSeenInTheOutput) {
    Array x({1, 3, 2, 2, 2});
    x.at(0, 1, 0, 1, 0) = NAN;
    const KernelTensor in = tensor(x), out = empty(x.shape);
    const auto zeros = floats({0, 0, 0}), ones = floats({1, 1, 1});
    device().batch_norm_apply({}, in.view(), {zeros.data(), ones.data()}, {ones.data(), zeros.data()}, kRelu,
                              out.view());
    EXPECT_TRUE(std::isnan(out.array().at(0, 1, 0, 1, 0)));
    EXPECT_EQ(out.array().at(0, 1, 0, 1, 1), 0);
}

TEST_P(BatchNorm, InfinitiesPassWhereThereIsNoRelu) {
    Array x({1, 3, 2, 2, 2});
    x.at(0, 1, 0, 1, 0) = INFINITY;
    x.at(0, 1, 1, 1, 0) = -INFINITY;
    const KernelTensor in = tensor(x), out = empty(x.shape), positive = empty(x.shape);
    const auto zeros = floats({0, 0, 0}), ones = floats({1, 1, 1});
    device().batch_norm_apply({}, in.view(), {zeros.data(), ones.data()}, {ones.data(), zeros.data()}, kNoActivation,
                              out.view());
    EXPECT_EQ(out.array().values, x.values);
    device().batch_norm_apply({}, in.view(), {zeros.data(), ones.data()}, {ones.data(), zeros.data()}, kRelu,
                              positive.view());
    x.at(0, 1, 1, 1, 0) = 0;
    EXPECT_EQ(positive.array().values, x.values);
}

TEST_P(BatchNorm, OneVoxelIsItsOwnMeanAndHasNoVariance) {
    const Array x = noise({1, 5, 1, 1, 1});
    const std::vector<double> ones(5, 1);
    const Operands o = operands(x, x, x, ones, ones, GetParam().layout);
    forward(o, false);
    // An inverse deviation of 316 times a number of up to 5 is what f32 cancels, rounded three times to 2^-24 of
    // itself.
    expect_close(o.y.array(), reference::batch_norm(x, ones, ones, false), std::max(tolerance(), 3e-4));
    for (std::size_t c = 0; c < 5; ++c) {
        EXPECT_NEAR(o.mean.host()[c], x.values[c], 1e-6);
        EXPECT_NEAR(o.running_mean.host()[c], 0.9 * 1 + 0.1 * x.values[c], 1e-6);
        EXPECT_NEAR(o.running_variance.host()[c], 0.9 * 2, 1e-6);
    }
}

INSTANTIATE_TEST_SUITE_P(Forms, BatchNorm, testing::ValuesIn(kForms), testing::PrintToStringParamName());

}  // namespace
}  // namespace iwseg
