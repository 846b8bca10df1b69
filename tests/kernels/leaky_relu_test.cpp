// Leaky ReLU and its gradient, on every backend, in every layout and type.
#include <cmath>
#include <limits>

#include "tests/support/operation_forms.h"

namespace iwseg {
namespace {

using LeakyRelu = OperationTest;

Array applied(const Array& x, double slope) {
    Array y = x;
    for (double& value : y.values) value = value > 0 ? value : slope * value;
    return y;
}

// One product and one rounding to the stored type: 2^-8 in bf16.
TEST_P(LeakyRelu, EqualsItsDefinitionAndItsGradientAlsoInPlace) {
    for (const float slope : {0.0f, 0.01f, 0.75f})
        for (const std::int64_t channels : kChannels)
            for (const Write write : {Write::overwrite, Write::accumulate}) {
                const Shape shape = shape_of(channels, 1);
                SCOPED_TRACE(testing::Message() << "slope " << slope << ", channels " << channels);
                Array x = noise(shape);
                const Array diff = noise(shape), before = noise(shape);
                for (std::size_t i = 0; i < x.values.size(); i += 7) x.values[i] = 0;
                on_schedules([&] {
                    const KernelTensor in = tensor(x), out = empty(shape), same = tensor(x);
                    device().leaky_relu(stream(), in.view(), slope, out.view());
                    device().leaky_relu(stream(), same.view(), slope, same.view());
                    expect_close(out.array(), applied(x, slope), 8e-3);
                    EXPECT_EQ(same.array().values, out.array().values);
                    EXPECT_TRUE(out.padding_is_zero());

                    Array expected = diff;
                    for (std::size_t i = 0; i < x.values.size(); ++i) {
                        expected.values[i] *= x.values[i] > 0 ? 1 : static_cast<double>(slope);
                        if (write == Write::accumulate) expected.values[i] += before.values[i];
                    }
                    const KernelTensor diff_y = tensor(diff), diff_x = tensor(before);
                    device().leaky_relu_backward(stream(), out.view(), diff_y.view(), slope, diff_x.view(), write);
                    expect_close(diff_x.array(), expected, 8e-3);
                    EXPECT_TRUE(diff_x.padding_is_zero());
                    if (write == Write::accumulate) return;
                    device().leaky_relu_backward(stream(), out.view(), diff_y.view(), slope, diff_y.view(), write);
                    EXPECT_EQ(diff_y.array().values, diff_x.array().values);
                });
            }
}

TEST_P(LeakyRelu, KeepsWhatIsNotFinite) {
    const double infinity = std::numeric_limits<double>::infinity();
    Array x(Shape{1, 1, 1, 1, 4});
    x.values = {std::nan(""), infinity, -infinity, -0.0};
    const KernelTensor y = tensor(x);
    device().leaky_relu(stream(), y.view(), 0.5f, y.view());
    const Array got = y.array();
    EXPECT_TRUE(std::isnan(got.values[0]));
    EXPECT_EQ(got.values[1], infinity);
    EXPECT_EQ(got.values[2], -infinity);
    EXPECT_EQ(got.values[3], 0);
}

TEST_P(LeakyRelu, TensorsOfAnotherFormAreRefused) {
    const KernelTensor x = empty({1, 3, 2, 2, 2}), other = empty({1, 3, 2, 2, 3});
    EXPECT_THROW(device().leaky_relu(stream(), x.view(), 0, other.view()), std::invalid_argument);
    EXPECT_THROW(device().leaky_relu_backward(stream(), x.view(), x.view(), 0, other.view(), Write::overwrite),
                 std::invalid_argument);
    EXPECT_THROW(device().leaky_relu_backward(stream(), x.view(), other.view(), 0, x.view(), Write::overwrite),
                 std::invalid_argument);
}

INSTANTIATE_TEST_SUITE_P(Forms, LeakyRelu, testing::ValuesIn(kForms), testing::PrintToStringParamName());

}  // namespace
}  // namespace iwseg
