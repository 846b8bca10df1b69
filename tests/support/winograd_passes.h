#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "kernels/convolution/operands.h"
#include "kernels/convolution/winograd/winograd_convolution.h"
#include "kernels/cpu/thread_pool.h"
#include "tests/support/convolution_operands.h"
#include "tests/support/convolution_products.h"
#include "tests/support/operation_references.h"

namespace iwseg {

/// What a convolution leaves.
struct Passes {
    Array dst, diff_src, diff_weights, diff_bias;
};

inline const std::vector<OperationForm> kWinogradForms = {{TestBackend::cpu, Layout::blocked8, Type::f32},
                                                          {TestBackend::cpu, Layout::blocked16, Type::f32},
                                                          {TestBackend::cpu, Layout::blocked8, Type::bf16},
                                                          {TestBackend::cpu, Layout::blocked16, Type::bf16}};

/// Runs Winograd's convolutions for every set of vectors that the processor has, beside double precision.
class WinogradConvolution : public ConvolutionPassTest {
  protected:
    std::vector<cpu::Vectors> vectors() const {
        std::vector<cpu::Vectors> all;
        for (const cpu::Vectors one : {cpu::Vectors::eight, cpu::Vectors::avx512})
            if (one <= cpu::best_vectors() && (one == cpu::Vectors::avx512 || GetParam().layout == Layout::blocked8))
                all.push_back(one);
        return all;
    }
    void SetUp() override {
        ConvolutionPassTest::SetUp();
        if (vectors().empty()) GTEST_SKIP() << "needs AVX2 or NEON, or AVX-512 for blocks of 16";
    }

    ConvolutionOptions options(const Shape& src, std::int64_t outputs, int depth = 3) const {
        ConvolutionOptions o;
        o.src = src;
        o.dst_channels = outputs;
        o.kernel = {depth, 3, 3};
        o.src_layout = o.dst_layout = GetParam().layout;
        o.src_type = o.dst_type = GetParam().type;
        o.bf16_operands = operands_;
        return o;
    }
    ConvolutionOptions any(const Shape& src, std::int64_t outputs) {
        ConvolutionOptions o = options(src, outputs, below(0, 2) ? 3 : 1);
        o.bias = below(0, 1) == 1;
        o.write = below(0, 1) ? Write::accumulate : Write::overwrite;
        return o;
    }

    static Array array_of(const std::vector<float>& values) {
        Array array({1, 1, 1, 1, static_cast<std::int64_t>(values.size())});
        array.values = to_doubles(values);
        return array;
    }

    /// With weights written to `w`, and scratch as an earlier call left it.
    Passes run(Convolution& convolution, const ConvolutionOptions& o, const Operands& with, Stream stream,
               const KernelArray<float>& w, const KernelArray<unsigned char>& work) const {
        std::copy(with.weights.begin(), with.weights.end(), w.data());
        const auto b = floats(with.bias);
        const KernelTensor src = tensor(with.src), dst = tensor(with.before);
        convolution.forward(stream, src.view(), w.data(), b.data(), dst.view(), work.data());
        EXPECT_TRUE(dst.padding_is_zero());
        const KernelTensor diff = tensor(with.diff), diff_src = empty(o.src);
        convolution.backward_data(stream, diff.view(), w.data(), diff_src.view(), work.data());
        EXPECT_TRUE(diff_src.padding_is_zero());
        const KernelArray<float> diff_weights = blank(with.weights.size()), diff_bias = blank(with.bias.size());
        convolution.backward_weights(stream, src.view(), diff.view(), diff_weights.data(),
                                     o.bias ? diff_bias.data() : nullptr, work.data());
        const std::vector<unsigned char> used = work.host();
        EXPECT_TRUE(std::all_of(used.begin() + convolution.scratch_bytes(), used.end(), [](unsigned char byte) {
            return byte == 0xFF;
        })) << "written past the scratch";
        return {dst.array(), diff_src.array(), array_of(diff_weights.host()), array_of(diff_bias.host())};
    }
    Passes run(Convolution& convolution, const ConvolutionOptions& o, const Operands& with, Stream stream) const {
        return run(convolution, o, with, stream, blank(with.weights.size()), scratch(convolution.scratch_bytes()));
    }
    Passes run(const ConvolutionOptions& o, const Operands& with, cpu::Vectors v, Stream stream) const {
        return run(*cpu::make_winograd_convolution(stream, o, {}, v), o, with, stream);
    }

    static Passes expected(const ConvolutionOptions& o, const Operands& with) {
        Passes results{reference::convolution(o, with.src, with.weights, o.bias ? with.bias : std::vector<double>()),
                       Array(o.src), Array({1, 1, 1, 1, o.weight_count()}), Array({1, 1, 1, 1, o.dst_channels})};
        for (std::size_t i = 0; o.write == Write::accumulate && i < results.dst.values.size(); ++i)
            results.dst.values[i] += with.before.values[i];
        each_product(o, [&](std::int64_t to, std::int64_t from, std::int64_t weight) {
            const auto i = static_cast<std::size_t>(to), j = static_cast<std::size_t>(from),
                       k = static_cast<std::size_t>(weight);
            results.diff_src.values[j] += with.diff.values[i] * with.weights[k];
            results.diff_weights.values[k] += with.diff.values[i] * with.src.values[j];
        });
        reference::each(o.dst(), [&](auto n, auto out, auto d, auto h, auto w) {
            results.diff_bias.values[static_cast<std::size_t>(out)] += with.diff.at(n, out, d, h, w);
        });
        return results;
    }

    /// How large results of so many products are, of which the transformed sums are made: the largest of one operand
    /// times the root of the sum of the squares of the other. Not the largest result: where there are few of them all
    /// may be sums that cancel.
    struct Magnitudes {
        double dst, diff_src, diff_weights, diff_bias;
    };
    static double largest(const std::vector<double>& values) {
        double most = 0;
        for (const double v : values) most = std::max(most, std::abs(v));
        return most;
    }
    static Magnitudes magnitudes(const ConvolutionOptions& o, const Operands& with) {
        const auto channels = static_cast<std::size_t>(o.src.c), outputs = static_cast<std::size_t>(o.dst_channels),
                   taps = static_cast<std::size_t>(o.taps());
        std::vector<double> of_output(outputs), of_input(channels), src(channels), diff(outputs);
        for (std::size_t i = 0; i < with.weights.size(); ++i) {
            const double square = with.weights[i] * with.weights[i];
            of_output[i / taps / channels] += square;
            of_input[i / taps % channels] += square;
        }
        const auto each_square = [](const Array& of, std::vector<double>& sums) {
            reference::each(of.shape, [&](auto n, auto c, auto d, auto h, auto w) {
                sums[static_cast<std::size_t>(c)] += of.at(n, c, d, h, w) * of.at(n, c, d, h, w);
            });
        };
        each_square(with.src, src);
        each_square(with.diff, diff);
        return {.dst = largest(with.src.values) * std::sqrt(largest(of_output)) + (o.bias ? largest(with.bias) : 0) +
                       (o.write == Write::accumulate ? largest(with.before.values) : 0),
                .diff_src = largest(with.diff.values) * std::sqrt(largest(of_input)),
                .diff_weights = largest(with.diff.values) * std::sqrt(largest(src)),
                .diff_bias = std::sqrt(largest(diff))};
    }

    /// Root of the mean square of what is off, over that of what should be.
    static double relative_error(const Array& got, const Array& right) {
        double off = 0, all = 0;
        for (std::size_t i = 0; i < right.values.size(); ++i) {
            off += (got.values[i] - right.values[i]) * (got.values[i] - right.values[i]);
            all += right.values[i] * right.values[i];
        }
        return std::sqrt(off / all);
    }
    /// rounding: of what is stored, of itself.
    static void expect_within(const Array& got, const Array& right, double allowed, double rounding) {
        for (std::size_t i = 0; i < right.values.size(); ++i)
            ASSERT_NEAR(got.values[i], right.values[i], allowed + rounding * std::abs(right.values[i]))
                << "element " << i;
    }
    /// An f32 is off by 6e-8 of itself, as is each sum on the way. A result is a sum of 9 of the transformed sums,
    /// whose elements are each up to twice as large as a direct sum's. Measured are up to 7e-7. In pairs both operands
    /// are off by up to 2^-9 = 2e-3 of themselves, as is each of a sum by itself; measured are up to 6e-3.
    void expect_right(const ConvolutionOptions& o, const Operands& with, const Passes& got) {
        const Passes right = expected(o, with);
        const Magnitudes of = magnitudes(o, with);
        constexpr double kAllowed = 4e-6, kInPairs = 2e-2;
        const double allowed = cpu::operand_type(o) == Type::bf16 ? kInPairs : kAllowed;
        const double rounding = o.dst_type == Type::bf16 ? std::ldexp(1.0, -8) : 0;
        expect_within(got.dst, right.dst, allowed * of.dst, rounding);
        expect_within(got.diff_src, right.diff_src, allowed * of.diff_src, rounding);
        expect_within(got.diff_weights, right.diff_weights, kAllowed * of.diff_weights, 0);
        if (o.bias) expect_within(got.diff_bias, right.diff_bias, kAllowed * of.diff_bias, 0);
    }
    void expect_right(const ConvolutionOptions& o) {
        SCOPED_TRACE(testing::Message() << o.src.n << " x " << o.src.c << " to " << o.dst_channels
                                        << " channels, shape " << o.src.d << " " << o.src.h << " " << o.src.w
                                        << ", depth of the kernel " << o.kernel.d);
        const Operands with = operands(o);
        for (const cpu::Vectors v : vectors()) {
            SCOPED_TRACE(name_of(v));
            expect_right(o, with, run(o, with, v, stream()));
        }
    }

    void expect_right_for_every_width_and_height() {
        for (std::int64_t side = 1; side <= 24; ++side) {
            expect_right(any({1, below(1, 20), below(1, 3), below(1, 5), side}, below(1, 20)));
            expect_right(any({1, below(1, 20), below(1, 3), side, below(1, 5)}, below(1, 20)));
        }
    }
    void expect_right_for_every_number_of_channels() {
        for (std::int64_t channels = 1; channels <= 48; ++channels)
            expect_right(any({below(1, 2), channels, below(1, 3), below(1, 5), below(1, 5)}, below(1, 48)));
    }
    void expect_same_bytes_by(const std::vector<int>& thread_counts, const ConvolutionOptions& o, cpu::Vectors v) {
        const Operands with = operands(o);
        const Passes alone = run(o, with, v, {});
        for (const int threads : thread_counts) {
            ThreadPool pool(threads);
            const Passes got = run(o, with, v, pool.stream());
            EXPECT_EQ(got.dst.values, alone.dst.values);
            EXPECT_EQ(got.diff_src.values, alone.diff_src.values);
            EXPECT_EQ(got.diff_weights.values, alone.diff_weights.values);
        }
    }
    /// Of results whose kernel touches what is not finite, and of no others.
    void expect_not_finite_where_touched(int depth) {
        for (const double bad : {static_cast<double>(NAN), HUGE_VAL, -HUGE_VAL}) {
            const ConvolutionOptions o = options({2, 3, 4, 7, 9}, 5, depth);
            Operands with = operands(o);
            for (int i = 0; i < 3; ++i) {
                with.src.at(below(0, 1), below(0, 2), below(0, 3), below(0, 6), below(0, 8)) = bad;
                with.diff.at(below(0, 1), below(0, 4), below(0, 3), below(0, 6), below(0, 8)) = bad;
            }
            const Passes right = expected(o, with);
            for (const cpu::Vectors v : vectors()) {
                const Passes got = run(o, with, v, stream());
                for (std::size_t i = 0; i < right.dst.values.size(); ++i)
                    EXPECT_EQ(std::isfinite(got.dst.values[i]), std::isfinite(right.dst.values[i])) << i;
                for (std::size_t i = 0; i < right.diff_src.values.size(); ++i)
                    EXPECT_EQ(std::isfinite(got.diff_src.values[i]), std::isfinite(right.diff_src.values[i])) << i;
            }
        }
    }

    /// Of bf16: what is multiplied.
    Bf16Operands operands_ = Bf16Operands::widened;
};

}  // namespace iwseg
