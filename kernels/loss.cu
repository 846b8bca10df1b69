#include "kernels/loss.h"

#include <algorithm>
#include <cstdint>
#include <stdexcept>

#include "kernels/dispatch.h"
#include "kernels/launch.h"
#include "kernels/loss_formulas.h"
#include "kernels/pack.cuh"
#include "kernels/reduce.cuh"

// Two passes over the logits and the target, and one small kernel in between that joins the sums. Labels and weights are
// looked up where the target is a lesion, elsewhere the weight is that of background, a number the thread holds: what is
// moved is 5 bytes a voxel for the sums and 9 for the gradient (f32; 3 and 5 for bf16), and 8 more a voxel of lesion.
// Terms are f32; a thread adds those of 4 or 8 voxels as f32 and the rest, and blocks, in double and in fixed order.
namespace iwseg::IWSEG_BACKEND {
namespace {

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

/// W voxels from `first` of the batch, of sample n; background: the weight of what is not lesion.
template <int W, class T>
__device__ __forceinline__ void load(const Voxels<T>& in, std::int64_t first, std::int64_t n, float background,
                                     LossVoxel (&voxels)[W]) {
    float z[W];
    load_pack<W>(in.logit + first, z);
    const auto target = *reinterpret_cast<const Pack<std::uint8_t, W>*>(in.target + first);
    unsigned lesion = 0;
#pragma unroll
    for (int i = 0; i < W; ++i) {
        lesion |= target.values[i];
        voxels[i] = {z[i], static_cast<float>(target.values[i]), background};
    }
    if (in.labels && lesion != 0) {
#pragma unroll
        for (int i = 0; i < W; ++i)
            if (target.values[i] != 0) voxels[i].w = __ldg(in.weights + n * in.stride + __ldg(in.labels + first + i));
    }
}

template <class T>
__device__ __forceinline__ float background_weight(const Voxels<T>& in, std::int64_t n) {
    return in.labels ? __ldg(in.weights + n * in.stride) : 1.0f;
}

template <LossFormula kFormula>
__device__ __forceinline__ float power_of(const LossVoxel& voxel, const LossParameters& parameters) {
    if constexpr (kFormula != LossFormula::focal) return 0.0f;
    const Sigmoid s = sigmoid(voxel.z);
    return parameters.gamma == 2.0f ? focal_power<true>(voxel, s, 2.0f) : focal_power<false>(voxel, s, parameters.gamma);
}

/// partial[sample][block][sum]
template <LossFormula kFormula, class T, int W>
__global__ void __launch_bounds__(kThreads)
    sum_kernel(Voxels<T> in, LossParameters parameters, double* partial) {
    constexpr int kSums = sums_of(kFormula);
    const std::int64_t n = blockIdx.y, step = std::int64_t{gridDim.x} * kThreads * W;
    const float background = background_weight(in, n);
    double sums[kSums] = {};
    for (std::int64_t v = (std::int64_t{blockIdx.x} * kThreads + threadIdx.x) * W; v < in.voxels; v += step) {
        LossVoxel voxels[W];
        load(in, n * in.voxels + v, n, background, voxels);
        float of_pack[kSums] = {};
#pragma unroll
        for (int i = 0; i < W; ++i) {
            float terms[kSums];
            loss_terms<kFormula>(voxels[i], parameters, power_of<kFormula>(voxels[i], parameters), terms);
#pragma unroll
            for (int k = 0; k < kSums; ++k) of_pack[k] += terms[k];
        }
#pragma unroll
        for (int k = 0; k < kSums; ++k) sums[k] += of_pack[k];
    }
#pragma unroll
    for (int k = 0; k < kSums; ++k) {
        const double sum = block_sum<kThreads>(sums[k]);
        if (threadIdx.x == 0) partial[(n * gridDim.x + blockIdx.x) * kLossSums + k] = sum;
    }
}

/// One block: the loss, and the coefficients of each sample, from the sums of its blocks.
template <LossFormula kFormula>
__global__ void __launch_bounds__(kThreads)
    join_sums_kernel(const double* partial, int blocks, LossGroups groups, LossParameters parameters,
                     float* coefficients, double* value) {
    constexpr int kSums = sums_of(kFormula);
    double loss = 0;
    for (std::int64_t g = 0; g < groups.groups; ++g) {
        const double* of_group = partial + g * groups.members * blocks * kLossSums;
        double sums[kSums] = {};
        for (std::int64_t b = threadIdx.x; b < groups.members * blocks; b += kThreads)
#pragma unroll
            for (int k = 0; k < kSums; ++k) sums[k] += of_group[b * kLossSums + k];
#pragma unroll
        for (int k = 0; k < kSums; ++k) sums[k] = block_sum<kThreads>(sums[k]);
        if (threadIdx.x != 0) continue;
        double c[kLossCoefficients] = {};
        loss += loss_of_sums<kFormula>(parameters, sums, groups.voxels, groups.mean, c);
        for (std::int64_t n = g * groups.members; n < (g + 1) * groups.members; ++n)
#pragma unroll
            for (int k = 0; k < kLossCoefficients; ++k) coefficients[n * kLossCoefficients + k] = loss_coefficient(c[k]);
    }
    if (threadIdx.x == 0) *value = loss;
}

template <LossFormula kFormula, class T, int W>
__global__ void __launch_bounds__(kThreads)
    gradient_kernel(Voxels<T> in, LossParameters parameters, const float* coefficients, T* diff_logit) {
    const std::int64_t n = blockIdx.y, step = std::int64_t{gridDim.x} * kThreads * W;
    const float background = background_weight(in, n);
    float c[kLossCoefficients];
#pragma unroll
    for (int k = 0; k < kLossCoefficients; ++k) c[k] = coefficients[n * kLossCoefficients + k];
    for (std::int64_t v = (std::int64_t{blockIdx.x} * kThreads + threadIdx.x) * W; v < in.voxels; v += step) {
        LossVoxel voxels[W];
        load(in, n * in.voxels + v, n, background, voxels);
        float slopes[W];
#pragma unroll
        for (int i = 0; i < W; ++i)
            slopes[i] = loss_slope<kFormula>(voxels[i], parameters, power_of<kFormula>(voxels[i], parameters), c);
        store_pack<W>(diff_logit + n * in.voxels + v, slopes);
    }
}

// ----------------------------------------------------------------------------------------------------------------------

template <class T>
Voxels<T> voxels_of(const LossInput& input) {
    return {input.logit.as<const T>(), input.target, input.labels, input.weights, input.stride, input.logit.shape.voxels()};
}

/// Blocks that work on a sample. By the sample's size alone.
int blocks_of(std::int64_t voxels) { return std::max(1, static_cast<int>(blocks_for(voxels, kThreads * 4, kMostBlocks))); }

/// Scratch: the coefficients of each sample, then the sums of each block.
float* coefficients_in(void* scratch) { return static_cast<float*>(scratch); }
double* sums_in(void* scratch, std::int64_t samples) {
    static_assert(kLossCoefficients * sizeof(float) % sizeof(double) == 0);
    return reinterpret_cast<double*>(static_cast<float*>(scratch) + samples * kLossCoefficients);
}

/// Calls body(a number of the type, formula, pack width), all known when compiled.
template <class Body>
void with_kernel(const LossParameters& parameters, const LossInput& input, Body&& body) {
    with_real(input.logit.type, [&](auto real) {
        with_formula(parameters.formula, [&](auto formula) {
            with_pack<decltype(real)>(input.logit.shape.voxels(), [&](auto width) { body(real, formula, width); });
        });
    });
}

}  // namespace

std::int64_t loss_scratch_bytes(const LossParameters&, const Shape& logit) {
    return logit.n * (kLossCoefficients * static_cast<std::int64_t>(sizeof(float)) +
                      blocks_of(logit.voxels()) * kLossSums * static_cast<std::int64_t>(sizeof(double)));
}

void loss_value(Stream stream, const LossParameters& parameters, const LossInput& input, void* scratch, double* value) {
    require_loss_input(parameters, input);
    const Shape& shape = input.logit.shape;
    const int blocks = blocks_of(shape.voxels());
    double* partial = sums_in(scratch, shape.n);
    with_kernel(parameters, input, [&](auto real, auto formula, auto width) {
        using T = decltype(real);
        launch(sum_kernel<formula(), T, width()>, {{static_cast<unsigned>(blocks), static_cast<unsigned>(shape.n)}, kThreads},
               stream, voxels_of<T>(input), parameters, partial);
    });
    with_formula(parameters.formula, [&](auto formula) {
        launch(join_sums_kernel<formula()>, {1, kThreads}, stream, partial, blocks, groups_of(formula(), shape), parameters,
               coefficients_in(scratch), value);
    });
}

void loss_gradient(Stream stream, const LossParameters& parameters, const LossInput& input, const void* scratch,
                   View diff_logit) {
    require_loss_input(parameters, input);
    require_same(input.logit, diff_logit, "loss_gradient");
    if (input.logit.type != diff_logit.type) throw std::invalid_argument("loss_gradient: tensors of different type");
    const Shape& shape = input.logit.shape;
    with_kernel(parameters, input, [&](auto real, auto formula, auto width) {
        using T = decltype(real);
        const unsigned blocks = blocks_for(shape.voxels(), kThreads * width());
        launch(gradient_kernel<formula(), T, width()>, {{blocks, static_cast<unsigned>(shape.n)}, kThreads}, stream,
               voxels_of<T>(input), parameters, static_cast<const float*>(scratch), diff_logit.as<T>());
    });
}

}  // namespace iwseg::IWSEG_BACKEND
