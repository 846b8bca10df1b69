#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include "tests/support/backends.h"
#include "tests/support/kernel_tensor.h"
#include "tests/support/reference_operations.h"

// What tests of operations share: each runs in every form a backend has, on fresh random inputs, against double
// precision and, gradients, against central differences of the double-precision forward pass. The seed is printed on
// failure.
namespace iwseg {

using reference::Array;

struct OperationForm {
    TestBackend backend;
    Layout layout;
    Type type;
};

inline std::ostream& operator<<(std::ostream& out, const OperationForm& form) {
    const char* layouts[] = {"ncdhw", "ndhwc", "blocked8", "blocked16"};
    return out << name_of(form.backend) << '_' << layouts[static_cast<int>(form.layout)]
               << (form.type == Type::bf16 ? "_bf16" : "_f32");
}

inline const std::vector<OperationForm> kForms = {
    {TestBackend::cpu, Layout::ncdhw, Type::f32},      {TestBackend::cpu, Layout::blocked8, Type::f32},
    {TestBackend::cpu, Layout::blocked16, Type::f32},  {TestBackend::cpu, Layout::blocked8, Type::bf16},
    {TestBackend::cpu, Layout::blocked16, Type::bf16}, {TestBackend::simt, Layout::ndhwc, Type::f32},
    {TestBackend::simt, Layout::ndhwc, Type::bf16},    {TestBackend::cuda, Layout::ndhwc, Type::f32},
    {TestBackend::cuda, Layout::ndhwc, Type::bf16}};

/// Channels that fill packs and blocks, and that do not.
inline constexpr std::int64_t kChannels[] = {1, 3, 8, 16, 20, 64, 257};

inline void expect_close(const Array& got, const Array& expected, double allowed) {
    double largest = 1e-30;
    for (const double v : expected.values) largest = std::max(largest, std::abs(v));
    for (std::size_t i = 0; i < expected.values.size(); ++i)
        ASSERT_NEAR(got.values[i], expected.values[i], allowed * largest) << "place " << i;
}

inline std::vector<float> to_floats(const std::vector<double>& values) {
    return {values.begin(), values.end()};
}
inline std::vector<double> to_doubles(const std::vector<float>& values) {
    return {values.begin(), values.end()};
}

class OperationTest : public testing::TestWithParam<OperationForm> {
  protected:
    OperationTest()
        : seed_(std::random_device{}()), random_(seed_), trace_(__FILE__, __LINE__, "seed " + std::to_string(seed_)) {}
    ~OperationTest() override { simt::schedule_by(0); }
    void SetUp() override {
        IWSEG_SKIP_WITHOUT_DEVICE(GetParam().backend);
        stream_.emplace(device());
    }

    Stream stream() const { return *stream_; }
    const Backend& device() const { return backend_of(GetParam().backend); }
    /// On the executor, runs a test in order and on random schedules, and looks for what was written past a buffer.
    void on_schedules(const std::function<void()>& body) {
        for (const std::uint64_t seed :
             {std::uint64_t{0}, std::uint64_t{random_()} | 1, std::uint64_t{random_()} | 1}) {
            SCOPED_TRACE("schedule " + std::to_string(seed));
            simt::schedule_by(seed);
            body();
            simt::check_sentinels();
            for (const unsigned counter : stream_->counters()) ASSERT_EQ(counter, 0u) << "a launch left its counter";
            if (GetParam().backend != TestBackend::simt || HasFatalFailure()) return;
        }
    }

    std::int64_t below(std::int64_t low, std::int64_t high) {
        return std::uniform_int_distribution<std::int64_t>(low, high)(random_);
    }
    /// Sides of a volume, from `low` to less the more channels there are: central differences run over it many times.
    Shape shape_of(std::int64_t channels, std::int64_t low) {
        const std::int64_t high = channels > 100 ? 3 : channels > 20 ? 4 : 6;
        return {below(1, 2), channels, below(low, high), below(low, high), below(low, high + 3)};
    }
    /// Values that bf16 holds exactly, so that only a kernel's own rounding is seen.
    Array noise(const Shape& shape) {
        Array array(shape);
        for (double& value : array.values)
            value = round_to_bf16(static_cast<float>(std::normal_distribution<>()(random_)));
        return array;
    }
    std::vector<double> noise(std::int64_t count) { return noise(Shape{1, 1, 1, 1, count}).values; }

    KernelTensor tensor(const Array& array) const { return {device(), array, GetParam().layout, GetParam().type}; }
    KernelTensor empty(const Shape& shape) const { return {device(), shape, GetParam().layout, GetParam().type}; }
    KernelArray<float> floats(const std::vector<double>& values) const { return {device(), to_floats(values)}; }
    /// As NaN, so that what a kernel leaves out is seen.
    KernelArray<float> blank(std::size_t count) const { return {device(), static_cast<std::int64_t>(count), NAN}; }
    KernelArray<unsigned char> scratch(std::int64_t bytes) const { return kernel_scratch(device(), bytes); }
    /// Of the largest value: f32 sums of at most 10^4 products; bf16 rounds each result to 2^-9.
    double tolerance() const { return GetParam().type == Type::f32 ? 2e-5 : 6e-3; }
    /// What the CPU makes of the same operation in plain f32: every place of a gradient, where differences check a few.
    template <class Run>
    Array on_cpu(const Array& before, Run&& run) const {
        std::vector<KernelTensor> inputs;
        KernelTensor result(cpu::backend(), before, Layout::ncdhw, Type::f32);
        const auto view = [&](const Array& array) {
            inputs.emplace_back(cpu::backend(), array, Layout::ncdhw, Type::f32);
            return inputs.back().view();
        };
        run(cpu::backend(), view, result.view());
        return result.array();
    }

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
        const double by_differences = (value(kept + step) - value(kept - step)) / (2 * step);
        x[place] = kept;
        return by_differences;
    }

    /// Compares some places of a gradient with central differences.
    template <class Forward>
    void check_gradient(const std::vector<double>& gradient, std::vector<double>& x, const Array& weight,
                        Forward&& forward, double allowed) {
        double largest = 0;
        for (const double g : gradient) largest = std::max(largest, std::abs(g));
        for (int i = 0; i < 12; ++i) {
            const auto place = static_cast<std::size_t>(below(0, static_cast<std::int64_t>(x.size()) - 1));
            // Error of order step^2 where f is smooth, and 1e-14 / step of rounding. Where a ReLU changes side within
            // the step the difference is no derivative: a step too small for that decides.
            double by_differences = difference(x, place, 1e-5, weight, forward);
            if (std::abs(gradient[place] - by_differences) > allowed * largest)
                by_differences = difference(x, place, 1e-8, weight, forward);
            EXPECT_NEAR(gradient[place], by_differences, allowed * largest + 1e-5) << "place " << place;
        }
    }

    std::optional<KernelStream> stream_;
    unsigned seed_;
    std::mt19937 random_;
    testing::ScopedTrace trace_;
};

}  // namespace iwseg
