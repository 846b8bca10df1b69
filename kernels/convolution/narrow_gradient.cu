#include "kernels/convolution/narrow.cuh"
#include "kernels/convolution/narrow.h"

#include <algorithm>

#include "kernels/convolution/direct.h"

// The weight gradient: for each tap, diff_dst's channels times src's, summed over voxels, as products of matrices in
// which voxels are what is summed over:
//
//      [ outputs x 16 voxels ]  x  [ the 16 voxels, one tap off, x inputs ]   added up over rows of voxels
//
// Both lie in shared memory with channels innermost, so both are loaded transposed. A block goes along d through a
// column of 8 x 16 voxels (h, w), slice by slice: three slices of src and one of diff_dst are multiplied while the next
// of each are under way. Nine warps, one a (kd, kw): each loads a row of src once, for its three kh, and keeps the last
// three rows of diff_dst: 2 loads for 6 products. Channels above 16 are taken in pairs of groups, each by blocks of its
// own.
//
// Blocks leave their sums, which are then added in order, in double: how a shape is cut does not depend on the card.
// Voxels outside are zeros; where src is infinite or not a number within a row's last tile, so may be taps that do not
// touch it.
namespace iwseg::IWSEG_BACKEND {
namespace {

constexpr int kThreads = 288, kTaps = 27;
constexpr int kSlices = 32;  ///< of a column that one block sums

/// Columns along w and h, and parts of them along d.
struct Columns {
    int w, h, d;
};

Columns columns_of(const Size& size) {
    const auto parts = [](int count, int of) { return (count + of - 1) / of; };
    return {parts(size.w, kTileW), parts(size.h, kTileH), parts(size.d, kSlices)};
}

/// The block's place: sample, first voxel along h and w, slices along d, first channels.
struct Share {
    int sample, h, w, first, last, input, output;
};

template <int kInputs, int kOutputs>
__device__ __forceinline__ Share share_of(const NarrowPass& p, const Columns& columns) {
    int at = static_cast<int>(blockIdx.x);
    const int w = at % columns.w * kTileW;
    at /= columns.w;
    const int h = at % columns.h * kTileH;
    at /= columns.h;
    const int first = at % columns.d * kSlices, groups = p.inputs / kInputs, group = static_cast<int>(blockIdx.y);
    return {at / columns.d,           h, w, first, min(first + kSlices, p.size.d), group % groups * kInputs,
            group / groups * kOutputs};
}

/// A ring of slices: of src with its rim, and of diff_dst.
template <int kPacks, int kOutputPacks>
struct Slices {
    static constexpr int kSrc = kRimH * kRimW * kPacks, kDiff = kTileH * kTileW * kOutputPacks;
    static constexpr int kAll = 4 * kSrc + 2 * kDiff;
    Pack16* memory;

    __device__ __forceinline__ Pack16* src(int d) const { return memory + (d & 3) * kSrc; }
    __device__ __forceinline__ Pack16* diff(int d) const { return memory + 4 * kSrc + (d & 1) * kDiff; }
};

/// Fills one slice of src.
template <int kPacks, bool kActivates>
__device__ __forceinline__ void fill_src(const NarrowPass& p, const Share& share, const Bf16* x, int d,
                                         const NarrowPrologue& prologue, Pack16* to) {
    const Filler<kRimW, kPacks, kThreads> filler;
    if (!filler.takes_part()) return;
    const Bf16* sample = x + std::int64_t{share.sample} * p.size.d * p.size.h * p.size.w * p.inputs;
    const int first = share.input + filler.pack * 8;
    const auto each_row = [&](auto&& body) {
#pragma unroll 1
        for (int row = filler.first_row; row < kRimH; row += filler.kAtOnce)
            body(source_of(p.size, p.inputs, sample, first, d, share.h + row - 1, share.w + filler.voxel - 1),
                 to[filler.place(row)]);
    };
    if constexpr (kActivates) {
        const Activation activation(prologue.statistics, prologue.weights, first);
        each_row([&](const Source& from, Pack16& pack) { activation.load(from, pack); });
    } else {
        each_row([](const Source& from, Pack16& pack) { begin_copy(&pack, from.address, from.inside); });
    }
}

template <int kPacks>
__device__ __forceinline__ void fill_diff(const NarrowPass& p, const Share& share, const Bf16* diff, int d,
                                          Pack16* to) {
    const Filler<kTileW, kPacks, kThreads> filler;
    if (!filler.takes_part()) return;
    const Bf16* sample = diff + std::int64_t{share.sample} * p.size.d * p.size.h * p.size.w * p.outputs;
#pragma unroll 1
    for (int row = filler.first_row; row < kTileH; row += filler.kAtOnce) {
        const Source from = source_of(p.size, p.outputs, sample, share.output + filler.pack * 8, d, share.h + row,
                                      share.w + filler.voxel);
        begin_copy(&to[filler.place(row)], from.address, from.inside);
    }
}

/// Sixteen voxels of a row of diff_dst, transposed: outputs 0-7 and 8-15 of voxels 0-7, then of 8-15. Outputs that are
/// not there are zeros.
template <int kPacks>
__device__ __forceinline__ void load_diff(const Pack16* row, unsigned (&to)[4]) {
    const int lane = static_cast<int>(threadIdx.x) % 32, matrix = lane / 8;
    const int voxel = matrix / kPacks % 2 * 8 + lane % 8;
    unsigned loaded[2 * kPacks];
    load_matrices_transposed(row[place_of<kPacks>(voxel, matrix % kPacks)].values, loaded);
#pragma unroll
    for (int i = 0; i < 4; ++i) to[i] = kPacks == 2 ? loaded[i % (2 * kPacks)] : i % 2 == 0 ? loaded[i / 2] : 0u;
}

/// Sixteen voxels of a row of src from voxel kw on, transposed: for each eight inputs, voxels 0-7 and 8-15.
template <int kPacks>
__device__ __forceinline__ void load_src(const Pack16* row, int kw, unsigned (&to)[kPacks][2]) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    unsigned loaded[2 * kPacks];
    load_matrices_transposed(row[place_of<kPacks>(kw + lane % 16, lane / 16 % kPacks)].values, loaded);
#pragma unroll
    for (int i = 0; i < 2 * kPacks; ++i) to[i / 2][i % 2] = loaded[i];
}

/// Adds one slice to a warp's three taps. rows: of diff_dst that are within the tensor.
template <int kPacks, int kOutputPacks>
__device__ __forceinline__ void add_slice(const Pack16* src, const Pack16* diff, int kw, int rows,
                                          float (&sum)[3][kPacks][4]) {
    unsigned of_diff[3][4] = {};
#pragma unroll
    for (int r = 0; r < kRimH; ++r) {
        unsigned of_src[kPacks][2];
        load_src<kPacks>(src + r * kRimW * kPacks, kw, of_src);
        if (r < kTileH) load_diff<kOutputPacks>(diff + r * kTileW * kOutputPacks, of_diff[r % 3]);
#pragma unroll
        for (int kh = 0; kh < 3; ++kh) {
            const int row = r - kh;
            if (row < 0 || row >= kTileH || row >= rows) continue;
#pragma unroll
            for (int n = 0; n < kPacks; ++n) multiply_add(sum[kh][n], of_diff[row % 3], of_src[n]);
        }
    }
}

/// partial[part][o][c][tap].
template <int kInputs, int kOutputs, bool kActivates>
__global__ void __launch_bounds__(kThreads, kActivates ? 2 : 3)
    narrow_gradient_kernel(NarrowPass p, Columns columns, const Bf16* x, NarrowPrologue prologue, const Bf16* diff,
                           float* partial) {
    constexpr int kPacks = kInputs / 8, kOutputPacks = kOutputs / 8;
    using Ring = Slices<kPacks, kOutputPacks>;
    static_assert(sizeof(Pack16) * Ring::kAll >= sizeof(float) * kInputs * kOutputs * kTaps,
                  "the ring holds the sums at the end");
    SHARED(Pack16, memory, Ring::kAll);
    const Ring ring{memory};
    const Share share = share_of<kInputs, kOutputs>(p, columns);
    const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, kd = thread / 32 / 3, kw = thread / 32 % 3;
    const auto fill = [&](int d) { fill_src<kPacks, kActivates>(p, share, x, d, prologue, ring.src(d)); };
    float sum[3][kPacks][4] = {};
#pragma unroll 1
    for (int d = share.first - 1; d <= share.first + 1; ++d) fill(d);
    fill_diff<kOutputPacks>(p, share, diff, share.first, ring.diff(share.first));
    commit_copies();
    for (int d = share.first; d < share.last; ++d) {
        wait_for_copies<0>();
        __syncthreads();  // the slices have landed; those that are replaced now are read no more
        if (d + 1 < share.last) {
            fill(d + 2);
            fill_diff<kOutputPacks>(p, share, diff, d + 1, ring.diff(d + 1));
            commit_copies();
        }
        add_slice<kPacks, kOutputPacks>(ring.src(d + kd - 1), ring.diff(d), kw, p.size.h - share.h, sum);
    }
    __syncthreads();
    auto* sums = reinterpret_cast<float*>(memory);  // [o][c][tap]
#pragma unroll
    for (int kh = 0; kh < 3; ++kh)
#pragma unroll
        for (int n = 0; n < kPacks; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int o = lane / 4 + i / 2 * 8, c = n * 8 + lane % 4 * 2 + i % 2;
                if (o < kOutputs) sums[(o * kInputs + c) * kTaps + (kd * 3 + kh) * 3 + kw] = sum[kh][n][i];
            }
    __syncthreads();
    float* to = partial + static_cast<std::int64_t>(blockIdx.x) * p.outputs * p.inputs * kTaps;
    for (int i = thread; i < kOutputs * kInputs * kTaps; i += kThreads)
        to[((share.output + i / (kInputs * kTaps)) * p.inputs + share.input) * kTaps + i % (kInputs * kTaps)] = sums[i];
}

// ----------------------------------------------------------------------------------------------------------------------

std::int64_t parts_of(const Shape& shape) {
    const Columns columns = columns_of(size_of(shape));
    return shape.n * columns.w * columns.h * columns.d;
}

template <class Body>
void with_group(int channels, Body&& body) {
    if (channels % 16 == 0) return body(std::integral_constant<int, 16>{});
    return body(std::integral_constant<int, 8>{});
}

}  // namespace

std::int64_t narrow_scratch_bytes(const Shape& src, std::int64_t outputs) {
    const std::int64_t weights = outputs * src.c * kTaps;
    return std::max(weights * bytes_of(Type::bf16), parts_of(src) * weights * bytes_of(Type::f32));
}

void narrow_weight_gradient(Stream stream, View src, const NarrowPrologue& prologue, View diff_dst, float* diff_weights,
                            void* scratch) {
    require_narrow(src, diff_dst.shape, "src");
    require_narrow(diff_dst, src.shape, "diff_dst");
    const NarrowPass p{size_of(src.shape), static_cast<int>(src.shape.c), static_cast<int>(diff_dst.shape.c)};
    const std::int64_t parts = parts_of(src.shape);
    auto* partial = static_cast<float*>(scratch);
    with_group(p.inputs, [&](auto inputs) {
        with_group(p.outputs, [&](auto outputs) {
            const int groups = p.inputs / inputs() * (p.outputs / outputs());
            const LaunchShape grid{{static_cast<unsigned>(parts), static_cast<unsigned>(groups)}, kThreads};
            const auto kernel = prologue.statistics.mean ? narrow_gradient_kernel<inputs(), outputs(), true>
                                                         : narrow_gradient_kernel<inputs(), outputs(), false>;
            launch(kernel, grid, stream, p, columns_of(p.size), src.as<const Bf16>(), prologue,
                   diff_dst.as<const Bf16>(), partial);
        });
    });
    join_partial_sums(stream, partial, static_cast<int>(parts), src.shape.c * diff_dst.shape.c * kTaps, diff_weights);
}

}  // namespace iwseg::IWSEG_BACKEND
