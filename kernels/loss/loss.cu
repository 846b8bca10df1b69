#include "kernels/loss/loss.h"

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <variant>

#include "kernels/cuda/last_block.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/pack.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/device/dispatch.h"
#include "kernels/loss/loss_pass.h"

// Two passes over the logits and the target, each one launch: the last block of the first joins the sums. Labels and
// weights are looked up where the target is a lesion, elsewhere the weight is that of background, a number the thread
// holds: what is moved is 5 bytes a voxel for the sums and 9 for the gradient (f32; 3 and 5 for bf16), and 8 more a
// voxel of lesion. Terms are f32; a thread adds those of 4 or 8 voxels as f32 and the rest, and blocks, in double and
// in fixed order.
namespace iwseg::IWSEG_BACKEND {
namespace {

using formulas::kMostCoefficients, formulas::kMostSums, formulas::Voxel;

constexpr int kRow = kMostSums + 1;  ///< what is kept of a block: its sums, and how many of its voxels are ignored
constexpr int kThreads = 256;
/// Blocks that sum a sample, at most: fixed, so that sums do not depend on the card. Two samples fill the largest.
constexpr int kMostBlocks = 512;

template <class T>
struct Voxels {
    const T* logit;
    const std::uint8_t* target;
    const std::int32_t* labels;  ///< or null
    const float* weights;
    std::int64_t stride, voxels;  ///< voxels: of a sample
};

/// W voxels from `first` of the batch, of sample n; background: the weight of what is not lesion. Returns how many of
/// them are ignored.
template <int W, class T>
__device__ __forceinline__ int load(const Voxels<T>& in, std::int64_t first, std::int64_t n, float background,
                                    Voxel (&voxels)[W]) {
    float z[W];
    load_pack<W>(in.logit + first, z);
    const Pack<std::uint8_t, W> target = pack_at<W>(in.target + first);
    unsigned met = 0;
#pragma unroll
    for (int i = 0; i < W; ++i) {
        met |= target.values[i];
        voxels[i] = {z[i], static_cast<float>(target.values[i]), background};
    }
    if (met == 0) return 0;
    int ignored = 0;
#pragma unroll
    for (int i = 0; i < W; ++i) {
        if (target.values[i] == kIgnored) {
            voxels[i] = formulas::kUncounted;
            ++ignored;
        } else if (in.labels && target.values[i] != 0) {
            voxels[i].w = __ldg(in.weights + n * in.stride + __ldg(in.labels + first + i));
        }
    }
    return ignored;
}

template <class T>
__device__ __forceinline__ float background_weight(const Voxels<T>& in, std::int64_t n) {
    return in.labels ? __ldg(in.weights + n * in.stride) : 1.0f;
}

/// Where the sums of blocks go, rows[sample][block], and what is made of them.
struct Sums {
    double* rows;
    float* coefficients;  ///< of each sample
    double* value;
    Write write;  ///< of the value
    unsigned* counter;
    float warmup;
    const float* step;
};

/// In the last block: the loss, and the coefficients of each sample, from the rows of all blocks.
template <class F>
__device__ __forceinline__ void join_rows(const Sums& out, const Shape& shape, const F& formula) {
    const std::int64_t groups = F::kOfBatch ? 1 : shape.n, members = shape.n / groups, rows = members * gridDim.x;
    double total = 0;
    for (std::int64_t g = 0; g < groups; ++g) {
        const double* of_group = out.rows + g * rows * kRow;
        double sums[F::kSums] = {}, ignored = 0;
        for (std::int64_t b = threadIdx.x; b < rows; b += kThreads) {
#pragma unroll
            for (int k = 0; k < F::kSums; ++k) sums[k] += relaxed_load(of_group + b * kRow + k);
            ignored += relaxed_load(of_group + b * kRow + kMostSums);
        }
#pragma unroll
        for (int k = 0; k < F::kSums; ++k) sums[k] = block_sum<kThreads>(sums[k]);
        ignored = block_sum<kThreads>(ignored);
        if (threadIdx.x != 0) continue;
        double c[kMostCoefficients] = {};
        const double value = formulas::value_of_group(formula, sums, static_cast<double>(members * shape.voxels()),
                                                      ignored, 1 / static_cast<double>(groups), c);
        total += formulas::share_of(formulas::warmed_up(out.warmup, out.step), value, c, F::kCoefficients);
        for (std::int64_t n = g * members; n < (g + 1) * members; ++n)
#pragma unroll
            for (int k = 0; k < kMostCoefficients; ++k)
                out.coefficients[n * kMostCoefficients + k] = formulas::as_coefficient(c[k]);
    }
    if (threadIdx.x == 0) *out.value = out.write == Write::overwrite ? total : *out.value + total;
}

template <class F>
[[maybe_unused]] constexpr bool kManyRegisters = requires {
    F::kManyRegisters;
};

/// Blocks y are samples. At least four blocks are to be resident on an SM, three with packs of eight or a formula of
/// many registers: without a word ptxas aims at eight and spills, and of a sum of losses on sm_120 so do packs of eight
/// in four.
template <class F, class T, int W>
__global__ void __launch_bounds__(kThreads, W > 4 || kManyRegisters<F> ? 3 : 4)
    sum_kernel(Voxels<T> in, F formula, Shape shape, Sums out) {
    const std::int64_t n = blockIdx.y, step = std::int64_t{gridDim.x} * kThreads * W;
    const float background = background_weight(in, n);
    double sums[F::kSums] = {};
    int ignored = 0;
    for (std::int64_t v = (std::int64_t{blockIdx.x} * kThreads + threadIdx.x) * W; v < in.voxels; v += step) {
        Voxel voxels[W];
        ignored += load(in, n * in.voxels + v, n, background, voxels);
        float of_pack[F::kSums] = {};
#pragma unroll
        for (int i = 0; i < W; ++i) {
            float terms[F::kSums];
            formula.terms(voxels[i], sigmoid(voxels[i].z), terms);
#pragma unroll
            for (int k = 0; k < F::kSums; ++k) of_pack[k] += terms[k];
        }
#pragma unroll
        for (int k = 0; k < F::kSums; ++k) sums[k] += of_pack[k];
    }
    double* row = out.rows + (n * gridDim.x + blockIdx.x) * kRow;
#pragma unroll
    for (int k = 0; k < F::kSums; ++k) {
        const double sum = block_sum<kThreads>(sums[k]);
        if (threadIdx.x == 0) relaxed_store(row + k, sum);
    }
    ignored = block_sum<kThreads>(ignored);
    if (threadIdx.x == 0) relaxed_store(row + kMostSums, static_cast<double>(ignored));
    if (is_last_block(out.counter, gridDim.x * gridDim.y)) join_rows(out, shape, formula);
}

template <class F, class T, int W>
__global__ void __launch_bounds__(kThreads)
    gradient_kernel(Voxels<T> in, F formula, const float* coefficients, T* diff_logit, Write write) {
    const std::int64_t n = blockIdx.y, step = std::int64_t{gridDim.x} * kThreads * W;
    const float background = background_weight(in, n);
    float c[F::kCoefficients];
#pragma unroll
    for (int k = 0; k < F::kCoefficients; ++k) c[k] = coefficients[n * kMostCoefficients + k];
    for (std::int64_t v = (std::int64_t{blockIdx.x} * kThreads + threadIdx.x) * W; v < in.voxels; v += step) {
        Voxel voxels[W];
        load(in, n * in.voxels + v, n, background, voxels);
        float gradients[W];
#pragma unroll
        for (int i = 0; i < W; ++i) gradients[i] = formula.gradient(voxels[i], sigmoid(voxels[i].z), c);
        T* to = diff_logit + n * in.voxels + v;
        if (write == Write::accumulate) {
            float before[W];
            load_pack<W>(to, before);
#pragma unroll
            for (int i = 0; i < W; ++i) gradients[i] += before[i];
        }
        store_pack<W>(to, gradients);
    }
}

// ----------------------------------------------------------------------------------------------------------------------

template <class T>
Voxels<T> voxels_of(const LossPass& pass, const LossInput& input) {
    return {input.logit.as<const T>(), input.target, formulas::labels_read(pass, input), input.weights, input.stride,
            input.logit.shape.voxels()};
}

/// Blocks that work on a sample. By the sample's size alone.
int blocks_of(std::int64_t voxels) {
    return std::max(1, static_cast<int>(blocks_for(voxels, kThreads * 4, kMostBlocks)));
}

/// Scratch: the coefficients of each sample, then the rows of each block.
float* coefficients_in(void* scratch) {
    return static_cast<float*>(scratch);
}
double* rows_in(void* scratch, std::int64_t samples) {
    static_assert(kMostCoefficients * sizeof(float) % sizeof(double) == 0);
    return reinterpret_cast<double*>(static_cast<float*>(scratch) + samples * kMostCoefficients);
}

/// Calls body(a number of the type, formula, pack width), whose types are known when compiled.
template <class Body>
void with_kernel(const LossPass& pass, const LossInput& input, Body&& body) {
    with_real(input.logit.type, [&](auto real) {
        const auto with_type = [&](const auto& formula) {
            with_pack<decltype(real)>(input.logit.shape.voxels(), [&](auto width) { body(real, formula, width); });
        };
        std::visit(with_type, pass.formula);
    });
}

}  // namespace

std::int64_t loss_scratch_bytes(const Shape& logit) {
    return logit.n * (kMostCoefficients * static_cast<std::int64_t>(sizeof(float)) +
                      blocks_of(logit.voxels()) * kRow * static_cast<std::int64_t>(sizeof(double)));
}

void loss_value(Stream stream, const LossPass& pass, const LossInput& input, void* scratch, double* value,
                Write write) {
    formulas::require_input(pass, input);
    const Shape& shape = input.logit.shape;
    const auto blocks = static_cast<unsigned>(blocks_of(shape.voxels()));
    const Sums out{rows_in(scratch, shape.n),
                   coefficients_in(scratch),
                   value,
                   write,
                   counters_of(stream),
                   pass.warmup,
                   input.step};
    with_kernel(pass, input, [&](auto real, auto formula, auto width) {
        using T = decltype(real);
        launch(sum_kernel<decltype(formula), T, width()>, {{blocks, static_cast<unsigned>(shape.n)}, kThreads}, stream,
               voxels_of<T>(pass, input), formula, shape, out);
    });
}

void loss_gradient(Stream stream, const LossPass& pass, const LossInput& input, const void* scratch, View diff_logit,
                   Write write) {
    formulas::require_input(pass, input);
    require_same(input.logit, diff_logit, "loss_gradient");
    if (input.logit.type != diff_logit.type) throw std::invalid_argument("loss_gradient: tensors of different type");
    const Shape& shape = input.logit.shape;
    with_kernel(pass, input, [&](auto real, auto formula, auto width) {
        using T = decltype(real);
        const unsigned blocks = blocks_for(shape.voxels(), kThreads * width());
        launch(gradient_kernel<decltype(formula), T, width()>, {{blocks, static_cast<unsigned>(shape.n)}, kThreads},
               stream, voxels_of<T>(pass, input), formula, static_cast<const float*>(scratch), diff_logit.as<T>(),
               write);
    });
}

}  // namespace iwseg::IWSEG_BACKEND
