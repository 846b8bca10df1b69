#include "kernels/convolution/voxel_blocks.h"

#include <stdexcept>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/pack.cuh"
#include "kernels/device/dispatch.h"

// Both ways each element is read once and written once. A run, the voxels of a block that lie along w, is as long in
// both forms; threads go through src in its order.
namespace iwseg::IWSEG_BACKEND {
namespace {

constexpr int kThreads = 256;

/// In elements of src: its rows along w begin with one run for each block.
struct Blocks {
    std::int64_t packs;
    int run;        ///< elements of a run
    int blocks, h;  ///< of src, along w and h
    int kernel_d, kernel_h;

    /// Where an element of src lies in the rows of blocks.
    __device__ __forceinline__ std::int64_t place(std::int64_t element) const {
        const std::int64_t at = element / run, row = at / blocks;  // of all runs, of all of src's rows
        const std::int64_t plane = row / (std::int64_t{h} * kernel_h), in_plane = row % (std::int64_t{h} * kernel_h);
        const std::int64_t block = (plane / kernel_d * h + in_plane / kernel_h) * blocks + at % blocks;
        const std::int64_t tap = plane % kernel_d * kernel_h + in_plane % kernel_h;
        return (block * kernel_d * kernel_h + tap) * run + element % run;
    }
};

template <int W, class T>
__device__ __forceinline__ void copy_pack(const T* from, T* to) {
    const Pack<T, W> pack = pack_at<W>(from);
    if constexpr (sizeof pack == 16)
        store_16_bytes(to, std::bit_cast<uint4>(pack));
    else
        *reinterpret_cast<Pack<T, W>*>(to) = pack;
}

/// A pack lies within one run.
template <int W, bool kGather, class T>
__global__ void __launch_bounds__(kThreads) blocks_kernel(Blocks blocks, const T* from, T* to) {
    const std::int64_t step = std::int64_t{gridDim.x} * kThreads;
    for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < blocks.packs; i += step) {
        const std::int64_t place = blocks.place(i * W);
        copy_pack<W>(from + (kGather ? i * W : place), to + (kGather ? place : i * W));
    }
}

template <bool kGather>
void move_blocks(Stream stream, const View& src, const Sides& kernel, void* rows) {
    const Shape& s = src.shape;
    if (src.layout != Layout::ndhwc || s.d % kernel.d || s.h % kernel.h || s.w % kernel.w)
        throw std::invalid_argument(
            "voxel blocks: expected channels innermost, and sides that are multiples of the "
            "kernel's");
    with_real(src.type, [&](auto real) {
        using T = decltype(real);
        const std::int64_t run = kernel.w * s.c;
        with_pack<T>(run, [&](auto width) {
            const Blocks blocks{s.elements() / width(),
                                static_cast<int>(run),
                                static_cast<int>(s.w / kernel.w),
                                static_cast<int>(s.h / kernel.h),
                                kernel.d,
                                kernel.h};
            launch(blocks_kernel<width(), kGather, T>, {blocks_for(blocks.packs, kThreads), kThreads}, stream, blocks,
                   kGather ? src.as<const T>() : static_cast<const T*>(rows),
                   kGather ? static_cast<T*>(rows) : src.as<T>());
        });
    });
}

}  // namespace

void gather_blocks(Stream stream, View src, const Sides& kernel, void* rows) {
    move_blocks<true>(stream, src, kernel, rows);
}

void spread_blocks(Stream stream, const void* rows, const Sides& kernel, View src) {
    move_blocks<false>(stream, src, kernel, const_cast<void*>(rows));  // read only
}

}  // namespace iwseg::IWSEG_BACKEND
