#include "kernels/elementwise/reorder.h"

#include <algorithm>

#include "kernels/cuda/launch.h"
#include "kernels/device/dispatch.h"
#include "kernels/elementwise/elementwise.h"

// Between ncdhw and ndhwc each sample is a C x V matrix transposed: tiles go through shared memory, so that both
// tensors are walked side by side, each once. A tile holds up to 32 channels and as many voxels as fit, so that few
// channels do not leave it empty. Where the two layouts lie alike in memory, it is a copy.
namespace iwseg::IWSEG_BACKEND {
namespace {

constexpr int kThreads = 256, kTileChannels = 32, kTileElements = 1024;

/// The tile of a block: some channels of some voxels.
struct Tile {
    std::int64_t channels, voxels, first_channel, first_voxel;  ///< of the tensor; of the tile
    int tile_channels, tile_voxels;

    /// Where the tile's number i lies in a sample and in the tile, counted along voxels (plain) or along channels.
    struct Place {
        std::int64_t in_sample;
        int in_tile;
    };
    __device__ __forceinline__ Place place(int i, bool plain) const {
        const int side = plain ? tile_voxels : tile_channels, across = i / side, along = i - across * side;
        const int c = plain ? across : along, v = plain ? along : across;
        const std::int64_t channel = first_channel + c, voxel = first_voxel + v;
        // An odd pitch: threads side by side along the channels then meet different banks.
        return {plain ? channel * voxels + voxel : voxel * channels + channel, c * (tile_voxels | 1) + v};
    }
};

/// Blocks x take voxels, tiles of each sample after another; y channels.
template <class From, class To>
__global__ void __launch_bounds__(kThreads)
    transpose_kernel(const From* from, bool from_plain, std::int64_t channels, std::int64_t voxels, int tile_voxels,
                     unsigned tiles, To* to) {
    SHARED(float, elements, kTileElements + kTileChannels);
    const unsigned n = blockIdx.x / tiles;
    Tile tile{
        channels, voxels, std::int64_t{blockIdx.y} * kTileChannels, std::int64_t{blockIdx.x - n * tiles} * tile_voxels,
        0,        0};
    tile.tile_channels = static_cast<int>(min(std::int64_t{kTileChannels}, channels - tile.first_channel));
    tile.tile_voxels = static_cast<int>(min(std::int64_t{tile_voxels}, voxels - tile.first_voxel));
    const int count = tile.tile_channels * tile.tile_voxels, thread = static_cast<int>(threadIdx.x);
    const std::int64_t sample = n * channels * voxels;
    for (int i = thread; i < count; i += kThreads) {
        const Tile::Place place = tile.place(i, from_plain);
        elements[place.in_tile] = to_f32(from[sample + place.in_sample]);
    }
    __syncthreads();
    for (int i = thread; i < count; i += kThreads) {
        const Tile::Place place = tile.place(i, !from_plain);
        store(to[sample + place.in_sample], elements[place.in_tile]);
    }
}

// ----------------------------------------------------------------------------------------------------------------------

bool is_plain_or_innermost(const View& view) {
    return view.layout == Layout::ncdhw || view.layout == Layout::ndhwc;
}

}  // namespace

void reorder(Stream stream, View from, View to) {
    if (!(from.shape == to.shape)) throw std::invalid_argument("reorder: tensors of different shape");
    if (!is_plain_or_innermost(from) || !is_plain_or_innermost(to))
        throw std::invalid_argument("reorder: expected layouts ncdhw and ndhwc");
    const std::int64_t channels = from.shape.c, voxels = from.shape.voxels(), samples = from.shape.n;
    if (from.layout == to.layout || channels == 1 || voxels == 1) {
        from.layout = to.layout;
        return copy(stream, from, to);
    }
    const auto tile_channels = std::min<std::int64_t>(channels, kTileChannels);
    const int tile_voxels = static_cast<int>(kTileElements / tile_channels / 32 * 32);
    const std::int64_t tiles = (voxels + tile_voxels - 1) / tile_voxels;
    if (samples * tiles > 0x7FFFFFFF)
        throw std::invalid_argument("reorder: a tensor of more tiles than one launch takes");
    const LaunchShape shape{
        {static_cast<unsigned>(samples * tiles), static_cast<unsigned>((channels + kTileChannels - 1) / kTileChannels)},
        kThreads};
    with_real(from.type, [&](auto real_from) {
        with_real(to.type, [&](auto real_to) {
            using From = decltype(real_from);
            using To = decltype(real_to);
            launch(transpose_kernel<From, To>, shape, stream, from.as<const From>(), from.layout == Layout::ncdhw,
                   channels, voxels, tile_voxels, tiles, to.as<To>());
        });
    });
}

}  // namespace iwseg::IWSEG_BACKEND
