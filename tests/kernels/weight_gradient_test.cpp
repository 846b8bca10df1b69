// The CPU's own gradient of a convolution's weights, of f32 and, where the processor multiplies it, of bf16.
#include "kernels/convolution/weight_gradient.h"

#include "tests/support/convolution_fixture.h"

namespace iwseg {
namespace {

class WeightGradient : public ConvolutionTest {
  protected:
    std::unique_ptr<Convolution> make(const ConvolutionOptions&) const override { return nullptr; }

    /// Both tensors hold numbers that bf16 has exactly, so the products are exact in either type and only the f32 sums
    /// round: the same tolerance for both.
    void expect_gradient(const Shape& shape, std::int64_t outputs, Layout layout, Type type) {
        const ConvolutionOptions o = options_of(shape, outputs, 3, layout);
        SCOPED_TRACE(text_of(o));
        const Array x = noise(o.src), gradient = noise(o.dst());
        const KernelTensor src(*device_, x, layout, type), diff(*device_, gradient, layout, type);
        const KernelArray<float> got(*device_, outputs * shape.c * 27, NAN);
        const auto scratch = kernel_scratch(*device_, cpu::weight_gradient_scratch_bytes(shape, outputs, 3, layout));
        cpu::weight_gradient({}, src.view(), diff.view(), 3, got.data(), scratch.data());
        const std::vector<float> sums = got.host();
        expect_near("diff_weights", {sums.begin(), sums.end()}, expected_weight_gradient(o, x, gradient), Type::f32);
    }
};

TEST_P(WeightGradient, AgreesInF32) {
    for (int i = 0; i < 24; ++i)
        expect_gradient({below(1, 2), below(1, 40), below(1, 6), below(1, 9), below(1, 40)}, below(1, 40),
                        i % 2 ? Layout::blocked16 : Layout::blocked8, Type::f32);
}

TEST_P(WeightGradient, AgreesInBf16ForEveryWidth) {
    if (!cpu::weight_gradient_takes_bf16(Layout::blocked16, Layout::blocked16, 3)) GTEST_SKIP() << "needs AVX512-BF16";
    for (std::int64_t width = 1; width <= 40; ++width)
        expect_gradient({below(1, 2), below(1, 40), below(1, 4), below(1, 9), width}, below(1, 40), Layout::blocked16,
                        Type::bf16);
    // More rows than are rewritten together.
    expect_gradient({1, 16, 2, 21, 100}, 16, Layout::blocked16, Type::bf16);
}

TEST_P(WeightGradient, KeepsInfinityAndNan) {
    if (!cpu::weight_gradient_takes_bf16(Layout::blocked16, Layout::blocked16, 3)) GTEST_SKIP() << "needs AVX512-BF16";
    Array x(Shape{1, 1, 1, 1, 4}), gradient(Shape{1, 1, 1, 1, 4});
    x.values = {INFINITY, 1, 1, 1};
    gradient.values = {1, 0, 0, 1};
    const KernelTensor src(*device_, x, Layout::blocked16, Type::bf16),
        diff(*device_, gradient, Layout::blocked16, Type::bf16);
    const KernelArray<float> got(*device_, 27, 0.0f);
    const auto scratch = kernel_scratch(*device_, cpu::weight_gradient_scratch_bytes(x.shape, 1, 3, Layout::blocked16));
    cpu::weight_gradient({}, src.view(), diff.view(), 3, got.data(), scratch.data());
    const std::vector<float> sums = got.host();
    EXPECT_EQ(sums[13], INFINITY);      // the voxel itself
    EXPECT_TRUE(std::isnan(sums[12]));  // infinity times the 0 after it
}

TEST_P(WeightGradient, RefusesWhatItCannotTake) {
    const Array x(Shape{1, 8, 2, 2, 2});
    const KernelTensor narrow(*device_, x, Layout::blocked8, Type::bf16),
        wide(*device_, x, Layout::blocked8, Type::f32);
    std::vector<float> sums(8 * 8 * 27);
    EXPECT_THROW(cpu::weight_gradient({}, narrow.view(), narrow.view(), 3, sums.data(), nullptr),
                 std::invalid_argument);
    EXPECT_THROW(cpu::weight_gradient({}, narrow.view(), wide.view(), 3, sums.data(), nullptr), std::invalid_argument);
}

INSTANTIATE_TEST_SUITE_P(On, WeightGradient, testing::Values(TestBackend::cpu),
                         [](const auto& one) { return name_of(one.param); });

}  // namespace
}  // namespace iwseg
