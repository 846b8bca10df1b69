#pragma once

#include "kernels/convolution/direct.cuh"
#include "kernels/convolution/narrow.h"
#include "kernels/cuda/warp_matrix.cuh"
#include "kernels/norm/batch_norm.h"

// What the narrow convolutions' passes share: how tiles with their rim of neighbours lie in shared memory, and how they
// are filled. A voxel's group of 8 or 16 channels is one or two packs of 16 bytes. Rows of voxels lie one after the
// other; in a row of two packs a voxel, every other four voxels have their packs exchanged:
//
//     voxel   0      1      2      3      4      5      6      7
//     packs   a b    a b    a b    a b    b a    b a    b a    b a
//
// so that eight voxels next to each other, wherever they start, hold their packs a in eight different places of the 128
// bytes that shared memory delivers a cycle: loads of matrices meet no bank twice.
namespace iwseg::IWSEG_BACKEND {

using Pack16 = Pack<Bf16, 8>;

/// Voxels along h and w that a block computes, and with the rim it reads.
constexpr int kTileH = NarrowTile::kHeight, kTileW = NarrowTile::kWidth, kRimH = kTileH + 2, kRimW = kTileW + 2;

/// A pass from `inputs` to `outputs` channels.
struct NarrowPass {
    Size size;
    int inputs, outputs;
};

/// Where a pack of a voxel of a row lies.
template <int kPacks>
__device__ __forceinline__ int place_of(int voxel, int pack) {
    return voxel * kPacks + (kPacks == 1 ? 0 : pack ^ (voxel >> 2 & 1));
}

/// A thread's share in filling rows of kWidth voxels: one pack of one voxel, of every kAtOnce-th row.
template <int kWidth, int kPacks, int kThreads>
struct Filler {
    static constexpr int kAtOnce = kThreads / (kWidth * kPacks);
    int first_row, voxel, pack;

    __device__ __forceinline__ Filler() {
        const int thread = static_cast<int>(threadIdx.x), in_row = thread % (kWidth * kPacks);
        first_row = thread / (kWidth * kPacks);
        voxel = in_row / kPacks;
        pack = in_row % kPacks;
    }
    __device__ __forceinline__ bool takes_part() const { return first_row < kAtOnce; }
    __device__ __forceinline__ int place(int row) const {
        return row * (kWidth * kPacks) + place_of<kPacks>(voxel, pack);
    }
};

/// Where eight channels of a voxel (d, h, w) of a sample lie, and whether there is such a voxel.
struct Source {
    const Bf16* address;
    bool inside;
};

__device__ __forceinline__ Source source_of(const Size& size, int channels, const Bf16* sample, int channel, int d,
                                            int h, int w) {
    const bool inside = d >= 0 && d < size.d && h >= 0 && h < size.h && w >= 0 && w < size.w;
    const int at = ((d * size.h + h) * size.w + w) * channels + channel;  // takes_narrow sees that it fits
    return {sample + (inside ? at : 0), inside};
}

/// Batch normalisation and ReLU of eight channels.
struct Activation {
    float scale[8], shift[8];

    __device__ __forceinline__ Activation(const BatchNormStatistics& s, const BatchNormWeights& w, int channel) {
#pragma unroll
        for (int k = 0; k < 8; ++k) {
            scale[k] = w.scale[channel + k] * s.inverse_deviation[channel + k];
            shift[k] = w.shift[channel + k] - s.mean[channel + k] * scale[k];
        }
    }
    /// Zeros stay where no voxel is: what is padded is the activation.
    __device__ __forceinline__ void load(const Source& from, Pack16& to) const {
        float values[8] = {};
        if (from.inside) {
            load_pack<8>(from.address, values);
#pragma unroll
            for (int k = 0; k < 8; ++k) {
                const float z = values[k] * scale[k] + shift[k];
                values[k] = z < 0.0f ? 0.0f : z;
            }
        }
        store_pack<8>(to.values, values);
    }
};

}  // namespace iwseg::IWSEG_BACKEND
