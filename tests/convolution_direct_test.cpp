// The direct convolution kernels on the executor, in order and by random schedules, and on a GPU where there is one:
// all three passes against double precision. Fresh random inputs; the seed is printed on failure.
#include "kernels/convolution_direct.h"

#include <random>
#include <sstream>

#include "tests/backends.h"
#include "tests/kernel_tensor.h"

namespace iwseg {
namespace {

using reference::Array;

std::string text_of(const ConvolutionOptions& o) {
    const auto form = [](Layout layout, Type type) {
        return std::string(layout == Layout::ncdhw ? "ncdhw" : "ndhwc") + (type == Type::bf16 ? " bf16" : " f32");
    };
    std::ostringstream out;
    out << o.src.n << "x" << o.src.c << "x" << o.src.d << "x" << o.src.h << "x" << o.src.w << " "
        << form(o.src_layout, o.src_type) << " to " << o.dst_channels << " " << form(o.dst_layout, o.dst_type)
        << ", kernel " << o.kernel << (o.bias ? ", bias" : "") << (o.write == Write::accumulate ? ", sum" : "");
    return out.str();
}

/// Calls body(n, voxel of dst, voxel of src, tap) for every pair of voxels that a tap joins.
template <class Body>
void each_pair(const ConvolutionOptions& o, Body&& body) {
    const std::int64_t k = o.kernel, r = k / 2;
    const Shape& s = o.src;
    for (std::int64_t n = 0; n < s.n; ++n)
        for (std::int64_t v = 0; v < s.voxels(); ++v)
            for (std::int64_t tap = 0; tap < k * k * k; ++tap) {
                const std::int64_t d = v / s.w / s.h + tap / k / k - r, h = v / s.w % s.h + tap / k % k - r;
                const std::int64_t w = v % s.w + tap % k - r;
                if (d >= 0 && d < s.d && h >= 0 && h < s.h && w >= 0 && w < s.w) body(n, v, (d * s.h + h) * s.w + w, tap);
            }
}

class DirectConvolution : public testing::TestWithParam<Backend> {
  protected:
    DirectConvolution() : seed_(std::random_device{}()), random_(seed_), trace_(__FILE__, __LINE__, "seed " + std::to_string(seed_)) {}
    void SetUp() override {
        IWSEG_SKIP_WITHOUT_DEVICE(GetParam());
        device_ = &kernels_of(GetParam());
    }
    void TearDown() override {
        simt::check_sentinels();
        simt::schedule_by(0);
    }

    std::int64_t below(std::int64_t low, std::int64_t high) {
        return std::uniform_int_distribution<std::int64_t>(low, high)(random_);
    }
    /// Values that bf16 holds exactly, so that only a kernel's own rounding is judged.
    Array noise(const Shape& shape) {
        Array array(shape);
        for (double& value : array.values) value = round_to_bf16(static_cast<float>(std::normal_distribution<>()(random_)));
        return array;
    }
    std::vector<float> noise(std::int64_t count) {
        const Array array = noise(Shape{1, 1, 1, 1, count});
        return {array.values.begin(), array.values.end()};
    }
    std::unique_ptr<Convolution> make(const ConvolutionOptions& options) const {
        return GetParam() == Backend::cuda ? cuda::make_direct_convolution(options, {})
                                           : simt::make_direct_convolution(options, {});
    }

    void expect_right(const ConvolutionOptions& options, const std::string& implementation);
    void expect_near(const char* what, const std::vector<double>& got, const std::vector<double>& expected, Type type) const;

    unsigned seed_;
    std::mt19937 random_;
    testing::ScopedTrace trace_;
    const Kernels* device_ = nullptr;
};

/// Of the largest value: f32 sums of at most 10^4 products; bf16 rounds each result to 2^-9.
void DirectConvolution::expect_near(const char* what, const std::vector<double>& got, const std::vector<double>& expected,
                                    Type type) const {
    const double allowed = type == Type::f32 ? 2e-5 : 4e-3;
    double largest = 1e-30;
    for (const double v : expected) largest = std::max(largest, std::abs(v));
    ASSERT_EQ(got.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i)
        ASSERT_NEAR(got[i], expected[i], allowed * largest) << what << ", place " << i;
}

void DirectConvolution::expect_right(const ConvolutionOptions& o, const std::string& implementation) {
    SCOPED_TRACE(text_of(o));
    simt::schedule_by(random_() % 2 ? random_() : 0);
    const auto convolution = make(o);
    EXPECT_EQ(convolution->implementation(), implementation);
    const std::int64_t taps = o.kernel * o.kernel * o.kernel, voxels = o.src.voxels(), c = o.src.c;
    const Array x = noise(o.src), before = noise(o.dst()), slope = noise(o.dst());
    const std::vector<float> weights = noise(o.dst_channels * c * taps), bias = noise(o.dst_channels);
    const KernelArray<float> w(*device_, weights), b(*device_, bias);
    const KernelArray<float> diff_w(*device_, o.dst_channels * c * taps, NAN), diff_b(*device_, o.dst_channels, NAN);
    const auto scratch = kernel_scratch(*device_, convolution->scratch_bytes());
    const KernelTensor src(*device_, x, o.src_layout, o.src_type), dst(*device_, before, o.dst_layout, o.dst_type);
    const KernelTensor diff_dst(*device_, slope, o.dst_layout, o.dst_type), diff_src(*device_, o.src, o.src_layout, o.src_type);

    Array y = reference::convolution(x, {weights.begin(), weights.end()},
                                     o.bias ? std::vector<double>(bias.begin(), bias.end()) : std::vector<double>(),
                                     o.dst_channels, o.kernel);
    for (std::size_t i = 0; o.write == Write::accumulate && i < y.values.size(); ++i) y.values[i] += before.values[i];
    convolution->forward({}, src.view(), w.data(), b.data(), dst.view(), scratch.data());
    expect_near("dst", dst.array().values, y.values, o.dst_type);

    Array diff_x(o.src);
    std::vector<double> diff_weights(weights.size()), diff_bias(bias.size());
    each_pair(o, [&](std::int64_t n, std::int64_t to, std::int64_t from, std::int64_t tap) {
        for (std::int64_t out = 0; out < o.dst_channels; ++out)
            for (std::int64_t in = 0; in < c; ++in) {
                const auto at = static_cast<std::size_t>((out * c + in) * taps + tap);
                const auto place = static_cast<std::size_t>((n * c + in) * voxels + from);
                const double s = slope.values[static_cast<std::size_t>((n * o.dst_channels + out) * voxels + to)];
                diff_x.values[place] += s * weights[at];
                diff_weights[at] += s * x.values[place];
            }
    });
    reference::each(o.dst(), [&](auto n, auto out, auto d, auto h, auto i) {
        diff_bias[static_cast<std::size_t>(out)] += slope.at(n, out, d, h, i);
    });
    convolution->backward_data({}, diff_dst.view(), w.data(), diff_src.view(), scratch.data());
    expect_near("diff_src", diff_src.array().values, diff_x.values, o.src_type);
    const auto weight_gradient = [&] {
        convolution->backward_weights({}, src.view(), diff_dst.view(), diff_w.data(), o.bias ? diff_b.data() : nullptr, scratch.data());
        const std::vector<float> got = diff_w.host();
        return std::vector<double>(got.begin(), got.end());
    };
    const std::vector<double> got = weight_gradient();
    expect_near("diff_weights", got, diff_weights, Type::f32);
    if (o.bias) {
        const std::vector<float> sums = diff_b.host();
        expect_near("diff_bias", {sums.begin(), sums.end()}, diff_bias, Type::f32);
    }
    EXPECT_EQ(got, weight_gradient()) << "two runs differ";
}

ConvolutionOptions options_of(const Shape& src, std::int64_t outputs, int kernel) {
    ConvolutionOptions options;
    options.src = src;
    options.dst_channels = outputs;
    options.kernel = kernel;
    options.src_layout = options.dst_layout = Layout::ndhwc;
    return options;
}

TEST_P(DirectConvolution, AgreesInEveryLayoutAndType) {
    for (int i = 0; i < 32; ++i) {
        // Odd channels, as the fast paths do not take them.
        ConvolutionOptions o = options_of({below(1, 2), 2 * below(0, 6) + 1, below(1, 5), below(1, 6), below(1, 9)},
                                          2 * below(1, 9) + 1, i % 2 ? 3 : 1);
        if (i & 2) o.src_layout = Layout::ncdhw;
        if (i & 4) o.dst_layout = Layout::ncdhw;
        if (i & 8) o.src_type = Type::bf16;
        if (i & 16) o.dst_type = Type::bf16;
        o.bias = random_() % 2;
        o.write = random_() % 2 ? Write::accumulate : Write::overwrite;
        expect_right(o, "direct");
    }
}

TEST_P(DirectConvolution, AgreesForMoreRowsThanParts) {
    expect_right(options_of({2, 3, 17, 40, 2}, 5, 3), "direct");
}

TEST_P(DirectConvolution, FirstOfTheNetworkAgrees) {
    for (int i = 0; i < 16; ++i) {
        ConvolutionOptions o = options_of({below(1, 2), i % 4 + 1, below(1, 9), below(1, 17), below(1, 70)}, 8 * below(1, 4), 3);
        if (i != 3) o.src_layout = Layout::ncdhw;
        o.src_type = i / 4 % 2 ? Type::bf16 : Type::f32;
        o.dst_type = i / 8 % 2 ? Type::bf16 : Type::f32;
        o.bias = random_() % 2;
        o.write = random_() % 2 ? Write::accumulate : Write::overwrite;
        expect_right(o, "direct, few to many");
    }
}

TEST_P(DirectConvolution, FirstOfTheNetworkAgreesForMoreTilesThanBlocks) {
    ConvolutionOptions o = options_of({2, 1, 62, 134, 3}, 8, 3);
    o.src_layout = Layout::ncdhw;
    o.src_type = o.dst_type = Type::bf16;
    expect_right(o, "direct, few to many");
}

TEST_P(DirectConvolution, LastOfTheNetworkAgrees) {
    for (int i = 0; i < 16; ++i) {
        ConvolutionOptions o = options_of({below(1, 3), 8 * below(1, i % 4 == 3 ? 64 : 6), below(1, 9), below(1, 9), below(1, 9)},
                                          i % 4 + 1, 1);
        o.dst_layout = Layout::ncdhw;
        o.src_type = i / 4 % 2 ? Type::bf16 : Type::f32;
        o.bias = random_() % 2;
        o.write = random_() % 2 ? Write::accumulate : Write::overwrite;
        expect_right(o, "direct, many to few");
    }
}

TEST_P(DirectConvolution, LastOfTheNetworkAgreesForMoreVoxelsThanAllThreads) {
    ConvolutionOptions o = options_of({2, 64, 16, 32, 40}, 1, 1);
    o.src_type = Type::bf16;
    o.dst_layout = Layout::ncdhw;
    expect_right(o, "direct, many to few");
}

TEST_P(DirectConvolution, RefusesWhatItCannotTake) {
    ConvolutionOptions o = options_of({1, 3, 2, 2, 2}, 3, 5);
    EXPECT_THROW(make(o), std::invalid_argument);
    o.kernel = 3;
    o.src_layout = Layout::blocked8;
    EXPECT_THROW(make(o), std::invalid_argument);
    o.src_layout = Layout::ndhwc;
    const auto convolution = make(o);
    const KernelTensor src(*device_, Shape{1, 3, 2, 2, 1}, Layout::ndhwc, Type::f32), dst(*device_, o.dst(), Layout::ndhwc, Type::f32);
    EXPECT_THROW(convolution->forward({}, src.view(), nullptr, nullptr, dst.view(), nullptr), std::invalid_argument);
}

INSTANTIATE_TEST_SUITE_P(On, DirectConvolution, testing::Values(Backend::simt, Backend::cuda),
                         [](const auto& one) { return name_of(one.param); });

}  // namespace
}  // namespace iwseg
