#include <algorithm>

#include "kernels/convolution/weights.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/pack.cuh"
#include "kernels/device/dispatch.h"

// Weights between the parameters' order, (O, C, kernel) in f32, and the one convolutions with channels innermost want,
// (O, kernel, C) in the operands' type. A block turns up to 64 channels of one output over in shared memory, fewer of
// large kernels, so that both sides are read and written in runs: 4 + 2 bytes a weight in bf16. All of a network's
// arrays are one launch. The taps of a channel lie an odd number of elements apart there, so that lanes meet no bank
// twice.
namespace iwseg::IWSEG_BACKEND {
namespace {

constexpr int kThreads = 256, kMostChannels = 64, kTile = kMostChannels * 27;
constexpr int kMostTaps = 7 * 7 * 7;
constexpr int kMostArrays = 100;  ///< of a launch: the list is one of the kernel's parameters, of 4 KB at most

/// One array, and the first of the blocks that take it.
struct Listed {
    float* plain;
    void* packed;
    int outputs, inputs, taps;
    unsigned first_block;
    int channels, parts;  ///< that a block takes of an output, and so many blocks
};

struct List {
    int count = 0;
    Listed arrays[kMostArrays];
};
static_assert(sizeof(List) <= 4096 - 64);

/// What a block takes of an array: some channels of one output.
struct Part {
    float* plain;         ///< [channel][tap]
    std::int64_t packed;  ///< the first of them there; a tap further is `inputs` further
    int channels, taps, inputs;

    __device__ __forceinline__ int count() const { return channels * taps; }
    /// Of an element of `plain`, in the tile.
    __device__ __forceinline__ int place(int i) const { return i + (taps % 2 ? 0 : i / taps); }
    __device__ __forceinline__ int place(int channel, int tap) const { return channel * (taps | 1) + tap; }
};

/// The array of a block, and its part of it.
__device__ __forceinline__ Part part_of(const List& list, int& number) {
    int low = 0, high = list.count - 1;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (list.arrays[middle].first_block <= blockIdx.x)
            low = middle;
        else
            high = middle - 1;
    }
    number = low;
    const Listed& array = list.arrays[low];
    const int block = static_cast<int>(blockIdx.x - array.first_block), output = block / array.parts;
    const int first = (block - output * array.parts) * array.channels;
    return {array.plain + (std::int64_t{output} * array.inputs + first) * array.taps,
            std::int64_t{output} * array.taps * array.inputs + first, min(array.inputs - first, array.channels),
            array.taps, array.inputs};
}

template <class T>
__global__ void __launch_bounds__(kThreads) pack_kernel(List list) {
    SHARED(float, tile, kTile);
    int number;
    const Part part = part_of(list, number);
    T* packed = static_cast<T*>(list.arrays[number].packed) + part.packed;
    for (int i = static_cast<int>(threadIdx.x); i < part.count(); i += kThreads) tile[part.place(i)] = part.plain[i];
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < part.count(); i += kThreads) {
        const int tap = i / part.channels, c = i - tap * part.channels;
        store(packed[std::int64_t{tap} * part.inputs + c], tile[part.place(c, tap)]);
    }
}

template <class T>
__global__ void __launch_bounds__(kThreads) unpack_kernel(List list) {
    SHARED(float, tile, kTile);
    int number;
    const Part part = part_of(list, number);
    const T* packed = static_cast<const T*>(list.arrays[number].packed) + part.packed;
    for (int i = static_cast<int>(threadIdx.x); i < part.count(); i += kThreads) {
        const int tap = i / part.channels, c = i - tap * part.channels;
        tile[part.place(c, tap)] = to_f32(packed[std::int64_t{tap} * part.inputs + c]);
    }
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < part.count(); i += kThreads) part.plain[i] = tile[part.place(i)];
}

/// A pack lies within one voxel.
template <int W, class T>
__global__ void add_bias_kernel(const float* bias, std::int64_t packs, int channels, T* dst) {
    const std::int64_t step = std::int64_t{gridDim.x} * kThreads;
    for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < packs; i += step) {
        const int first = static_cast<int>(i * W % channels);
        float values[W];
        load_pack<W>(dst + i * W, values);
#pragma unroll
        for (int k = 0; k < W; ++k) values[k] += bias[first + k];
        store_pack<W>(dst + i * W, values);
    }
}

// ----------------------------------------------------------------------------------------------------------------------

Listed listed(const PackedArray& one, unsigned first_block) {
    WeightShape s = one.shape;
    if (s.taps < 1 || s.taps > kMostTaps) throw std::invalid_argument("weights: expected a kernel of 1 to 7 per axis");
    if (s.inputs == 1) s = {1, s.count(), 1};  // both orders are one
    const int channels = std::min(kMostChannels, kTile / (s.taps | 1)), inputs = static_cast<int>(s.inputs);
    return {one.plain,   one.packed, static_cast<int>(s.outputs),       inputs, s.taps,
            first_block, channels,   (inputs + channels - 1) / channels};
}

/// Calls body(list, blocks) for each kMostArrays arrays.
template <class Body>
void each_list(std::span<const PackedArray> arrays, Body&& body) {
    for (std::size_t first = 0; first < arrays.size(); first += kMostArrays) {
        List list;
        unsigned blocks = 0;
        for (const PackedArray& one :
             arrays.subspan(first, std::min<std::size_t>(kMostArrays, arrays.size() - first))) {
            const Listed& added = list.arrays[list.count++] = listed(one, blocks);
            blocks += static_cast<unsigned>(added.outputs * added.parts);
        }
        body(list, blocks);
    }
}

}  // namespace

void pack_all_weights(Stream stream, std::span<const PackedArray> arrays, Type type) {
    with_real(type, [&](auto real) {
        each_list(arrays, [&](const List& list, unsigned blocks) {
            launch(pack_kernel<decltype(real)>, {blocks, kThreads}, stream, list);
        });
    });
}

void unpack_all_weights(Stream stream, std::span<const PackedArray> arrays, Type type) {
    with_real(type, [&](auto real) {
        each_list(arrays, [&](const List& list, unsigned blocks) {
            launch(unpack_kernel<decltype(real)>, {blocks, kThreads}, stream, list);
        });
    });
}

void pack_weights(Stream stream, const float* weights, const WeightShape& shape, Type type, void* packed) {
    const PackedArray one{const_cast<float*>(weights), packed, shape};  // read only
    pack_all_weights(stream, {&one, 1}, type);
}

void unpack_weights(Stream stream, const void* packed, const WeightShape& shape, Type type, float* weights) {
    const PackedArray one{weights, const_cast<void*>(packed), shape};  // read only
    unpack_all_weights(stream, {&one, 1}, type);
}

void add_bias(Stream stream, const float* bias, View dst) {
    if (dst.layout != Layout::ndhwc) throw std::invalid_argument("add_bias: expected channels innermost (ndhwc)");
    with_real(dst.type, [&](auto real) {
        using T = decltype(real);
        with_pack<T>(dst.shape.c, [&](auto width) {
            const std::int64_t packs = dst.shape.elements() / width();
            launch(add_bias_kernel<width(), T>, {blocks_for(packs, kThreads), kThreads}, stream, bias, packs,
                   static_cast<int>(dst.shape.c), dst.as<T>());
        });
    });
}

}  // namespace iwseg::IWSEG_BACKEND
