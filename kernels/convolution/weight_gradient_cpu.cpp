#include "kernels/convolution/weight_gradient.h"

#include <cstring>
#include <vector>

#include "kernels/convolution/weight_gradient_pairs.h"
#include "kernels/cpu/cpu_blocks.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vector_clones.h"
#include "kernels/cpu/vector_of.h"

// dW[o][c][kd][kh][kw] = sum over voxels of diff_dst[o][v] * src[c][v + k]. For one block of B output channels a tile
// of input channels times three kw is kept in registers, one vector of B output channels each, while rows of voxels
// stream by: each source number is loaded once and used for three kw, against three neighbouring vectors of diff_dst.
//
// Work is cut into (chunk of planes) x (output block) x (input block), each with its own partial result, and partials
// are summed in the order of the chunks: the cut depends on the shape alone, so the sum has the same bits on any thread
// count.
namespace iwseg::cpu {
namespace {

/// Rows of W voxels against rows of src, for kI input channels and the three kw.
/// src: number of channel i at voxel u of a row is src[u * voxel_step + i * channel_step]. sums: [kI][3][B].
template <int B, int kI>
[[gnu::always_inline]] inline void rows_of_three(const float* src, std::int64_t voxel_step, std::int64_t channel_step,
                                                 const float* diff, std::int64_t width, std::int64_t rows,
                                                 float* sums) {
    using V = Vector<B>;
    V total[kI][3];
    std::memcpy(total, sums, sizeof(total));
    for (std::int64_t r = 0; r < rows; ++r, src += width * voxel_step, diff += width * B) {
        V before{}, here, after;
        std::memcpy(&here, diff, sizeof(V));
        for (std::int64_t u = 0; u < width; ++u) {
            if (u + 1 < width)
                std::memcpy(&after, diff + (u + 1) * B, sizeof(V));
            else
                after = V{};
#pragma GCC unroll 8
            for (int i = 0; i < kI; ++i) {
                // src voxel u is tap kw of output voxel u - kw + 1.
                const float number = src[u * voxel_step + i * channel_step];
                total[i][0] += number * after;
                total[i][1] += number * here;
                total[i][2] += number * before;
            }
            before = here;
            here = after;
        }
    }
    std::memcpy(sums, total, sizeof(total));
}

/// A run of voxels for a kernel of one voxel; sums: [kI][B].
template <int B, int kI>
[[gnu::always_inline]] inline void run_of_one(const float* src, std::int64_t voxel_step, std::int64_t channel_step,
                                              const float* diff, std::int64_t voxels, float* sums) {
    using V = Vector<B>;
    V total[kI];
    for (int i = 0; i < kI; ++i) std::memcpy(&total[i], sums + i * B, sizeof(V));
    for (std::int64_t u = 0; u < voxels; ++u) {
        V here;
        std::memcpy(&here, diff + u * B, sizeof(V));
        for (int i = 0; i < kI; ++i) total[i] += src[u * voxel_step + i * channel_step] * here;
    }
    for (int i = 0; i < kI; ++i) std::memcpy(sums + i * B, &total[i], sizeof(V));
}

struct Plane {
    const float* src;   ///< the volume (n, input block)
    const float* diff;  ///< the volume (n, output block)
    std::int64_t d;     ///< plane of diff
};

/// Adds one plane of diff_dst to a partial result laid out [kd][kh][channel][kw][B], B or `channels` input channels.
template <int B, bool kFlat>
IWSEG_VECTOR_CLONES void plane_of_three(const Plane& plane, const Shape& shape, std::int64_t channels, float* partial) {
    constexpr std::int64_t kStep = kFlat ? 1 : B;
    // As many sums as registers hold: 24 of the 32 of AVX-512, 12 of the 16 of AVX2.
    constexpr int kTile = kFlat ? 1 : B / 2;
    const std::int64_t width = shape.w;
    // Rows that stay in the first cache from one tap to the next; 32 KB was the fastest of 8 to 64.
    const std::int64_t together = std::max<std::int64_t>(1, (32 << 10) / (2 * width * B * 4));
    for (std::int64_t begin = 0; begin < shape.h; begin += together)
        for (int kd = 0; kd < 3; ++kd)
            for (int kh = 0; kh < 3; ++kh) {
                const std::int64_t z = plane.d + kd - 1, first = std::max<std::int64_t>(begin, 1 - kh);
                const std::int64_t rows = std::min({begin + together, shape.h, shape.h + 1 - kh}) - first;
                if (z < 0 || z >= shape.d || rows <= 0) continue;
                const float* src = plane.src + (z * shape.h + first + kh - 1) * width * kStep;
                const float* diff = plane.diff + (plane.d * shape.h + first) * width * B;
                float* sums = partial + (kd * 3 + kh) * channels * 3 * B;
                for (std::int64_t c = 0; c < channels; c += kTile)
                    rows_of_three<B, kTile>(src + (kFlat ? c * shape.voxels() : c), kStep, 1, diff, width, rows,
                                            sums + c * 3 * B);
            }
}

template <int B, bool kFlat>
IWSEG_VECTOR_CLONES void plane_of_one(const Plane& plane, const Shape& shape, std::int64_t channels, float* partial) {
    const std::int64_t area = shape.h * shape.w;
    const float* diff = plane.diff + plane.d * area * B;
    if constexpr (kFlat) {
        for (std::int64_t c = 0; c < channels; ++c)
            run_of_one<B, 1>(plane.src + c * shape.voxels() + plane.d * area, 1, 0, diff, area, partial + c * B);
    } else {
        for (int c = 0; c < B; c += 8)
            run_of_one<B, 8>(plane.src + plane.d * area * B + c, B, 1, diff, area, partial + c * B);
    }
}

/// How the work is cut; from the shape alone.
struct Cut {
    std::int64_t taps, input_blocks, output_blocks, channels, partial, chunks, planes;

    Cut(const Shape& src, Layout src_layout, std::int64_t dst_channels, int kernel, std::int64_t block) {
        taps = kernel == 1 ? 1 : 27;
        const bool flat = src_layout == Layout::ncdhw;
        channels = flat ? src.c : block;  // input channels of one partial
        input_blocks = flat ? 1 : (src.c + block - 1) / block;
        output_blocks = (dst_channels + block - 1) / block;
        partial = taps * channels * block;
        planes = src.n * src.d;
        // Few chunks where there are many pairs of blocks: partials stay under a few MB.
        const std::int64_t whole = partial * input_blocks * output_blocks;
        chunks = std::clamp<std::int64_t>((std::int64_t{1} << 20) / whole, 1, std::min<std::int64_t>(32, planes));
    }
    std::int64_t items() const { return chunks * output_blocks * input_blocks; }
};

/// Runs body(sample, input block, output block, plane, partial) over all planes of some items, those of an item one
/// after the other.
template <class Body>
void over_items(const Cut& cut, std::int64_t first, std::int64_t last, std::int64_t depth, float* partials,
                Body&& body) {
    for (std::int64_t item = first; item < last; ++item) {
        const std::int64_t input = item % cut.input_blocks, output = item / cut.input_blocks % cut.output_blocks;
        const std::int64_t chunk = item / cut.input_blocks / cut.output_blocks;
        float* partial = partials + item * cut.partial;
        std::fill_n(partial, cut.partial, 0.0f);
        for (std::int64_t p = chunk * cut.planes / cut.chunks; p < (chunk + 1) * cut.planes / cut.chunks; ++p)
            body(p / depth, input, output, p % depth, partial);
    }
}

template <int B, bool kFlat>
void run_items(Stream stream, const View& src, const View& diff, int kernel, const Cut& cut, float* partials) {
    const std::int64_t voxels = src.shape.voxels();
    const auto run = kernel == 1 ? plane_of_one<B, kFlat> : plane_of_three<B, kFlat>;
    parallel_ranges(stream, cut.items(), [&](std::int64_t first, std::int64_t last) {
        over_items(
            cut, first, last, src.shape.d, partials, [&](auto n, auto input, auto output, auto d, float* partial) {
                const Plane plane{src.as<const float>() +
                                      (kFlat ? n * src.shape.c * voxels : (n * cut.input_blocks + input) * voxels * B),
                                  diff.as<const float>() + (n * cut.output_blocks + output) * voxels * B, d};
                run(plane, src.shape, cut.channels, partial);
            });
    });
}

void run_items_by_pairs(Stream stream, const View& src, const View& diff, const Cut& cut, float* partials) {
    constexpr std::int64_t kBlock = 16;
    const std::int64_t voxels = src.shape.voxels();
    parallel_ranges(stream, cut.items(), [&](std::int64_t first, std::int64_t last) {
        std::vector<std::uint32_t> room(static_cast<std::size_t>(pairs_room(src.shape.w)));
        over_items(
            cut, first, last, src.shape.d, partials, [&](auto n, auto input, auto output, auto d, float* partial) {
                const PairsPlane plane{src.as<const Bf16>() + (n * cut.input_blocks + input) * voxels * kBlock,
                                       diff.as<const Bf16>() + (n * cut.output_blocks + output) * voxels * kBlock, d};
                add_plane_by_pairs(plane, src.shape, room.data(), partial);
            });
    });
}

/// Where the number of output channel o, input channel c, tap t lies in a partial.
std::int64_t place_in_partial(const Cut& cut, std::int64_t block, std::int64_t o, std::int64_t c, std::int64_t t) {
    if (cut.taps == 1) return c * block + o;
    return ((t / 3 * cut.channels + c) * 3 + t % 3) * block + o;
}

/// Writes what a pair of blocks adds up to over the chunks. By pairs, since a pair's partials fit into the first cache.
void sum_chunks(const Cut& cut, std::int64_t pair, std::int64_t block, std::int64_t outputs, std::int64_t inputs,
                const float* partials, float* diff_weights) {
    const std::int64_t stride = cut.output_blocks * cut.input_blocks * cut.partial;
    const std::int64_t first_o = pair / cut.input_blocks * block, first_c = pair % cut.input_blocks * cut.channels;
    for (std::int64_t o = first_o; o < std::min(first_o + block, outputs); ++o)
        for (std::int64_t c = first_c; c < std::min(first_c + cut.channels, inputs); ++c)
            for (std::int64_t t = 0; t < cut.taps; ++t) {
                const float* from =
                    partials + pair * cut.partial + place_in_partial(cut, block, o - first_o, c - first_c, t);
                double total = 0;
                for (std::int64_t k = 0; k < cut.chunks; ++k) total += from[k * stride];
                diff_weights[(o * inputs + c) * cut.taps + t] = static_cast<float>(total);
            }
}

}  // namespace

bool weight_gradient_takes_bf16(Layout src, Layout diff_dst, int kernel) {
    return kernel == 3 && src == Layout::blocked16 && diff_dst == Layout::blocked16 && pairs_work();
}

std::int64_t weight_gradient_scratch_bytes(const Shape& src, std::int64_t dst_channels, int kernel, Layout dst_layout) {
    // Blocked needs more than flat for the same channels, so this bounds both.
    const Cut blocked(src, dst_layout, dst_channels, kernel, block_of(dst_layout, dst_channels));
    const Cut flat(src, Layout::ncdhw, dst_channels, kernel, block_of(dst_layout, dst_channels));
    return std::max(blocked.items() * blocked.partial, flat.items() * flat.partial) *
           static_cast<std::int64_t>(sizeof(float));
}

void weight_gradient(Stream stream, View src, View diff_dst, int kernel, float* diff_weights, void* scratch) {
    const std::int64_t block = block_of(diff_dst.layout, diff_dst.shape.c), outputs = diff_dst.shape.c;
    const bool flat = src.layout == Layout::ncdhw;
    const bool narrow = src.type == Type::bf16 && weight_gradient_takes_bf16(src.layout, diff_dst.layout, kernel);
    const Type type = narrow ? Type::bf16 : Type::f32;
    if (src.type != type || diff_dst.type != type || (!flat && src.layout != diff_dst.layout) || block == 1)
        throw std::invalid_argument(
            "weight_gradient: expected diff_dst blocked, src blocked alike or ncdhw, both f32, or bf16 "
            "in blocks of 16 where the processor multiplies it");
    const Cut cut(src.shape, src.layout, outputs, kernel, block);
    auto* partials = static_cast<float*>(scratch);
    if (type == Type::bf16)
        run_items_by_pairs(stream, src, diff_dst, cut, partials);
    else if (block == 8)
        flat ? run_items<8, true>(stream, src, diff_dst, kernel, cut, partials)
             : run_items<8, false>(stream, src, diff_dst, kernel, cut, partials);
    else
        flat ? run_items<16, true>(stream, src, diff_dst, kernel, cut, partials)
             : run_items<16, false>(stream, src, diff_dst, kernel, cut, partials);
    const std::int64_t pairs = cut.output_blocks * cut.input_blocks;
    parallel_for(stream, pairs, [&](std::int64_t pair) {
        sum_chunks(cut, pair, block, outputs, src.shape.c, partials, diff_weights);
    });
}

}  // namespace iwseg::cpu
