#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

#include "kernels/cpu/thread_pool.h"
#include "kernels/device/bf16.h"
#include "kernels/loss/loss.h"
#include "losses/loss.h"
#include "losses/loss_program.h"
#include "tests/support/backends.h"
#include "tests/support/kernel_tensor.h"
#include "tests/support/masks.h"
#include "tests/support/reference_losses.h"

/// Random batches for losses, their two passes on any backend, and the same in double precision.
namespace iwseg {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

/// What a loss reads. Labels and table hold the weights.
struct Batch {
    Shape shape;
    std::vector<float> logit;
    std::vector<std::uint8_t> target;
    std::vector<std::int32_t> labels;
    std::vector<float> table;
    std::int64_t stride = 1;
    bool nearest_wanted = false;  ///< by what it is in double precision: that takes long
    float step = -1;              ///< steps done before; below 0: after all warm-ups
    int connectivity = 26;        ///< of detections
};

struct Result {
    double value;
    std::vector<float> gradient;
    std::vector<double> terms = {};  ///< what each adds, of several
};

inline Batch random_batch(const Shape& shape, double spread, std::mt19937& random) {
    Batch b{shape, {}, {}, {}, {}, 5};
    std::normal_distribution<float> logit(0.0f, static_cast<float>(spread));
    std::discrete_distribution<int> label({60, 10, 10, 1, 1});
    std::uniform_real_distribution<float> weight(1.0f, 50.0f);
    for (std::int64_t v = 0; v < shape.elements(); ++v) {
        b.logit.push_back(logit(random));
        b.labels.push_back(label(random));
        b.target.push_back(b.labels.back() > 0);
    }
    for (std::int64_t i = 0; i < shape.n * b.stride; ++i) b.table.push_back(weight(random));
    return b;
}

/// That what terms add is the value, but for rounding in f64; values end with what lies behind them.
inline void expect_sum(const std::vector<double>& terms, double value) {
    double sum = 0, size = 0;
    for (std::size_t i = 0; i + 1 < terms.size(); ++i) sum += terms[i], size += std::fabs(terms[i]);
    if (std::isfinite(value)) {
        EXPECT_NEAR(sum, value, 1e-6 * size + 1e-12);
    }
    EXPECT_EQ(terms.back(), -7.0) << "wrote past the terms";
}

template <class T = float>
Result compute(TestBackend backend, const Loss& loss, const Batch& b, Stream threads = {}) {
    constexpr Type type = std::is_same_v<T, float> ? Type::f32 : Type::bf16;
    const Backend& device = backend_of(backend);
    const KernelStream of_device(device);
    const Stream stream = device.host_memory ? threads : of_device;
    std::vector<T> rounded(b.logit.size()), sentinel(b.logit.size() + 1);
    for (std::size_t v = 0; v < rounded.size(); ++v) store(rounded[v], b.logit[v]);
    store(sentinel.back(), -7.0f);
    const KernelArray<T> logit(device, rounded), gradient(device, sentinel);
    const KernelArray<std::uint8_t> target(device, b.target);
    const KernelArray<std::int32_t> labels(device, b.labels);
    const KernelArray<float> table(device, b.table), step(device, 1, b.step);
    const LossInput input{
        {logit.data(), b.shape, type},      target.data(), labels.data(), table.data(), b.stride, nullptr,
        b.step >= 0 ? step.data() : nullptr};
    const LossProgram program(loss, device, b.shape, b.stride);
    const KernelArray<double> scratch(device, program.scratch_bytes() / static_cast<std::int64_t>(sizeof(double)) + 1,
                                      -7.0);
    const KernelArray<double> value(device, 1, -7.0);
    // As a training asks for them: of losses of several terms. They leave what the gradient reads as it is without.
    const bool several = loss.terms.size() > 1;
    const KernelArray<double> terms(device, static_cast<std::int64_t>(loss.terms.size()) + 1, -7.0);
    program.value(stream, input, scratch.data(), value.data(), Write::overwrite, several ? terms.data() : nullptr);
    program.gradient(stream, input, scratch.data(), {gradient.data(), b.shape, type}, Write::overwrite);
    EXPECT_EQ(scratch.host().back(), -7.0) << "wrote past the scratch";
    if (several) expect_sum(terms.host(), value.host()[0]);
    const std::vector<T> gradients = gradient.host();
    EXPECT_EQ(to_f32(gradients.back()), -7.0f) << "wrote past the gradient";
    Result result{value.host()[0], {}};
    for (std::size_t v = 0; v < b.logit.size(); ++v) result.gradient.push_back(to_f32(gradients[v]));
    if (several) result.terms = terms.host();
    if (backend == TestBackend::simt) simt::check_sentinels();
    return result;
}

inline void expect_same_bits(const Result& one, const Result& other) {
    EXPECT_EQ(std::bit_cast<std::uint64_t>(one.value), std::bit_cast<std::uint64_t>(other.value));
    EXPECT_TRUE(one.gradient == other.gradient);
}

/// That whatever order the executor's threads run in does not show.
inline void expect_no_schedule_shows(const Loss& loss, const Batch& b) {
    const Result first = compute(TestBackend::simt, loss, b);
    for (std::uint64_t schedule = 1; schedule <= 10; ++schedule) {
        simt::schedule_by(schedule);
        expect_same_bits(first, compute(TestBackend::simt, loss, b));
    }
    simt::schedule_by(0);
}

/// That as many threads as may be give the bits of one.
inline void expect_no_thread_count_shows(const Loss& loss, const Batch& b) {
    SCOPED_TRACE(loss.name);
    const Result one = compute(TestBackend::cpu, loss, b);
    for (int threads = 2; threads <= 4; ++threads) {
        ThreadPool pool(threads);
        expect_same_bits(one, compute(TestBackend::cpu, loss, b, pool.stream()));
    }
}

/// Where p is 1/2 or more at its logits, the components of that, and p where losses hold it constant.
inline void set_detections(reference::LossBatch& r, const Shape& shape, int connectivity) {
    const Shape one{1, 1, shape.d, shape.h, shape.w};
    r.detection.clear(), r.constant_p.clear();
    for (std::int64_t n = 0; n < shape.n; ++n) {
        Mask found;
        for (std::int64_t v = n * one.voxels(); v < (n + 1) * one.voxels(); ++v) {
            found.push_back(r.t[v] != reference::kNoTruth && r.z[v] >= 0);
            r.constant_p.push_back(reference::sigmoid(r.z[v]));
        }
        const Labels labels = flood_fill(found, one, connectivity);
        r.detection.insert(r.detection.end(), labels.begin(), labels.end());
    }
}

/// Of a loss's definition, in double precision.
inline reference::LossBatch in_double(const Batch& b) {
    reference::LossBatch r{b.shape.n, {b.logit.begin(), b.logit.end()}, {}, {}, {}, {}, b.step};
    for (std::int64_t v = 0; v < b.shape.elements(); ++v) {
        const bool known = b.target[v] != kIgnored;
        r.t.push_back(known ? b.target[v] : reference::kNoTruth);
        r.lesion.push_back(b.labels[v]);
        r.w.push_back(known ? b.table[v / b.shape.voxels() * b.stride + b.labels[v]] : 0);
    }
    set_detections(r, b.shape, b.connectivity);
    if (b.nearest_wanted) r.nearest = reference::nearest_lesions(r, {b.shape.d, b.shape.h, b.shape.w});
    return r;
}

inline float largest(const std::vector<float>& numbers) {
    float most = 0;
    for (const float number : numbers) most = std::max(most, std::fabs(number));
    return most;
}

/// Central differences of the reference, by each of the first voxels of the batch.
inline void expect_gradient_of_reference(const Loss& loss, const Batch& b, const Result& found, std::int64_t voxels) {
    reference::LossBatch r = in_double(b);
    constexpr double step = 1e-4;  // error about step^2 = 1e-8 and rounding 1e-16 / step = 1e-12
    for (std::int64_t v = 0; v < voxels; ++v) {
        if (r.t[v] == reference::kNoTruth) continue;
        const double z = r.z[v];
        r.z[v] = z + step;
        const double above = reference::loss(loss, r);
        r.z[v] = z - step;
        const double below = reference::loss(loss, r);
        r.z[v] = z;
        ASSERT_NEAR(found.gradient[v], (above - below) / (2 * step), 1e-5 * largest(found.gradient) + 1e-11)
            << "voxel " << v << ", logit " << z << ", target " << int{b.target[v]};
    }
}

class LossKernel : public testing::TestWithParam<TestBackend> {
  protected:
    void SetUp() override { IWSEG_SKIP_WITHOUT_DEVICE(GetParam()); }

    template <class T = float>
    Result compute(const Loss& loss, const Batch& b) const {
        return iwseg::compute<T>(GetParam(), loss, b);
    }
};

}  // namespace iwseg
