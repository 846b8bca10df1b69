// The operations of the network but batch normalisation, on every backend, in every layout and type.
#include "kernels/convolution/operands.h"
#include "kernels/cpu/thread_pool.h"
#include "tests/support/operation_forms.h"

namespace iwseg {
namespace {

using Operations = OperationTest;

TEST_P(Operations, ConvolutionAndItsGradients) {
    for (const int kernel : {1, 3})
        for (const bool accumulate : {false, true}) {
            const Shape src{below(1, 2), below(1, 20), below(1, 6), below(1, 6), below(1, 9)};
            SCOPED_TRACE(testing::Message() << "kernel " << kernel << ", channels " << src.c << ", shape " << src.d
                                            << " " << src.h << " " << src.w << (accumulate ? ", accumulated" : ""));
            ConvolutionOptions options;
            options.src = src;
            options.dst_channels = below(1, 20);
            options.kernel = kernel;
            options.src_layout = options.dst_layout = GetParam().layout;
            options.src_type = options.dst_type = GetParam().type;
            options.bias = accumulate;
            options.write = accumulate ? Write::accumulate : Write::overwrite;
            // Winograd's products of pairs round more than the result (tests/kernels/winograd_pairs_test.cpp).
            if (kernel == 3) options.bf16_operands = Bf16Operands::widened;
            const auto convolution = device().make_convolution({}, options, {});
            const auto work = scratch(convolution->scratch_bytes());
            Array x = noise(src);
            const Array before = noise(options.dst()), diff = noise(options.dst());
            std::vector<double> weights = noise(options.dst_channels * src.c * kernel * kernel * kernel);
            std::vector<double> bias = options.bias ? noise(options.dst_channels) : std::vector<double>();
            const auto forward = [&] { return reference::convolution(x, weights, bias, options.dst_channels, kernel); };
            const auto w = floats(weights), b = floats(options.bias ? bias : std::vector<double>{0});

            KernelTensor src_tensor = tensor(x), dst = tensor(before);
            convolution->forward({}, src_tensor.view(), w.data(), options.bias ? b.data() : nullptr, dst.view(),
                                 work.data());
            Array expected = forward();
            for (std::size_t i = 0; accumulate && i < expected.values.size(); ++i)
                expected.values[i] += before.values[i];
            expect_close(dst.array(), expected, tolerance());
            EXPECT_TRUE(dst.padding_is_zero());

            KernelTensor diff_dst = tensor(diff), diff_src = empty(src);
            convolution->backward_data({}, diff_dst.view(), w.data(), diff_src.view(), work.data());
            check_gradient(diff_src.array().values, x.values, diff, forward, tolerance());
            EXPECT_TRUE(diff_src.padding_is_zero());
            const auto diff_weights = blank(weights.size()), diff_bias = blank(std::max<std::size_t>(bias.size(), 1));
            convolution->backward_weights(stream(), src_tensor.view(), diff_dst.view(), diff_weights.data(),
                                          options.bias ? diff_bias.data() : nullptr, work.data());
            check_gradient(to_doubles(diff_weights.host()), weights, diff, forward, tolerance());
            if (options.bias) check_gradient(to_doubles(diff_bias.host()), bias, diff, forward, tolerance());
        }
}

TEST_P(Operations, FirstAndLastConvolutionsTakePlainChannels) {
    const Shape src{2, below(1, 4), 4, 5, below(3, 8)};
    ConvolutionOptions first;
    first.src = src;
    first.dst_channels = below(4, 17);
    first.src_type = first.dst_type = GetParam().type;
    first.dst_layout = GetParam().layout;
    const auto enter = device().make_convolution({}, first, {false, true});
    ConvolutionOptions last;
    last.src = first.dst();
    last.dst_channels = 2;
    last.kernel = 1;
    last.src_layout = GetParam().layout;
    last.src_type = GetParam().type;
    const auto leave = device().make_convolution({}, last, {});
    const auto work = scratch(std::max(enter->scratch_bytes(), leave->scratch_bytes()));
    Array x = noise(src), middle = noise(first.dst());
    const Array diff = noise(first.dst()), diff_last = noise(last.dst());
    std::vector<double> w1 = noise(first.dst_channels * src.c * 27), w2 = noise(2 * first.dst_channels);
    const auto enter_forward = [&] { return reference::convolution(x, w1, {}, first.dst_channels, 3); };
    const auto leave_forward = [&] { return reference::convolution(middle, w2, {}, 2, 1); };
    const auto f1 = floats(w1), f2 = floats(w2);

    const KernelTensor image(device(), x, Layout::ncdhw, GetParam().type), y = empty(first.dst()), d = tensor(diff);
    enter->forward({}, image.view(), f1.data(), nullptr, y.view(), work.data());
    expect_close(y.array(), enter_forward(), tolerance());
    const auto g1 = blank(w1.size()), g2 = blank(w2.size());
    enter->backward_weights({}, image.view(), d.view(), g1.data(), nullptr, work.data());
    check_gradient(to_doubles(g1.host()), w1, diff, enter_forward, tolerance());

    const KernelTensor m = tensor(middle), z(device(), last.dst(), Layout::ncdhw, Type::f32),
                       dz(device(), diff_last, Layout::ncdhw, Type::f32);
    leave->forward({}, m.view(), f2.data(), nullptr, z.view(), work.data());
    expect_close(z.array(), leave_forward(), 2e-5);
    const KernelTensor dm = empty(first.dst());
    leave->backward_data({}, dz.view(), f2.data(), dm.view(), work.data());
    check_gradient(dm.array().values, middle.values, diff_last, leave_forward, tolerance());
    leave->backward_weights({}, m.view(), dz.view(), g2.data(), nullptr, work.data());
    check_gradient(to_doubles(g2.host()), w2, diff_last, leave_forward, tolerance());
}

TEST_P(Operations, MaxPoolAndItsGradient) {
    for (const std::int64_t channels : kChannels) {
        const Shape small{below(1, 2), channels, below(1, 3), below(1, 3), below(1, channels > 20 ? 5 : 40)};
        const Shape shape{small.n, channels, 2 * small.d, 2 * small.h, 2 * small.w};
        SCOPED_TRACE(testing::Message() << "channels " << channels << ", " << shape.d << " x " << shape.h << " x "
                                        << shape.w);
        Array x = noise(shape);
        const Array diff = noise(small), before = noise(shape);
        on_schedules([&] {
            const KernelTensor in = tensor(x), out = empty(small), dy = tensor(diff), dx = empty(shape),
                               sum = tensor(before);
            device().max_pool({}, in.view(), out.view());
            expect_close(out.array(), reference::max_pool(x), 0);
            EXPECT_TRUE(out.padding_is_zero());
            device().max_pool_backward({}, in.view(), dy.view(), dx.view(), Write::overwrite);
            device().max_pool_backward({}, in.view(), dy.view(), sum.view(), Write::accumulate);
            // Equal values occur: the first in raster order takes all.
            Array gradient(shape);
            const Array largest = out.array();
            reference::each(small, [&](auto n, auto c, auto d, auto h, auto w) {
                for (int corner = 0; corner < 8; ++corner) {
                    const auto i = 2 * d + (corner >> 2), j = 2 * h + (corner >> 1 & 1), k = 2 * w + (corner & 1);
                    if (x.at(n, c, i, j, k) != largest.at(n, c, d, h, w)) continue;
                    gradient.at(n, c, i, j, k) = diff.at(n, c, d, h, w);
                    break;
                }
            });
            expect_close(dx.array(), gradient, 0);
            Array both = before;
            for (std::size_t i = 0; i < both.values.size(); ++i) both.values[i] += gradient.values[i];
            expect_close(sum.array(), both, tolerance());
        });
    }
}

TEST_P(Operations, MaxPoolPassesNanOn) {
    Array x({1, 9, 2, 2, 4});
    std::fill(x.values.begin(), x.values.end(), 1.0);
    x.at(0, 2, 1, 0, 3) = NAN;
    Array diff({1, 9, 1, 1, 2});
    std::fill(diff.values.begin(), diff.values.end(), 1.0);
    const KernelTensor in = tensor(x), out = empty(diff.shape), dy = tensor(diff), dx = empty(x.shape);
    device().max_pool({}, in.view(), out.view());
    device().max_pool_backward({}, in.view(), dy.view(), dx.view(), Write::overwrite);
    EXPECT_TRUE(std::isnan(out.array().at(0, 2, 0, 0, 1)));
    EXPECT_EQ(out.array().at(0, 2, 0, 0, 0), 1);
    EXPECT_EQ(dx.array().at(0, 2, 1, 0, 3), 1) << "the gradient goes where the NaN came from";
    EXPECT_EQ(dx.array().at(0, 2, 0, 0, 2), 0);
}

TEST_P(Operations, UpsampleAndItsGradient) {
    for (const std::int64_t channels : kChannels) {
        const Shape shape = shape_of(channels, 1);
        SCOPED_TRACE(testing::Message() << "channels " << channels << ", " << shape.d << " x " << shape.h << " x "
                                        << shape.w);
        Array x = noise(shape);
        const Array diff = noise({shape.n, shape.c, 2 * shape.d, 2 * shape.h, 2 * shape.w}), before = noise(shape);
        const auto forward = [&] { return reference::upsample(x); };
        on_schedules([&] {
            const KernelTensor in = tensor(x), out = empty(diff.shape), dy = tensor(diff), dx = empty(shape);
            const KernelTensor sum = tensor(before);
            device().upsample({}, in.view(), Corners::aligned, out.view());
            expect_close(out.array(), forward(), tolerance());
            EXPECT_TRUE(out.padding_is_zero());
            device().upsample_backward({}, dy.view(), Corners::aligned, dx.view(), Write::overwrite);
            check_gradient(dx.array().values, x.values, diff, forward, tolerance());
            device().upsample_backward({}, dy.view(), Corners::aligned, sum.view(), Write::accumulate);
            for (const bool accumulated : {false, true})
                expect_close((accumulated ? sum : dx).array(),
                             on_cpu(before,
                                    [&](const Backend& cpu, auto& view, View result) {
                                        cpu.upsample_backward({}, view(diff), Corners::aligned, result,
                                                              accumulated ? Write::accumulate : Write::overwrite);
                                    }),
                             tolerance());
        });
    }
}

TEST_P(Operations, PoolingAndUpsamplingTakePlainChannels) {
    const Shape small{2, 3, 2, below(1, 3), below(1, 5)}, large{2, 3, 4, 2 * small.h, 2 * small.w};
    const auto plain = [&](const Shape& shape) {
        return KernelTensor(device(), shape, Layout::ncdhw, GetParam().type);
    };
    const Array x = noise(large), y = noise(small);
    const KernelTensor in(device(), x, Layout::ncdhw, GetParam().type),
        from(device(), y, Layout::ncdhw, GetParam().type);
    const KernelTensor pooled = plain(small), upsampled = plain(large);
    device().max_pool({}, in.view(), pooled.view());
    expect_close(pooled.array(), reference::max_pool(x), 0);
    device().upsample({}, from.view(), Corners::aligned, upsampled.view());
    expect_close(upsampled.array(), reference::upsample(y), tolerance());
}

TEST_P(Operations, PoolingAndUpsamplingRefuseSizesThatDoNotFit) {
    const auto make = [&](std::int64_t d, std::int64_t h, std::int64_t w) { return empty({1, 8, d, h, w}); };
    const KernelTensor half = make(2, 2, 2);
    for (const KernelTensor& x : {make(5, 4, 4), make(4, 5, 4), make(4, 4, 5), make(4, 4, 8)}) {
        EXPECT_THROW(device().max_pool({}, x.view(), half.view()), std::invalid_argument);
        EXPECT_THROW(device().max_pool_backward({}, x.view(), half.view(), x.view(), Write::overwrite),
                     std::invalid_argument);
    }
    const KernelTensor x = make(4, 4, 4);
    for (const KernelTensor& y : {make(7, 8, 8), make(8, 7, 8), make(8, 8, 7)}) {
        EXPECT_THROW(device().upsample({}, x.view(), Corners::aligned, y.view()), std::invalid_argument);
        EXPECT_THROW(device().upsample_backward({}, y.view(), Corners::aligned, x.view(), Write::overwrite),
                     std::invalid_argument);
    }
}

TEST_P(Operations, CopyAddReorderAndChannelSum) {
    for (const std::int64_t channels : kChannels) {
        const Shape shape{2, channels, below(1, 5), below(1, 5), below(1, 40)};
        SCOPED_TRACE(testing::Message() << "channels " << channels << ", " << shape.d << " x " << shape.h << " x "
                                        << shape.w);
        const Array a = noise(shape), b = noise(shape);
        on_schedules([&] {
            const KernelTensor first = tensor(a), second = tensor(b), again = empty(shape);
            for (const Type type : {Type::f32, Type::bf16}) {
                const KernelTensor plain(device(), shape, Layout::ncdhw, type);
                device().reorder({}, first.view(), plain.view());
                expect_close(plain.array(), a, 0);
                device().reorder({}, plain.view(), again.view());
                expect_close(again.array(), a, 0);
                EXPECT_TRUE(again.padding_is_zero());
            }
            device().add({}, second.view(), again.view());
            Array sum = a;
            for (std::size_t i = 0; i < sum.values.size(); ++i) sum.values[i] += b.values[i];
            expect_close(again.array(), sum, tolerance());
            const auto work = scratch(device().channel_sum_scratch_bytes(shape, GetParam().layout));
            const auto sums = blank(static_cast<std::size_t>(shape.c));
            device().channel_sum(stream(), first.view(), sums.data(), work.data());
            std::vector<double> expected(static_cast<std::size_t>(shape.c));
            reference::each(shape, [&](auto n, auto c, auto d, auto h, auto w) { expected[c] += a.at(n, c, d, h, w); });
            const std::vector<float> got = sums.host();
            for (std::size_t c = 0; c < expected.size(); ++c) EXPECT_NEAR(got[c], expected[c], 1e-4);
        });
    }
}

TEST_P(Operations, ChannelSumTakesMoreChannelsThanABlockHasThreads) {
    for (const std::int64_t channels : {255, 256, 300, 512, 700}) {
        SCOPED_TRACE(testing::Message() << "channels " << channels);
        const Shape shape = channels == 300 ? Shape{1, 300, 5, 11, 13} : Shape{1, channels, 2, 3, below(1, 5)};
        const Array x = noise(shape);
        std::vector<double> expected(static_cast<std::size_t>(channels));
        reference::each(shape, [&](auto n, auto c, auto d, auto h, auto w) { expected[c] += x.at(n, c, d, h, w); });
        on_schedules([&] {
            const KernelTensor in = tensor(x);
            const auto work = scratch(device().channel_sum_scratch_bytes(shape, GetParam().layout));
            const auto sums = blank(static_cast<std::size_t>(channels));
            device().channel_sum(stream(), in.view(), sums.data(), work.data());
            const std::vector<float> got = sums.host();
            for (std::size_t c = 0; c < expected.size(); ++c) EXPECT_NEAR(got[c], expected[c], 1e-4) << "channel " << c;
        });
    }
}

TEST_P(Operations, ChannelSumTakesPlainChannels) {
    const Shape shape{3, 5, below(1, 5), below(1, 5), below(1, 40)};
    const Array x = noise(shape);
    std::vector<double> expected(5);
    reference::each(shape, [&](auto n, auto c, auto d, auto h, auto w) { expected[c] += x.at(n, c, d, h, w); });
    const KernelTensor in(device(), x, Layout::ncdhw, GetParam().type);
    const auto work = scratch(device().channel_sum_scratch_bytes(shape, Layout::ncdhw));
    const auto sums = blank(5);
    device().channel_sum(stream(), in.view(), sums.data(), work.data());
    const std::vector<float> got = sums.host();
    for (std::size_t c = 0; c < 5; ++c) EXPECT_NEAR(got[c], expected[c], 1e-4) << "channel " << c;
}

TEST_P(Operations, LayoutsOfTheOtherBackendAreRefused) {
    const bool on_cpu = GetParam().backend == TestBackend::cpu;
    const Layout other = on_cpu ? Layout::ndhwc : Layout::blocked16;
    const Shape shape{1, 20, 2, 2, 2}, half{1, 20, 1, 1, 1};
    const auto make = [&](const Shape& s) { return KernelTensor(device(), s, other, GetParam().type); };
    const KernelTensor big = make(shape), small = make(half), ours = empty(shape);
    const auto ones = floats(std::vector<double>(20, 1));
    EXPECT_THROW(device().max_pool({}, big.view(), small.view()), std::invalid_argument);
    EXPECT_THROW(device().max_pool_backward({}, big.view(), small.view(), big.view(), Write::overwrite),
                 std::invalid_argument);
    EXPECT_THROW(device().upsample({}, small.view(), Corners::aligned, big.view()), std::invalid_argument);
    EXPECT_THROW(device().upsample_backward({}, big.view(), Corners::aligned, small.view(), Write::overwrite),
                 std::invalid_argument);
    EXPECT_THROW(device().batch_norm_apply({}, big.view(), {ones.data(), ones.data()}, {ones.data(), ones.data()},
                                           kRelu, big.view()),
                 std::invalid_argument);
    if (on_cpu) return;  // whose reorder takes every layout
    EXPECT_THROW(device().reorder({}, big.view(), ours.view()), std::invalid_argument);
    EXPECT_THROW(device().batch_norm_scratch_bytes(shape, other), std::invalid_argument);
}

TEST_P(Operations, PreluGivesItsSlopesGradientsWhereNobodyWantsThoseOfItsOperand) {
    const Shape shape{2, 11, 9, 17, 23};
    for (const std::int64_t count : {std::int64_t{1}, shape.c}) {
        const KernelTensor x = tensor(noise(shape)), diff_y = tensor(noise(shape));
        KernelTensor diff_x = empty(shape);
        const auto slopes = floats(noise(count));
        const auto of_all = blank(static_cast<std::size_t>(count)), alone = blank(static_cast<std::size_t>(count));
        const auto work = scratch(device().prelu_scratch_bytes(shape, GetParam().layout, count));
        device().prelu_backward(stream(), x.view(), diff_y.view(), slopes.data(), count, diff_x.view(),
                                Write::overwrite, of_all.data(), work.data());
        device().prelu_backward(stream(), x.view(), diff_y.view(), slopes.data(), count, View{}, Write::accumulate,
                                alone.data(), work.data());
        EXPECT_EQ(alone.host(), of_all.host());
        if (GetParam().backend != TestBackend::cpu) continue;
        ThreadPool three(3);
        const auto threaded = blank(static_cast<std::size_t>(count));
        device().prelu_backward({&three}, x.view(), diff_y.view(), slopes.data(), count, View{}, Write::overwrite,
                                threaded.data(), work.data());
        EXPECT_EQ(threaded.host(), of_all.host()) << "by three threads";
    }
    EXPECT_THROW(device().prelu_scratch_bytes(shape, GetParam().layout, 2), std::invalid_argument);
}

INSTANTIATE_TEST_SUITE_P(Forms, Operations, testing::ValuesIn(kForms), testing::PrintToStringParamName());

TEST(Convolution, NativeBf16EqualsWidenedWhereTheProcessorHasIt) {
    std::mt19937 random(std::random_device{}());
    ConvolutionOptions options;
    options.src = {1, 16, 4, 4, 6};
    options.dst_channels = 16;
    options.src_layout = options.dst_layout = Layout::blocked16;
    options.src_type = options.dst_type = Type::bf16;
    options.bf16_operands = Bf16Operands::native;
    const auto native = cpu::make_convolution({}, options, {});
    if (cpu::operand_type(options) != Type::bf16) GTEST_SKIP() << "needs AVX-512 with BF16, or AVX-512 and oneDNN";
    options.bf16_operands = Bf16Operands::widened;
    const auto widened = cpu::make_convolution({}, options, {});
    Array x(options.src);
    std::vector<float> weights(16 * 16 * 27);
    for (double& v : x.values) v = round_to_bf16(static_cast<float>(std::normal_distribution<>()(random)));
    for (float& w : weights) w = static_cast<float>(std::normal_distribution<>()(random));
    std::vector<char> scratch(static_cast<std::size_t>(std::max(native->scratch_bytes(), widened->scratch_bytes())));
    const KernelTensor src(cpu::backend(), x, Layout::blocked16, Type::bf16);
    const KernelTensor a(cpu::backend(), options.src, Layout::blocked16, Type::bf16);
    const KernelTensor b(cpu::backend(), options.src, Layout::blocked16, Type::bf16);
    std::vector<float> ga(weights.size()), gb(weights.size());
    for (auto& [convolution, to, gradient] : {std::tuple{native.get(), &a, &ga}, std::tuple{widened.get(), &b, &gb}}) {
        convolution->forward({}, src.view(), weights.data(), nullptr, to->view(), scratch.data());
        convolution->backward_weights({}, src.view(), src.view(), gradient->data(), nullptr, scratch.data());
    }
    // One rounding to bf16, 2^-8 at worst, and what Winograd's products of pairs round before, 0.44 % of a result.
    expect_close(a.array(), b.array(), 2e-2);
    for (std::size_t i = 0; i < ga.size(); ++i) EXPECT_NEAR(ga[i], gb[i], 1e-2);
    for (auto& [convolution, to] : {std::pair{native.get(), &a}, std::pair{widened.get(), &b}})
        convolution->backward_data({}, src.view(), weights.data(), to->view(), scratch.data());
    expect_close(a.array(), b.array(), 2e-2);
}

}  // namespace
}  // namespace iwseg
