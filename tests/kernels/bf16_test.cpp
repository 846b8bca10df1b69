// Rounding to bf16 on every backend: the CPU's function, the same on the executor, and a GPU's own instruction.
#include "kernels/device/bf16.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include "tests/support/backends.h"
#include "tests/support/kernel_tensor.h"

namespace iwseg {
namespace {

/// Of the two bf16 beside a number the nearer, of two as near the one whose last bit is 0; by differences in double.
float nearest(float value) {
    if (std::isinf(value)) return value;
    const auto magnitude = [](std::uint32_t upper) {
        return upper == 0x7F80 ? std::ldexp(1.0, 128) : std::bit_cast<float>(upper << 16);
    };
    const std::uint32_t below = std::bit_cast<std::uint32_t>(std::fabs(value)) >> 16, above = below + 1;
    const double to_below = std::fabs(value) - magnitude(below), to_above = magnitude(above) - std::fabs(value);
    const bool up = to_above < to_below || (to_above == to_below && above % 2 == 0);
    return std::copysign(std::bit_cast<float>((up ? above : below) << 16), value);
}

class Bf16Rounding : public testing::TestWithParam<TestBackend> {};

TEST_P(Bf16Rounding, TakesTheNearestAndOfTiesTheEven) {
    IWSEG_SKIP_WITHOUT_DEVICE(GetParam());
    const Backend& device = backend_of(GetParam());
    // Every number of bf16, and beyond it just less than a half of its last place, a half, and just more.
    std::vector<float> numbers;
    for (std::uint32_t upper = 0; upper <= 0xFFFF; ++upper)
        for (const std::uint32_t lower : {0x0000u, 0x0001u, 0x7FFFu, 0x8000u, 0x8001u, 0xFFFFu})
            numbers.push_back(std::bit_cast<float>(upper << 16 | lower));
    const Shape shape{1, 1, 1, 1, static_cast<std::int64_t>(numbers.size())};
    const KernelArray<float> from(device, numbers);
    const KernelArray<std::uint16_t> to(device, shape.w);
    device.copy({}, {from.data(), shape, Type::f32}, {to.data(), shape, Type::bf16});
    const std::vector<std::uint16_t> rounded = to.host();
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        const float got = to_f32(Bf16{rounded[i]});
        if (std::isnan(numbers[i]))
            ASSERT_TRUE(std::isnan(got)) << i;
        else
            ASSERT_EQ(std::bit_cast<std::uint32_t>(got), std::bit_cast<std::uint32_t>(nearest(numbers[i])))
                << numbers[i];
    }
}

INSTANTIATE_TEST_SUITE_P(On, Bf16Rounding, testing::Values(TestBackend::cpu, TestBackend::simt, TestBackend::cuda),
                         [](const auto& backend) { return name_of(backend.param); });

}  // namespace
}  // namespace iwseg
