#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/convolution/convolution.h"
#include "tests/support/backends.h"
#include "tests/support/kernel_tensor.h"

namespace iwseg {

using reference::Array;

inline std::string text_of(const ConvolutionOptions& o) {
    const auto form = [](Layout layout, Type type) {
        const char* const layouts[] = {"ncdhw", "ndhwc", "blocked8", "blocked16"};
        return std::string(layouts[static_cast<int>(layout)]) + (type == Type::bf16 ? " bf16" : " f32");
    };
    std::ostringstream out;
    out << o.src.n << "x" << o.src.c << "x" << o.src.d << "x" << o.src.h << "x" << o.src.w << " "
        << form(o.src_layout, o.src_type) << " to " << o.dst_channels << " " << form(o.dst_layout, o.dst_type)
        << ", kernel " << o.kernel.d << (o.bias ? ", bias" : "") << (o.write == Write::accumulate ? ", sum" : "");
    return out.str();
}

/// Calls body(n, voxel of dst, voxel of src, tap) for every pair of voxels that a tap joins.
template <class Body>
void each_pair(const ConvolutionOptions& o, Body&& body) {
    const std::int64_t k = o.kernel.d, r = k / 2;
    const Shape& s = o.src;
    for (std::int64_t n = 0; n < s.n; ++n)
        for (std::int64_t v = 0; v < s.voxels(); ++v)
            for (std::int64_t tap = 0; tap < k * k * k; ++tap) {
                const std::int64_t d = v / s.w / s.h + tap / k / k - r, h = v / s.w % s.h + tap / k % k - r;
                const std::int64_t w = v % s.w + tap % k - r;
                if (d >= 0 && d < s.d && h >= 0 && h < s.h && w >= 0 && w < s.w)
                    body(n, v, (d * s.h + h) * s.w + w, tap);
            }
}

/// The gradient of the weights, (O, C, k, k, k), in double precision.
inline std::vector<double> expected_weight_gradient(const ConvolutionOptions& o, const Array& x,
                                                    const Array& gradient) {
    const std::int64_t taps = o.taps(), voxels = o.src.voxels(), c = o.src.c;
    std::vector<double> expected(static_cast<std::size_t>(o.dst_channels * c * taps));
    each_pair(o, [&](std::int64_t n, std::int64_t to, std::int64_t from, std::int64_t tap) {
        for (std::int64_t out = 0; out < o.dst_channels; ++out)
            for (std::int64_t in = 0; in < c; ++in)
                expected[static_cast<std::size_t>((out * c + in) * taps + tap)] +=
                    gradient.values[static_cast<std::size_t>((n * o.dst_channels + out) * voxels + to)] *
                    x.values[static_cast<std::size_t>((n * c + in) * voxels + from)];
    });
    return expected;
}

/// What tests of one kind of convolution share: all three passes against double precision, fresh random inputs, whose
/// seed is printed on failure.
class ConvolutionTest : public testing::TestWithParam<TestBackend> {
  protected:
    ConvolutionTest()
        : seed_(std::random_device{}()), random_(seed_), trace_(__FILE__, __LINE__, "seed " + std::to_string(seed_)) {}
    void SetUp() override {
        IWSEG_SKIP_WITHOUT_DEVICE(GetParam());
        device_ = &backend_of(GetParam());
    }
    void TearDown() override {
        simt::check_sentinels();
        simt::schedule_by(0);
    }

    std::int64_t below(std::int64_t low, std::int64_t high) {
        return std::uniform_int_distribution<std::int64_t>(low, high)(random_);
    }
    /// Values that bf16 holds exactly, so that only a kernel's own rounding is seen.
    Array noise(const Shape& shape) {
        Array array(shape);
        for (double& value : array.values)
            value = round_to_bf16(static_cast<float>(std::normal_distribution<>()(random_)));
        return array;
    }
    std::vector<float> noise(std::int64_t count) {
        const Array array = noise(Shape{1, 1, 1, 1, count});
        return {array.values.begin(), array.values.end()};
    }
    virtual std::unique_ptr<Convolution> make(const ConvolutionOptions& options) const = 0;

    void expect_right(const ConvolutionOptions& options, const std::string& implementation);
    void expect_near(const char* what, const std::vector<double>& got, const std::vector<double>& expected,
                     Type type) const;

    unsigned seed_;
    std::mt19937 random_;
    testing::ScopedTrace trace_;
    const Backend* device_ = nullptr;
};

/// Of the largest value: f32 sums of at most 10^4 products; bf16 rounds each result to 2^-9.
inline void ConvolutionTest::expect_near(const char* what, const std::vector<double>& got,
                                         const std::vector<double>& expected, Type type) const {
    const double allowed = type == Type::f32 ? 2e-5 : 4e-3;
    double largest = 1e-30;
    for (const double v : expected) largest = std::max(largest, std::abs(v));
    ASSERT_EQ(got.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i)
        ASSERT_NEAR(got[i], expected[i], allowed * largest) << what << ", place " << i;
}

inline void ConvolutionTest::expect_right(const ConvolutionOptions& o, const std::string& implementation) {
    SCOPED_TRACE(text_of(o));
    simt::schedule_by(random_() % 2 ? random_() : 0);
    const auto convolution = make(o);
    EXPECT_EQ(convolution->implementation(), implementation);
    const std::int64_t taps = o.taps(), voxels = o.src.voxels(), c = o.src.c;
    const Array x = noise(o.src), before = noise(o.dst()), gradient = noise(o.dst());
    const std::vector<float> weights = noise(o.dst_channels * c * taps), bias = noise(o.dst_channels);
    const KernelArray<float> w(*device_, weights), b(*device_, bias);
    const KernelArray<float> diff_w(*device_, o.dst_channels * c * taps, NAN), diff_b(*device_, o.dst_channels, NAN);
    const auto scratch = kernel_scratch(*device_, convolution->scratch_bytes());
    const KernelTensor src(*device_, x, o.src_layout, o.src_type), dst(*device_, before, o.dst_layout, o.dst_type);
    const KernelTensor diff_dst(*device_, gradient, o.dst_layout, o.dst_type),
        diff_src(*device_, o.src, o.src_layout, o.src_type);

    Array y = reference::convolution(x, {weights.begin(), weights.end()},
                                     o.bias ? std::vector<double>(bias.begin(), bias.end()) : std::vector<double>(),
                                     o.dst_channels, o.kernel.d);
    for (std::size_t i = 0; o.write == Write::accumulate && i < y.values.size(); ++i) y.values[i] += before.values[i];
    convolution->forward({}, src.view(), w.data(), b.data(), dst.view(), scratch.data());
    expect_near("dst", dst.array().values, y.values, o.dst_type);

    Array diff_x(o.src);
    std::vector<double> diff_bias(bias.size());
    each_pair(o, [&](std::int64_t n, std::int64_t to, std::int64_t from, std::int64_t tap) {
        for (std::int64_t out = 0; out < o.dst_channels; ++out)
            for (std::int64_t in = 0; in < c; ++in) {
                const auto at = static_cast<std::size_t>((out * c + in) * taps + tap);
                const auto place = static_cast<std::size_t>((n * c + in) * voxels + from);
                const double s = gradient.values[static_cast<std::size_t>((n * o.dst_channels + out) * voxels + to)];
                diff_x.values[place] += s * weights[at];
            }
    });
    reference::each(o.dst(), [&](auto n, auto out, auto d, auto h, auto i) {
        diff_bias[static_cast<std::size_t>(out)] += gradient.at(n, out, d, h, i);
    });
    convolution->backward_data({}, diff_dst.view(), w.data(), diff_src.view(), scratch.data());
    expect_near("diff_src", diff_src.array().values, diff_x.values, o.src_type);
    const auto weight_gradient = [&] {
        convolution->backward_weights(KernelStream(*device_), src.view(), diff_dst.view(), diff_w.data(),
                                      o.bias ? diff_b.data() : nullptr, scratch.data());
        const std::vector<float> got = diff_w.host();
        return std::vector<double>(got.begin(), got.end());
    };
    const std::vector<double> got = weight_gradient();
    expect_near("diff_weights", got, expected_weight_gradient(o, x, gradient), Type::f32);
    if (o.bias) {
        const std::vector<float> sums = diff_b.host();
        expect_near("diff_bias", {sums.begin(), sums.end()}, diff_bias, Type::f32);
    }
    EXPECT_EQ(got, weight_gradient()) << "two runs differ";
}

inline ConvolutionOptions options_of(const Shape& src, std::int64_t outputs, int kernel,
                                     Layout layout = Layout::ndhwc) {
    ConvolutionOptions options;
    options.src = src;
    options.dst_channels = outputs;
    options.kernel = kernel;
    options.src_layout = options.dst_layout = layout;
    return options;
}

}  // namespace iwseg
