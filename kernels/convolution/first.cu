#include <algorithm>

#include "kernels/convolution/direct.cuh"
#include "kernels/convolution/direct.h"
#include "kernels/device/dispatch.h"

// The network's first convolution, 3x3x3 from one to four plain channels. Padding its channels to the eight that tensor
// cores want would move and multiply mostly zeros; here the work is small enough for ordinary multiply-adds.
//
// A block loads a tile of one source channel, with the halo around it, into shared memory. Forward, a thread computes
// 8 outputs of 4 voxels in a row: a row of 6 elements and 24 weights serve 96 multiply-adds. For the weight gradient a
// warp has one source channel and one depth of the kernel, a thread 9 taps of 8 outputs in registers, which it carries
// through all tiles of its block; lanes, warps and blocks are then summed in that order.
//
// dst, or diff_dst, is moved once in 16-byte accesses (warps of a block share a line while it is in the first cache),
// src once but for halos: for 1 to 16 channels at 2x128^3 in bf16, 134 MB and 2.4 (forward) or 1.8 (gradient) times 8
// MB.
namespace iwseg::IWSEG_BACKEND {
namespace {

constexpr int kTaps = 27, kTileW = 32, kRow = kTileW + 2;
constexpr int kMostInputs = 4;
constexpr int kOutputs = 16;  ///< of a block: two threads side by side

struct FewChannels {
    std::int64_t samples, inputs, outputs;
    Size size;
    Strides src;

    /// Tiles of D x H x 32 voxels.
    template <int D, int H>
    IWSEG_HOST_DEVICE std::int64_t tiles() const {
        return samples * along(size.d, D) * along(size.h, H) * along(size.w, kTileW);
    }
    IWSEG_HOST_DEVICE static std::int64_t along(int length, int tile) { return (length + tile - 1) / tile; }
};

struct Corner {
    std::int64_t sample;
    int d, h, w;
};

template <int D, int H>
__device__ Corner corner_of(const FewChannels& p, std::int64_t tile) {
    const std::int64_t across = FewChannels::along(p.size.w, kTileW), down = FewChannels::along(p.size.h, H),
                       deep = FewChannels::along(p.size.d, D);
    return {tile / across / down / deep, static_cast<int>(tile / across / down % deep) * D,
            static_cast<int>(tile / across % down) * H, static_cast<int>(tile % across) * kTileW};
}

/// The tile of one channel and a voxel around it, zero beyond the tensor.
template <int D, int H, class T>
__device__ void load_tile(const FewChannels& p, const Corner& corner, const T* channel, float* tile) {
    const T* sample = channel + corner.sample * p.src.sample;
    for (int i = static_cast<int>(threadIdx.x); i < (D + 2) * (H + 2) * kRow; i += static_cast<int>(blockDim.x)) {
        const int w = corner.w + i % kRow - 1, h = corner.h + i / kRow % (H + 2) - 1,
                  d = corner.d + i / kRow / (H + 2) - 1;
        const bool inside = d >= 0 && d < p.size.d && h >= 0 && h < p.size.h && w >= 0 && w < p.size.w;
        tile[i] = inside ? to_f32(sample[((std::int64_t{d} * p.size.h + h) * p.size.w + w) * p.src.voxel]) : 0.0f;
    }
}

/// Where the channels of a voxel of the result start.
__device__ __forceinline__ std::int64_t place_of(const FewChannels& p, std::int64_t sample, int d, int h, int w) {
    return (((sample * p.size.d + d) * p.size.h + h) * p.size.w + w) * p.outputs;
}

// ----------------------------------------------------------------------------------------------------------------------

constexpr int kForwardD = 4, kForwardH = 4, kVoxels = 4;  ///< the tile, and a thread's voxels in a row
constexpr int kForwardThreads = kForwardD * kForwardH * kTileW / kVoxels * kOutputs / kEight;
using Four = Pack<float, 4>;
/// Of the taps in shared memory, in fours: one more than outputs, as a warp writes one output's taps.
constexpr int kTapPitch = kOutputs / 4 + 1;

/// Adds what one source channel gives to a thread's 8 outputs of 4 voxels.
__device__ __forceinline__ void add_channel(const float* tile, const Four* weights, float (&sum)[kVoxels][kEight]) {
#pragma unroll 1
    for (int kd = 0; kd < 3; ++kd)
#pragma unroll
        for (int kh = 0; kh < 3; ++kh) {
            float row[kVoxels + 2];
#pragma unroll
            for (int i = 0; i < kVoxels + 2; ++i) row[i] = tile[(kd * (kForwardH + 2) + kh) * kRow + i];
#pragma unroll
            for (int kw = 0; kw < 3; ++kw) {
                const Four* of_tap = weights + ((kd * 3 + kh) * 3 + kw) * kTapPitch;
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const Four four = of_tap[half];
#pragma unroll
                    for (int v = 0; v < kVoxels; ++v)
#pragma unroll
                        for (int i = 0; i < 4; ++i) sum[v][half * 4 + i] += row[v + kw] * four.values[i];
                }
            }
        }
}

template <class Src, class Dst>
__global__ void __launch_bounds__(kForwardThreads, 2)
    first_forward_kernel(FewChannels p, const Src* src, const float* weights, const float* bias, bool accumulate,
                         Dst* dst) {
    SHARED(float, tile, (kForwardD + 2) * (kForwardH + 2) * kRow);
    SHARED(Four, taps, kTaps * kTapPitch);  // [tap][output]
    const Corner corner = corner_of<kForwardD, kForwardH>(p, blockIdx.x);
    const int first_output = static_cast<int>(blockIdx.y) * kOutputs, number = static_cast<int>(threadIdx.x);
    const int side = number % 2, w = number / 2 % (kTileW / kVoxels) * kVoxels;
    const int h = number / (2 * kTileW / kVoxels) % kForwardH, d = number / (2 * kTileW / kVoxels) / kForwardH;
    float sum[kVoxels][kEight] = {};
    for (std::int64_t c = 0; c < p.inputs; ++c) {
        __syncthreads();  // the last channel's tile is still read
        load_tile<kForwardD, kForwardH>(p, corner, src + c * p.src.channel, tile);
        for (int i = number; i < 32 * kOutputs; i += kForwardThreads) {  // a warp reads one output's taps, side by side
            const int tap = i % 32, output = i / 32;
            if (tap >= kTaps) continue;
            const std::int64_t o = first_output + output;
            const float weight = o < p.outputs ? weights[(o * p.inputs + c) * kTaps + tap] : 0.0f;
            taps[tap * kTapPitch + output / 4].values[output % 4] = as_operand<Src>(weight);
        }
        __syncthreads();
        add_channel(tile + (d * (kForwardH + 2) + h) * kRow + w, taps + side * 2, sum);
    }
    const int o = first_output + side * kEight;
    if (o >= p.outputs || corner.d + d >= p.size.d || corner.h + h >= p.size.h) return;
#pragma unroll
    for (int v = 0; v < kVoxels; ++v) {
        if (corner.w + w + v >= p.size.w) return;
        Dst* to = dst + place_of(p, corner.sample, corner.d + d, corner.h + h, corner.w + w + v) + o;
        float before[kEight] = {};
        if (accumulate) load_eight(to, before);
#pragma unroll
        for (int i = 0; i < kEight; ++i) sum[v][i] += before[i] + (bias ? bias[o + i] : 0.0f);
        store_eight(to, sum[v]);
    }
}

// ----------------------------------------------------------------------------------------------------------------------

constexpr int kGradientD = 4, kGradientH = 8, kGradientTile = (kGradientD + 2) * (kGradientH + 2) * kRow;
constexpr int kGradientWarps = 12;    ///< (row of the tile, source channel, depth of the kernel)
constexpr int kGradientBlocks = 512;  ///< fixed, so that sums do not depend on the card
/// Of a warp's sums a row is one tap's outputs, and one more, so that lanes which read by taps meet different banks.
constexpr int kPlane = 9, kSumPitch = kOutputs + 1, kWarpSums = kPlane * kSumPitch;

/// Adds a tile's voxels to a thread's 9 taps of 8 outputs: every `rows`-th row of the tile, every 16th voxel of it.
template <class Diff>
__device__ __forceinline__ void add_tile(const FewChannels& p, const Corner& corner, const float* tile,
                                         const Diff* diff, int o, int row, int rows, float (&sum)[kPlane * kEight]) {
    const int lane_w = static_cast<int>(threadIdx.x) % 32 / 2;
    for (int r = row; r < kGradientD * kGradientH; r += rows) {
        const int d = r / kGradientH, h = r % kGradientH;
        if (corner.d + d >= p.size.d || corner.h + h >= p.size.h) continue;
#pragma unroll
        for (int w = lane_w; w < lane_w + kTileW; w += 16) {
            if (corner.w + w >= p.size.w) break;
            float part[kEight];
            load_eight(diff + place_of(p, corner.sample, corner.d + d, corner.h + h, corner.w + w) + o, part);
#pragma unroll
            for (int tap = 0; tap < kPlane; ++tap) {
                const float number = tile[(d * (kGradientH + 2) + h + tap / 3) * kRow + w + tap % 3];
#pragma unroll
                for (int i = 0; i < kEight; ++i) sum[tap * kEight + i] += number * part[i];
            }
        }
    }
}

/// One step of sum_lanes: of N numbers a lane keeps a half, to which it adds what its partner has of it.
template <int N>
__device__ __forceinline__ void halve(float (&sum)[kPlane * kEight], int other) {
    const bool upper = threadIdx.x & static_cast<unsigned>(other);
#pragma unroll
    for (int i = 0; i < N / 2; ++i) {
        const float kept = upper ? sum[N / 2 + i] : sum[i], given = upper ? sum[i] : sum[N / 2 + i];
        sum[i] = kept + __shfl_xor_sync(0xFFFFFFFFu, given, other);
    }
}

/// sums[tap * kSumPitch + output]: over the 16 lanes of an output. Halving what a lane holds at each step takes 72
/// shuffles, where summing each number on its own would take 288.
__device__ __forceinline__ void sum_lanes(float (&sum)[kPlane * kEight], float* sums) {
    halve<72>(sum, 16);
    halve<36>(sum, 8);
    halve<18>(sum, 4);
    const int lane = static_cast<int>(threadIdx.x) % 32,
              first = (lane & 16 ? 36 : 0) + (lane & 8 ? 18 : 0) + (lane & 4 ? 9 : 0);
#pragma unroll
    for (int i = 0; i < 9; ++i) {
        const float all = sum[i] + __shfl_xor_sync(0xFFFFFFFFu, sum[i], 2);
        if (!(lane & 2)) sums[(first + i) / kEight * kSumPitch + (first + i) % kEight] = all;
    }
}

/// partial[block][o][c][tap]
template <class Src, class Diff>
__global__ void __launch_bounds__(kGradientWarps * 32)
    first_gradient_kernel(FewChannels p, const Src* src, const Diff* diff, float* partial) {
    SHARED(float, tiles, kMostInputs* kGradientTile);
    SHARED(float, sums, kGradientWarps* kWarpSums);
    const int inputs = static_cast<int>(p.inputs), rows = kMostInputs / inputs;
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    const int kd = warp % 3, c = warp / 3 % inputs, row = warp / 3 / inputs;
    const int first_output = static_cast<int>(blockIdx.y) * kOutputs, o = first_output + lane % 2 * kEight;
    float sum[kPlane * kEight] = {};
    for (std::int64_t t = blockIdx.x; t < p.tiles<kGradientD, kGradientH>(); t += gridDim.x) {
        const Corner corner = corner_of<kGradientD, kGradientH>(p, t);
        __syncthreads();  // the last tile is still read
        for (int i = 0; i < inputs; ++i)
            load_tile<kGradientD, kGradientH>(p, corner, src + i * p.src.channel, tiles + i * kGradientTile);
        __syncthreads();
        if (row < rows && o < p.outputs)
            add_tile(p, corner, tiles + c * kGradientTile + kd * (kGradientH + 2) * kRow, diff, o, row, rows, sum);
    }
    sum_lanes(sum, sums + warp * kWarpSums + lane % 2 * kEight);
    __syncthreads();
    const int of_output = inputs * kTaps;
    for (int i = static_cast<int>(threadIdx.x); i < kOutputs * of_output; i += kGradientWarps * 32) {
        const int output = first_output + i / of_output, within = i % of_output;  // in the order of partial
        if (output >= p.outputs) break;
        const float* from = sums + within / kPlane * kWarpSums + within % kPlane * kSumPitch + output - first_output;
        float all = 0;
        for (int r = 0; r < rows; ++r) all += from[r * 3 * inputs * kWarpSums];
        partial[(blockIdx.x * p.outputs + output) * of_output + within] = all;
    }
}

// ----------------------------------------------------------------------------------------------------------------------

FewChannels few_channels_of(const ConvolutionOptions& options) {
    const View src{nullptr, options.src, options.src_type, options.src_layout};
    return {options.src.n, options.src.c, options.dst_channels, size_of(options.src), strides_of(src)};
}

int gradient_blocks(const FewChannels& p) {
    return static_cast<int>(std::min<std::int64_t>(p.tiles<kGradientD, kGradientH>(), kGradientBlocks));
}

unsigned output_blocks(const FewChannels& p) {
    return static_cast<unsigned>((p.outputs + kOutputs - 1) / kOutputs);
}

}  // namespace

bool takes_first(const ConvolutionOptions& options) {
    return options.is_plain() && options.kernel == 3 && options.src.c <= kMostInputs &&
           options.dst_channels % kEight == 0 && options.dst_layout == Layout::ndhwc;
}

void first_forward(Stream stream, const ConvolutionOptions& options, View src, const float* weights, const float* bias,
                   View dst) {
    const FewChannels p = few_channels_of(options);
    const LaunchShape shape{{static_cast<unsigned>(p.tiles<kForwardD, kForwardH>()), output_blocks(p)},
                            kForwardThreads};
    const bool accumulate = options.write == Write::accumulate;
    with_real(src.type, [&](auto real_src) {
        with_real(dst.type, [&](auto real_dst) {
            using Src = decltype(real_src);
            using Dst = decltype(real_dst);
            launch(first_forward_kernel<Src, Dst>, shape, stream, p, src.as<const Src>(), weights, bias, accumulate,
                   dst.as<Dst>());
        });
    });
}

std::int64_t first_gradient_scratch_bytes(const ConvolutionOptions& options) {
    const FewChannels p = few_channels_of(options);
    return gradient_blocks(p) * p.outputs * p.inputs * kTaps * static_cast<std::int64_t>(sizeof(float));
}

void first_weight_gradient(Stream stream, const ConvolutionOptions& options, View src, View diff_dst,
                           float* diff_weights, void* scratch) {
    const FewChannels p = few_channels_of(options);
    const int blocks = gradient_blocks(p);
    auto* partial = static_cast<float*>(scratch);
    const LaunchShape shape{{static_cast<unsigned>(blocks), output_blocks(p)}, kGradientWarps * 32};
    with_real(src.type, [&](auto real_src) {
        with_real(diff_dst.type, [&](auto real_diff) {
            using Src = decltype(real_src);
            using Diff = decltype(real_diff);
            launch(first_gradient_kernel<Src, Diff>, shape, stream, p, src.as<const Src>(), diff_dst.as<const Diff>(),
                   partial);
        });
    });
    join_partial_sums(stream, partial, blocks, p.outputs * p.inputs * kTaps, diff_weights);
}

}  // namespace iwseg::IWSEG_BACKEND
