// Convolutions of any kernel, stride and groups, on every backend, in every layout and type.
#include <functional>
#include <string>
#include <tuple>

#include "kernels/convolution/convolution.h"
#include "tests/support/operation_forms.h"
#include "tests/support/operation_references.h"

namespace iwseg {
namespace {

class GeneralConvolutions : public OperationTest {
  protected:
    void check(const ConvolutionOptions& given) {
        ConvolutionOptions o = given;
        o.src_layout = o.dst_layout = GetParam().layout;
        o.src_type = o.dst_type = GetParam().type;
        const auto sides = [](const Sides& s) {
            return std::to_string(s.d) + " " + std::to_string(s.h) + " " + std::to_string(s.w);
        };
        SCOPED_TRACE(testing::Message() << "channels " << o.src.c << " to " << o.dst_channels << " in " << o.groups
                                        << " groups, shape " << o.src.d << " " << o.src.h << " " << o.src.w
                                        << ", kernel " << sides(o.kernel) << ", stride " << sides(o.stride)
                                        << (o.padded ? "" : ", not padded") << (o.bias ? ", bias" : "")
                                        << (o.write == Write::accumulate ? ", sum" : ""));
        const auto convolution = device().make_convolution({}, o, {});
        const auto work = scratch(convolution->scratch_bytes());
        Array x = noise(o.src);
        const Array before = noise(o.dst()), diff = noise(o.dst());
        std::vector<double> weights = noise(o.weight_count());
        std::vector<double> bias = o.bias ? noise(o.dst_channels) : std::vector<double>();
        const auto forward = [&] { return reference::convolution(o, x, weights, bias); };
        const auto w = floats(weights), b = floats(o.bias ? bias : std::vector<double>{0});

        const KernelTensor src = tensor(x), dst = tensor(before);
        convolution->forward({}, src.view(), w.data(), o.bias ? b.data() : nullptr, dst.view(), work.data());
        Array expected = forward();
        for (std::size_t i = 0; o.write == Write::accumulate && i < expected.values.size(); ++i)
            expected.values[i] += before.values[i];
        expect_close(dst.array(), expected, tolerance());
        EXPECT_TRUE(dst.padding_is_zero());

        const KernelTensor diff_dst = tensor(diff), diff_src = empty(o.src);
        convolution->backward_data({}, diff_dst.view(), w.data(), diff_src.view(), work.data());
        check_gradient(diff_src.array().values, x.values, diff, forward, tolerance());
        EXPECT_TRUE(diff_src.padding_is_zero());
        const auto diff_weights = blank(weights.size()), diff_bias = blank(std::max<std::size_t>(bias.size(), 1));
        convolution->backward_weights(stream(), src.view(), diff_dst.view(), diff_weights.data(),
                                      o.bias ? diff_bias.data() : nullptr, work.data());
        check_gradient(to_doubles(diff_weights.host()), weights, diff, forward, tolerance());
        if (o.bias) check_gradient(to_doubles(diff_bias.host()), bias, diff, forward, tolerance());
    }

    int odd() { return static_cast<int>(2 * below(0, 3) + 1); }
    int step() { return static_cast<int>(below(1, 3)); }
};

TEST_P(GeneralConvolutions, OfAnyKernelAndStride) {
    for (int trial = 0; trial < 4; ++trial) {
        ConvolutionOptions o;
        o.src = {below(1, 2), below(1, 20), below(1, 5), below(1, 6), below(1, 9)};
        o.dst_channels = below(1, 20);
        o.kernel = {odd(), odd(), odd()};
        o.stride = {step(), step(), step()};
        o.bias = trial % 2 == 0;
        o.write = trial < 2 ? Write::overwrite : Write::accumulate;
        check(o);
    }
}

TEST_P(GeneralConvolutions, OfStrideTwoAsNetworksHaveThem) {
    for (const int kernel : {1, 3}) {
        ConvolutionOptions o;
        o.src = {2, 16, below(3, 6), below(3, 6), below(3, 6)};
        o.dst_channels = 32;
        o.kernel = kernel;
        o.stride = 2;
        o.bias = true;
        check(o);
        o.kernel = {1, 3, 3};
        o.stride = {1, 2, 2};
        check(o);
    }
}

TEST_P(GeneralConvolutions, OfGroupsAndDepthwise) {
    for (const auto& [groups, inputs, outputs] :
         {std::tuple{2, 3, 4}, std::tuple{16, 1, 1}, std::tuple{3, 1, 2}, std::tuple{2, 8, 8}}) {
        ConvolutionOptions o;
        o.src = {2, groups * inputs, 4, 3, 5};
        o.dst_channels = groups * outputs;
        o.groups = groups;
        o.stride = step();
        o.bias = true;
        check(o);
    }
}

TEST_P(GeneralConvolutions, OfGroupsOfWholeBlocks) {
    for (const Write write : {Write::overwrite, Write::accumulate}) {
        const std::int64_t groups = below(2, 3), inputs = 16 * below(1, 2), outputs = 16 * below(1, 2);
        ConvolutionOptions o;
        o.src = {2, groups * inputs, below(1, 4), below(1, 4), below(1, 18)};
        o.dst_channels = groups * outputs;
        o.groups = groups;
        o.write = write;
        o.bias = true;
        check(o);
    }
}

TEST_P(GeneralConvolutions, WhoseKernelIsTheStride) {
    for (const Sides& kernel : {Sides(2), Sides(1, 2, 2), Sides(3, 2, 1)}) {
        ConvolutionOptions o;
        o.dst_channels = below(1, 20);
        o.kernel = o.stride = kernel;
        o.padded = false;
        o.src = {2, below(1, 20), 2 * kernel.d, 3 * kernel.h, 2 * kernel.w};
        check(o);
    }
}

TEST_P(GeneralConvolutions, BiasIsAddedInPlace) {
    const Shape shape{2, below(1, 20), 2, 3, 5};
    const Array x = noise(shape);
    const std::vector<double> bias = noise(shape.c);
    const KernelTensor y = tensor(x);
    device().add_bias({}, floats(bias).data(), y.view());
    Array expected = x;
    reference::each(shape, [&](auto n, auto c, auto d, auto h, auto w) {
        expected.at(n, c, d, h, w) += bias[static_cast<std::size_t>(c)];
    });
    expect_close(y.array(), expected, tolerance());
    EXPECT_TRUE(y.padding_is_zero());
}

TEST_P(GeneralConvolutions, AreRefusedWhereThereIsNoSuch) {
    const auto refused = [&](const std::function<void(ConvolutionOptions&)>& change) {
        ConvolutionOptions o;
        o.src = {1, 4, 4, 4, 4};
        o.dst_channels = 4;
        o.src_layout = o.dst_layout = GetParam().layout;
        o.src_type = o.dst_type = GetParam().type;
        change(o);
        EXPECT_THROW(device().make_convolution({}, o, {}), std::invalid_argument);
    };
    refused([](ConvolutionOptions& o) { o.kernel = 2; });
    refused([](ConvolutionOptions& o) { o.kernel = {3, 9, 3}; });
    refused([](ConvolutionOptions& o) { o.stride = 0; });
    refused([](ConvolutionOptions& o) { o.groups = 3; });
    refused([](ConvolutionOptions& o) { o.dst_channels = 0; });
    refused([](ConvolutionOptions& o) { o.kernel = 5, o.padded = false; });
}

INSTANTIATE_TEST_SUITE_P(Forms, GeneralConvolutions, testing::ValuesIn(kForms), testing::PrintToStringParamName());

}  // namespace
}  // namespace iwseg
