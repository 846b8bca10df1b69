#include "kernels/convolution/narrow.h"

#include <stdexcept>
#include <string>

#include "kernels/convolution/narrow.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/norm/batch_norm_moments.cuh"

// Forward pass and data gradient, which is the forward pass of mirrored, transposed weights. A block computes 4 x 8 x
// 16 voxels (d, h, w) of all outputs; a warp 4 rows of 16 voxels along w, which are the 16 rows of a matrix product:
//
//      [ 16 voxels one tap off  ]     [ the tap's weights, ]     [ the 16 voxels' ]
//      [ x 16 inputs            ]  x  [ 16 inputs x outputs]  =  [ outputs        ]     summed over 27 taps
//
// For each (kd, kw) a warp loads its 6 rows of voxels once and multiplies each with the weights of up to 3 kh: 9 loads
// of four matrices for 24 products at 16 channels. Inputs come in groups of 16 (or 8), one after the other through the
// same tile. Weights lie packed as shared memory wants them, [group][tap][output][input]; outputs are in such an order
// that a lane ends with neighbouring channels, which it stores at once. Of 32 outputs a block holds the weights of one
// kd at a time.
//
// For the statistics of a normalisation of the result, a warp sums y - p and (y - p)^2, p being its first voxel's y,
// as batch_norm.cu does; the block moves its warps to the first one's pivot, and narrow_statistics all tiles, in
// double, to the first tile's. As p is one of at most 512 elements summed, f32 loses under three digits at worst,
// however large the mean.
namespace iwseg::IWSEG_BACKEND {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32, kTileD = NarrowTile::kDepth, kRimD = kTileD + 2, kRows = 4,
              kTaps = 27;

/// Inputs that are taken at once, of so many.
constexpr int inputs_of_group(int inputs) {
    return inputs % 16 == 0 ? 16 : 8;
}

/// The row that an output has in the weights' matrices: lane l of a product holds columns l % 4 * 2 and the next of
/// each.
__device__ __forceinline__ int row_of_output(int output, int outputs) {
    const int of_lane = outputs / 4;
    return output % of_lane / 2 * 8 + output / of_lane * 2 + output % 2;
}

/// arranged, as blocks read it, see above; mirrored, for the data gradient: from inputs O to outputs C.
__global__ void arrange_kernel(NarrowWeights weights, int inputs, int outputs, bool mirrored, Bf16* arranged) {
    const int group = inputs_of_group(inputs), packs = group / 8;
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= inputs * outputs * kTaps) return;
    const int in = i % inputs, out = i / inputs % outputs, tap = i / inputs / outputs;
    const int o = mirrored ? in : out, c = mirrored ? out : in, channels = mirrored ? outputs : inputs;
    const int from = mirrored ? kTaps - 1 - tap : tap;
    const float weight = weights.plain
                             ? weights.plain[(o * channels + c) * kTaps + from]
                             : to_f32(static_cast<const Bf16*>(weights.packed)[(o * kTaps + from) * channels + c]);
    const int row = row_of_output(out, outputs), in_group = in % group;
    const int place = packs == 1 ? place_of<1>(row, 0) : place_of<2>(row, in_group / 8);
    store(arranged[(in / group * kTaps + tap) * outputs * group + place * 8 + in_group % 8], weight);
}

struct TileOrigin {
    int sample, d, h, w;
};

__device__ __forceinline__ int tiles_along(int size, int tile) {
    return (size + tile - 1) / tile;
}

__device__ __forceinline__ TileOrigin tile_of(const Size& size, int at) {
    const int along_w = tiles_along(size.w, kTileW), along_h = tiles_along(size.h, kTileH),
              along_d = tiles_along(size.d, kTileD);
    const int w = at % along_w * kTileW;
    at /= along_w;
    const int h = at % along_h * kTileH;
    at /= along_h;
    return {at / along_d, at % along_d * kTileD, h, w};
}

/// Voxels of so many slices and rows of a tile, from (d, h, w) on, that are within the tensor.
__device__ __forceinline__ int voxels_inside(const Size& size, const TileOrigin& from, int slices, int rows) {
    return max(0, min(slices, size.d - from.d)) * max(0, min(rows, size.h - from.h)) * min(kTileW, size.w - from.w);
}

/// Fills the tile with its rim of one group of inputs; ends with copies under way.
template <int kPacks>
__device__ __forceinline__ void fill_tile(const NarrowPass& p, const TileOrigin& tile, const Bf16* x, int channel,
                                          const NarrowPrologue& prologue, Pack16* to) {
    const Filler<kRimW, kPacks, kThreads> filler;
    if (!filler.takes_part()) return;
    const Bf16* sample = x + std::int64_t{tile.sample} * p.size.d * p.size.h * p.size.w * p.inputs;
    const int first = channel + filler.pack * 8;
    const auto each_row = [&](auto&& body) {
#pragma unroll 1
        for (int row = filler.first_row; row < kRimD * kRimH; row += filler.kAtOnce) {
            const int d = tile.d + row / kRimH - 1, h = tile.h + row % kRimH - 1, w = tile.w + filler.voxel - 1;
            body(source_of(p.size, p.inputs, sample, first, d, h, w), to[filler.place(row)]);
        }
    };
    if (!prologue.statistics.mean)
        return each_row([](const Source& from, Pack16& pack) { begin_copy(&pack, from.address, from.inside); });
    const Activation activation(prologue.statistics, prologue.weights, first);
    each_row([&](const Source& from, Pack16& pack) { activation.load(from, pack); });
}

template <int kPacks, int kOutputs>
struct TapMatrices {
    unsigned of_outputs[kOutputs / 8][kPacks];

    /// rows: of the tap, kOutputs of kPacks packs.
    __device__ __forceinline__ void load(const Pack16* rows) {
        constexpr int kAll = kOutputs / 8 * kPacks, kAtOnce = kAll < 4 ? kAll : 4;
        const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
        for (int first = 0; first < kAll; first += kAtOnce) {
            const int matrix = first + lane / 8 % kAtOnce;
            unsigned to[kAtOnce];
            load_matrices(rows[place_of<kPacks>(matrix / kPacks * 8 + lane % 8, matrix % kPacks)].values, to);
#pragma unroll
            for (int i = 0; i < kAtOnce; ++i) of_outputs[(first + i) / kPacks][(first + i) % kPacks] = to[i];
        }
    }
};

/// Adds the products of a warp's rows with the weights of one kd. tile: the warp's first row of voxels. taps: of that
/// kd.
template <int kPacks, int kOutputs>
__device__ __forceinline__ void multiply(const Pack16* tile, const Pack16* taps, float (&sum)[kRows][kOutputs / 8][4]) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll 1
    for (int kw = 0; kw < 3; ++kw) {
        TapMatrices<kPacks, kOutputs> weights[3];
#pragma unroll
        for (int kh = 0; kh < 3; ++kh) weights[kh].load(taps + (kh * 3 + kw) * kOutputs * kPacks);
        // The 16 voxels' first eight channels, then the others: as lanes give addresses.
        const Pack16* voxels = tile + place_of<kPacks>(kw + lane % 16, lane / 16 % kPacks);
#pragma unroll
        for (int r = 0; r < kRows + 2; ++r) {
            unsigned inputs[2 * kPacks];
            load_matrices(voxels[r * kRimW * kPacks].values, inputs);
#pragma unroll
            for (int kh = 0; kh < 3; ++kh) {
                const int row = r - kh;
                if (row < 0 || row >= kRows) continue;
#pragma unroll
                for (int n = 0; n < kOutputs / 8; ++n) multiply_add(sum[row][n], inputs, weights[kh].of_outputs[n]);
            }
        }
    }
}

/// Adds the sums of so many elements about `own` to those about `pivot`.
__device__ __forceinline__ void add_about(double pivot, int count, double own, double own_sum, double own_square,
                                          double& sum, double& square) {
    const double gap = own - pivot;
    sum += own_sum + count * gap;
    square += own_square + gap * (2 * own_sum + count * gap);
}

/// Stores what a warp has summed, and leaves it in sum as it is stored; a lane holds kOutputs / 4 channels of voxels
/// lane / 4 and lane / 4 + 8 of each row.
template <int kOutputs>
__device__ __forceinline__ void store_rows(const NarrowPass& p, const TileOrigin& from, const NarrowEpilogue& epilogue,
                                           float (&sum)[kRows][kOutputs / 8][4], Bf16* y) {
    constexpr int kOfLane = kOutputs / 4;
    const int lane = static_cast<int>(threadIdx.x) % 32, first = lane % 4 * kOfLane;
    const auto* summand = epilogue.summand ? static_cast<const Bf16*>(epilogue.summand) : y;
    float bias[kOfLane] = {};
#pragma unroll
    for (int k = 0; k < kOfLane; ++k)
        if (epilogue.bias) bias[k] = epilogue.bias[first + k];
#pragma unroll
    for (int row = 0; row < kRows; ++row)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int h = from.h + row, w = from.w + lane / 4 + 8 * half;
            if (from.d >= p.size.d || h >= p.size.h || w >= p.size.w) continue;
            const std::int64_t voxel = ((std::int64_t{from.sample} * p.size.d + from.d) * p.size.h + h) * p.size.w + w,
                               at = voxel * kOutputs + first;
            float values[kOfLane] = {};
            if (epilogue.write == Write::accumulate) load_pack<kOfLane>(summand + at, values);
#pragma unroll
            for (int k = 0; k < kOfLane; ++k) {
                float& one = sum[row][k / 2][2 * half + k % 2];
                one = values[k] = round_to_bf16(values[k] + (one + bias[k]));
            }
            store_pack<kOfLane>(y + at, values);
        }
}

/// Sums a warp's stored voxels about the first of them, channel by channel, and leaves pivot, sum and sum of squares in
/// to[which][channel][warp]; of a warp that has none within the tensor, nothing in particular.
template <int kOutputs>
__device__ __forceinline__ void sum_rows(const Size& size, const TileOrigin& from,
                                         const float (&stored)[kRows][kOutputs / 8][4], float* to) {
    constexpr int kOfLane = kOutputs / 4;
    const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
    const int rows = size.h - from.h, columns = size.w - from.w - lane / 4;
#pragma unroll
    for (int k = 0; k < kOfLane; ++k) {
        const float pivot = __shfl_sync(kAllLanes, stored[0][k / 2][k % 2], lane % 4);
        float sum = 0, square = 0;
#pragma unroll
        for (int row = 0; row < kRows; ++row)
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                if (row >= rows || 8 * half >= columns) continue;
                const float away = stored[row][k / 2][2 * half + k % 2] - pivot;
                sum += away;
                square += away * away;
            }
        for (int by = 4; by < 32; by *= 2) {
            sum += __shfl_xor_sync(kAllLanes, sum, by);
            square += __shfl_xor_sync(kAllLanes, square, by);
        }
        if (lane >= 4) continue;
        float* of_warp = to + (lane * kOfLane + k) * kWarps + thread / 32;
        of_warp[0] = pivot;
        of_warp[kOutputs * kWarps] = sum;
        of_warp[2 * kOutputs * kWarps] = square;
    }
}

/// Adds the warps' sums up, in a fixed order, and leaves them in to[which][channel][block]. first: of the block's tile.
template <int kOutputs>
__device__ __forceinline__ void join_warps(const Size& size, const TileOrigin& first, const float* of_warps,
                                           float* to) {
    const int channel = static_cast<int>(threadIdx.x);
    if (channel >= kOutputs) return;
    const float pivot = of_warps[channel * kWarps];
    double sum = 0, square = 0;
    for (int warp = 0; warp < kWarps; ++warp) {
        const int voxels =
            voxels_inside(size, {first.sample, first.d + warp / 2, first.h + warp % 2 * kRows, first.w}, 1, kRows);
        if (voxels == 0) continue;
        const float* own = of_warps + channel * kWarps + warp;
        add_about(pivot, voxels, own[0], own[kOutputs * kWarps], own[2 * kOutputs * kWarps], sum, square);
    }
    to += std::int64_t{channel} * gridDim.x + blockIdx.x;
    const std::int64_t next = std::int64_t{kOutputs} * gridDim.x;
    to[0] = pivot;
    to[next] = static_cast<float>(sum);
    to[2 * next] = static_cast<float>(square);
}

template <int kInputs, int kOutputs>
__global__ void __launch_bounds__(kThreads, kInputs > 16 || kOutputs > 16 ? 2 : 3)
    narrow_kernel(NarrowPass p, const Bf16* x, const Pack16* weights, NarrowPrologue prologue, NarrowEpilogue epilogue,
                  Bf16* y) {
    constexpr int kGroup = inputs_of_group(kInputs), kPacks = kGroup / 8, kTap = kOutputs * kPacks;
    constexpr int kHeld = kOutputs > 16 ? 1 : 3, kSteps = 3 / kHeld;  // kd, the weights of which are held at once
    SHARED(Pack16, tile, kRimD * kRimH * kRimW * kPacks);
    SHARED(Pack16, taps, kHeld * 9 * kTap);
    const TileOrigin origin = tile_of(p.size, static_cast<int>(blockIdx.x));
    const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, own_d = warp / 2, own_h = warp % 2 * kRows;
    float sum[kRows][kOutputs / 8][4] = {};
#pragma unroll 1
    for (int step = 0; step < kInputs / kGroup * kSteps; ++step) {
        if (step > 0) __syncthreads();  // until nobody reads what is replaced
        if (step % kSteps == 0) fill_tile<kPacks>(p, origin, x, step / kSteps * kGroup, prologue, tile);
        const Pack16* from = weights + step * kHeld * 9 * kTap;
#pragma unroll 1
        for (int i = thread; i < kHeld * 9 * kTap; i += kThreads) begin_copy(&taps[i], from + i, true);
        commit_copies();
        wait_for_copies<0>();
        __syncthreads();
#pragma unroll 1
        for (int kd = 0; kd < kHeld; ++kd)
            multiply<kPacks, kOutputs>(tile + ((own_d + step % kSteps * kHeld + kd) * kRimH + own_h) * kRimW * kPacks,
                                       taps + kd * 9 * kTap, sum);
    }
    const TileOrigin own{origin.sample, origin.d + own_d, origin.h + own_h, origin.w};
    store_rows<kOutputs>(p, own, epilogue, sum, y);
    if (!epilogue.sums) return;
    auto* of_warps = reinterpret_cast<float*>(tile);
    __syncthreads();  // until nobody reads the tile
    sum_rows<kOutputs>(p.size, own, sum, of_warps);
    __syncthreads();
    join_warps<kOutputs>(p.size, origin, of_warps, epilogue.sums);
}

/// One block a channel.
__global__ void __launch_bounds__(kThreads)
    finish_statistics_kernel(const float* sums, Size size, int tiles, double count, float epsilon,
                             BatchNormStatistics statistics, RunningStatistics running) {
    const float* of_channel = sums + std::int64_t{blockIdx.x} * tiles;
    const std::int64_t next = std::int64_t{gridDim.x} * tiles;
    const double pivot = of_channel[0];
    double sum = 0, square = 0;
    for (int tile = static_cast<int>(threadIdx.x); tile < tiles; tile += kThreads) {
        const float* from = of_channel + tile;
        add_about(pivot, voxels_inside(size, tile_of(size, tile), kTileD, kTileH), from[0], from[next], from[2 * next],
                  sum, square);
    }
    sum = block_sum<kThreads>(sum);
    square = block_sum<kThreads>(square);
    if (threadIdx.x != 0) return;
    Moments{pivot, sum, square, count}.finish(static_cast<int>(blockIdx.x), epsilon, statistics, running);
}

// ----------------------------------------------------------------------------------------------------------------------

/// Calls body with a channel count as a constant.
template <class Body>
void with_channels(int channels, Body&& body) {
    if (channels == 32) return body(std::integral_constant<int, 32>{});
    if (channels == 16) return body(std::integral_constant<int, 16>{});
    return body(std::integral_constant<int, 8>{});
}

void run(Stream stream, View from, const NarrowWeights& weights, bool mirrored, const NarrowPrologue& prologue,
         const NarrowEpilogue& epilogue, View to, void* scratch) {
    const NarrowPass p{size_of(from.shape), static_cast<int>(from.shape.c), static_cast<int>(to.shape.c)};
    launch(arrange_kernel, {blocks_for(std::int64_t{p.inputs} * p.outputs * kTaps, kThreads), kThreads}, stream,
           weights, p.inputs, p.outputs, mirrored, static_cast<Bf16*>(scratch));
    with_channels(p.inputs, [&](auto inputs) {
        with_channels(p.outputs, [&](auto outputs) {
            launch(narrow_kernel<inputs(), outputs()>, {static_cast<unsigned>(narrow_tiles(from.shape)), kThreads},
                   stream, p, from.as<const Bf16>(), static_cast<const Pack16*>(scratch), prologue, epilogue,
                   to.as<Bf16>());
        });
    });
}

}  // namespace

void narrow_forward(Stream stream, View src, const NarrowWeights& weights, const NarrowPrologue& prologue,
                    const NarrowEpilogue& epilogue, View dst, void* scratch) {
    require_narrow(src, dst.shape, "src");
    require_narrow(dst, src.shape, "dst");
    run(stream, src, weights, false, prologue, epilogue, dst, scratch);
}

void narrow_data_gradient(Stream stream, View diff_dst, const NarrowWeights& weights, View diff_src, void* scratch) {
    require_narrow(diff_dst, diff_src.shape, "diff_dst");
    require_narrow(diff_src, diff_dst.shape, "diff_src");
    run(stream, diff_dst, weights, true, {}, {}, diff_src, scratch);
}

void narrow_statistics(Stream stream, const Shape& dst, const float* sums, float epsilon,
                       BatchNormStatistics statistics, RunningStatistics running) {
    launch(finish_statistics_kernel, {static_cast<unsigned>(dst.c), kThreads}, stream, sums, size_of(dst),
           static_cast<int>(narrow_tiles(dst)), static_cast<double>(dst.n * dst.voxels()), epsilon, statistics,
           running);
}

}  // namespace iwseg::IWSEG_BACKEND
