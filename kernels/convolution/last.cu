#include <algorithm>

#include "kernels/convolution/direct.cuh"
#include "kernels/convolution/direct.h"
#include "kernels/device/dispatch.h"

// The network's last convolution, 1x1x1 from many channels to at most four plain ones: a dot product a voxel. All three
// passes move the wide tensor once, in 16-byte accesses, and the narrow one once: at 16 to 1 channels, 2x128^3 and
// bf16, 134 and 17 MB. The weights of all outputs fit shared memory.
namespace iwseg::IWSEG_BACKEND {
namespace {

constexpr int kThreads = 256;
constexpr int kMostOutputs = 4, kMostInputs = 512;
constexpr int kGradientBlocks = 512;  ///< fixed, so that sums do not depend on the card

/// A 1x1x1 convolution: src (samples, voxels, inputs), dst (samples, outputs, voxels).
struct Dot {
    std::int64_t samples, voxels;
    int inputs, outputs;
};

/// shared[o][c], zero for outputs that are not there. kByEights: shared[o][c % 8][c / 8], so that lanes which read the
/// same of other eights meet different banks.
template <class Operand, bool kByEights = false>
__device__ void load_weights(const Dot& p, const float* weights, int outputs, float* shared) {
    const int eights = p.inputs / kEight;
    for (int i = static_cast<int>(threadIdx.x); i < outputs * p.inputs; i += kThreads) {
        const int o = i / p.inputs, c = i - o * p.inputs;
        const int to = kByEights ? o * p.inputs + c % kEight * eights + c / kEight : i;
        shared[to] = o < p.outputs ? as_operand<Operand>(weights[i]) : 0.0f;
    }
    __syncthreads();
}

template <int kCount, class Src>
__global__ void last_forward_kernel(Dot p, const Src* src, const float* weights, const float* bias, bool accumulate,
                                    float* dst) {
    SHARED(float, shared, kCount* kMostInputs);
    load_weights<Src>(p, weights, kCount, shared);
    const std::int64_t sample = blockIdx.y, step = std::int64_t{gridDim.x} * kThreads;
    for (std::int64_t v = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; v < p.voxels; v += step) {
        float sum[kCount] = {};
        const Src* from = src + (sample * p.voxels + v) * p.inputs;
        for (int c = 0; c < p.inputs; c += kEight) {
            float elements[kEight];
            load_eight(from + c, elements);
#pragma unroll
            for (int o = 0; o < kCount; ++o)
#pragma unroll
                for (int i = 0; i < kEight; ++i) sum[o] += elements[i] * shared[o * p.inputs + c + i];
        }
#pragma unroll
        for (int o = 0; o < kCount; ++o) {
            if (o >= p.outputs) break;
            float& to = dst[(sample * p.outputs + o) * p.voxels + v];
            to = sum[o] + (bias ? bias[o] : 0.0f) + (accumulate ? to : 0.0f);
        }
    }
}

template <class Src>
__global__ void last_data_kernel(Dot p, const float* diff_dst, const float* weights, Src* diff_src) {
    SHARED(float, shared, kMostOutputs* kMostInputs);
    load_weights<Src, true>(p, weights, p.outputs, shared);
    const int eights = p.inputs / kEight;
    const std::int64_t sample = blockIdx.y, step = std::int64_t{gridDim.x} * kThreads, count = p.voxels * eights;
    for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count; i += step) {
        const std::int64_t v = i / eights;
        const int eight = static_cast<int>(i - v * eights), c = eight * kEight;
        float sum[kEight] = {};
        for (int o = 0; o < p.outputs; ++o) {
            const float gradient = diff_dst[(sample * p.outputs + o) * p.voxels + v];
#pragma unroll
            for (int k = 0; k < kEight; ++k) sum[k] += gradient * shared[o * p.inputs + k * eights + eight];
        }
        store_eight(diff_src + (sample * p.voxels + v) * p.inputs + c, sum);
    }
}

/// partial[block][o][c]: threads side by side hold the channels of one voxel and keep to them.
template <int kCount, class Src>
__global__ void last_weight_kernel(Dot p, const Src* src, const float* diff_dst, float* partial) {
    // shared[c % 8][thread]: lanes write side by side, and with four more a row those that read meet different banks.
    constexpr int kPitch = kThreads + 4;
    SHARED(float, shared, kEight* kPitch);
    const int eights = p.inputs / kEight, rows = kThreads / eights, number = static_cast<int>(threadIdx.x);
    const int c = number % eights * kEight, row = number / eights;
    float sum[kCount][kEight] = {};
    if (row < rows)
        for (std::int64_t sample = 0; sample < p.samples; ++sample)
            for (std::int64_t v = std::int64_t{blockIdx.x} * rows + row; v < p.voxels;
                 v += std::int64_t{gridDim.x} * rows) {
                float elements[kEight];
                load_eight(src + (sample * p.voxels + v) * p.inputs + c, elements);
#pragma unroll
                for (int o = 0; o < kCount; ++o) {
                    if (o >= p.outputs) break;
                    const float gradient = diff_dst[(sample * p.outputs + o) * p.voxels + v];
#pragma unroll
                    for (int i = 0; i < kEight; ++i) sum[o][i] += gradient * elements[i];
                }
            }
#pragma unroll
    for (int o = 0; o < kCount; ++o) {
        if (o >= p.outputs) break;
#pragma unroll
        for (int i = 0; i < kEight; ++i) shared[i * kPitch + number] = sum[o][i];
        __syncthreads();
        for (int i = number; i < p.inputs; i += kThreads) {
            float all = 0;
            for (int r = 0; r < rows; ++r) all += shared[i % kEight * kPitch + r * eights + i / kEight];
            partial[(std::int64_t{blockIdx.x} * p.outputs + o) * p.inputs + i] = all;
        }
        __syncthreads();
    }
}

// ----------------------------------------------------------------------------------------------------------------------

Dot dot_of(const ConvolutionOptions& options) {
    return {options.src.n, options.src.voxels(), static_cast<int>(options.src.c),
            static_cast<int>(options.dst_channels)};
}

LaunchShape shape_for(const Dot& p, std::int64_t threads) {
    return {{blocks_for(threads, kThreads), static_cast<unsigned>(p.samples)}, kThreads};
}

int gradient_blocks(const Dot& p) {
    const std::int64_t rows = kThreads / (p.inputs / kEight);
    return static_cast<int>(std::min<std::int64_t>((p.voxels + rows - 1) / rows, kGradientBlocks));
}

/// Calls body with as many outputs as a thread is to hold: 1 or 4.
template <class Body>
void with_outputs(const Dot& p, Body&& body) {
    if (p.outputs == 1) return body(std::integral_constant<int, 1>{});
    return body(std::integral_constant<int, kMostOutputs>{});
}

}  // namespace

bool takes_last(const ConvolutionOptions& options) {
    const bool plain = options.dst_layout == Layout::ncdhw || options.dst_channels == 1;
    const bool innermost =
        options.src_layout == Layout::ndhwc && options.src.c % kEight == 0 && options.src.c <= kMostInputs;
    return options.is_plain() && options.kernel == 1 && innermost && plain && options.dst_channels <= kMostOutputs &&
           options.dst_type == Type::f32 && options.src.n <= 65535;
}

void last_forward(Stream stream, const ConvolutionOptions& options, View src, const float* weights, const float* bias,
                  View dst) {
    const Dot p = dot_of(options);
    with_real(src.type, [&](auto real) {
        with_outputs(p, [&](auto count) {
            using Src = decltype(real);
            launch(last_forward_kernel<count(), Src>, shape_for(p, p.voxels), stream, p, src.as<const Src>(), weights,
                   bias, options.write == Write::accumulate, dst.as<float>());
        });
    });
}

void last_data_gradient(Stream stream, const ConvolutionOptions& options, View diff_dst, const float* weights,
                        View diff_src) {
    const Dot p = dot_of(options);
    with_real(diff_src.type, [&](auto real) {
        using Src = decltype(real);
        launch(last_data_kernel<Src>, shape_for(p, p.voxels * (p.inputs / kEight)), stream, p,
               diff_dst.as<const float>(), weights, diff_src.as<Src>());
    });
}

std::int64_t last_gradient_scratch_bytes(const ConvolutionOptions& options) {
    const Dot p = dot_of(options);
    return std::int64_t{gradient_blocks(p)} * p.outputs * p.inputs * static_cast<std::int64_t>(sizeof(float));
}

void last_weight_gradient(Stream stream, const ConvolutionOptions& options, View src, View diff_dst,
                          float* diff_weights, void* scratch) {
    const Dot p = dot_of(options);
    auto* partial = static_cast<float*>(scratch);
    const int blocks = gradient_blocks(p);
    with_real(src.type, [&](auto real) {
        with_outputs(p, [&](auto count) {
            using Src = decltype(real);
            launch(last_weight_kernel<count(), Src>, {static_cast<unsigned>(blocks), kThreads}, stream, p,
                   src.as<const Src>(), diff_dst.as<const float>(), partial);
        });
    });
    join_partial_sums(stream, partial, blocks, std::int64_t{p.outputs} * p.inputs, diff_weights);
}

}  // namespace iwseg::IWSEG_BACKEND
