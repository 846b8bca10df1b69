#include "kernels/patch/cut_patch.h"

#include <algorithm>

#include "kernels/cuda/launch.h"

// A block moves tiles of 32 x 32 voxels, the tile's columns along the patch's last axis. Where that axis runs along the
// scan's rows, both sides are read and written in rows. Where a turn made another axis of the patch run along them, the
// tile spans that axis, is read along it and written along the last, through shared memory. Which of the two is known
// to the device only: the launch is the same for every place, so that a recorded graph cuts whatever the sources say.
// Moved: 4 bytes read and written a voxel and channel; of labels 4 read, and 1 and 4 written.
namespace iwseg::IWSEG_BACKEND {
namespace {

constexpr int kSide = 32, kRows = 8, kThreads = kSide * kRows,
              kPitch = kSide + 1;  // the pitch keeps columns off one bank

/// One axis of a patch: how many voxels, which of them the scan has, and from one to the next in scan and patch.
struct Axis {
    int side, first, end;
    std::int64_t from_stride, to_stride;

    __device__ bool has(int v) const { return v >= first && v < end; }
};

struct PatchExtent {
    int d, h, w;
    std::int64_t voxels;

    __device__ Axis axis(const PatchSource& source, int number) const {
        return {number == 0   ? d
                : number == 1 ? h
                              : w,
                source.inside_first[number], source.inside_end[number], source.strides[number],
                number == 0   ? std::int64_t{h} * w
                : number == 1 ? w
                              : 1};
    }
};

__device__ __forceinline__ bool along_rows(const PatchSource& source, int axis) {
    return source.strides[axis] == 1 || source.strides[axis] == -1;
}

/// Calls write(v, value) for every voxel v of a patch. A tile spans its last axis and one other, `o`; the third is
/// fixed.
template <class T, class Write>
__device__ __forceinline__ void cut_volume(const PatchSource& source, const T* from, T padding,
                                           const PatchExtent& patch, Write&& write) {
    SHARED(T, tile, kSide * kPitch);
    const bool turned = !along_rows(source, 2), by_first = turned && !along_rows(source, 1);
    const Axis last = patch.axis(source, 2), o = patch.axis(source, by_first ? 0 : 1),
               third = patch.axis(source, by_first ? 1 : 0);
    const int across = (last.side + kSide - 1) / kSide, tiles = across * ((o.side + kSide - 1) / kSide);
    const int lane = static_cast<int>(threadIdx.x) % kSide, row = static_cast<int>(threadIdx.x) / kSide;
    for (std::int64_t t = blockIdx.x; t < std::int64_t{tiles} * third.side; t += gridDim.x) {
        const int at = static_cast<int>(t / tiles), within = static_cast<int>(t % tiles);
        const int first_o = within / across * kSide, first_w = within % across * kSide;
        const T* plane = from + source.start + at * third.from_stride;
        const bool inside = third.has(at);
        const auto value_at = [&](int v, int w) {
            return inside && o.has(v) && last.has(w) ? plane[v * o.from_stride + w * last.from_stride] : padding;
        };
        if (turned) {
            for (int r = row; r < kSide; r += kRows)
                if (first_o + lane < o.side && first_w + r < last.side)
                    tile[r * kPitch + lane] = value_at(first_o + lane, first_w + r);
            __syncthreads();
        }
        for (int r = row; r < kSide; r += kRows)
            if (first_o + r < o.side && first_w + lane < last.side)
                write(at * third.to_stride + (first_o + r) * o.to_stride + first_w + lane,
                      turned ? tile[lane * kPitch + r] : value_at(first_o + r, first_w + lane));
        if (turned) __syncthreads();
    }
}

/// Blocks along y are channels, one more the labels where they are wanted; along z samples.
__global__ void __launch_bounds__(kThreads) cut_kernel(const PatchSource* sources, PatchExtent patch, int channels,
                                                       float* image, std::uint8_t* target, std::int32_t* labels) {
    const std::int64_t n = blockIdx.z;
    const int c = static_cast<int>(blockIdx.y);
    const PatchSource& source = sources[n];
    if (c < channels) {
        float* to = image + (n * channels + c) * patch.voxels;
        cut_volume(source, source.image + c * source.voxels, source.padding[c], patch,
                   [=](std::int64_t v, float value) { to[v] = value; });
        return;
    }
    const std::int64_t at = n * patch.voxels;
    cut_volume(source, source.labels, std::int32_t{0}, patch, [=](std::int64_t v, std::int32_t label) {
        if (target) target[at + v] = target_of_label(label);
        if (labels) labels[at + v] = label;
    });
}

}  // namespace

void cut_patches(Stream stream, const PatchSource* sources, View image, std::uint8_t* target, std::int32_t* labels) {
    require_patches(image);
    const Shape& s = image.shape;
    const auto tiles = [](std::int64_t side) { return (side + kSide - 1) / kSide; };
    // As many tiles as the place with most of them has; blocks stride over them.
    constexpr int kMostBlocks = 512;
    const std::int64_t most = tiles(s.w) * std::max(tiles(s.h) * s.d, tiles(s.d) * s.h);
    const dim3 grid(blocks_for(most, 1, kMostBlocks), static_cast<unsigned>(s.c + (target || labels ? 1 : 0)),
                    static_cast<unsigned>(s.n));
    const PatchExtent patch{static_cast<int>(s.d), static_cast<int>(s.h), static_cast<int>(s.w), s.voxels()};
    launch(cut_kernel, {grid, kThreads}, stream, sources, patch, static_cast<int>(s.c), image.as<float>(), target,
           labels);
}

}  // namespace iwseg::IWSEG_BACKEND
