#include "kernels/convolution/weight_gradient_pairs.h"

#include <algorithm>
#include <stdexcept>

#include "kernels/cpu/instruction_set.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define IWSEG_PAIRS 1
#include <immintrin.h>
#define IWSEG_AVX512_BF16 __attribute__((target("arch=x86-64-v4,avx512bf16")))
#else
#define IWSEG_PAIRS 0
#endif

// The instruction multiplies two bf16 elements with two others, adds both products to an f32 sum, and does so at twice
// the rate of f32. The two are neighbouring voxels here, since over voxels is what is summed. So rows are rewritten
// first, voxel u beside u + 1 for every channel: src from even u on, diff from even u on for the middle of three kw and
// from odd u on for the other two. That is one instruction in twenty of the work.
namespace iwseg::cpu {

#if IWSEG_PAIRS
namespace {

constexpr int kBlock = 16;  ///< channels side by side, and pairs of a vector

/// Rows that are rewritten together: they stay in the first cache while 9 taps and two halves of the channels pass.
std::int64_t rows_together(std::int64_t width) {
    return std::max<std::int64_t>(1, (24 << 10) / (3 * width * kBlock * 2));
}

std::int64_t pairs_of(std::int64_t width) {
    return (width + 1) / 2;
}

/// Room of one row of src, and of diff in its two forms; the odd one has a pair more, before the first voxel.
std::int64_t src_row(std::int64_t width) {
    return pairs_of(width) * kBlock;
}
std::int64_t diff_row(std::int64_t width) {
    return (2 * pairs_of(width) + 1) * kBlock;
}

/// Writes voxels first + 2p and the one after it side by side, of every channel; zeros for what is outside of the row.
IWSEG_AVX512_BF16 void pair_up(const Bf16* row, std::int64_t first, std::int64_t pairs, std::int64_t width,
                               std::uint32_t* to) {
    alignas(64) std::uint16_t order[2 * kBlock];
    for (int c = 0; c < kBlock; ++c)
        order[2 * c] = static_cast<std::uint16_t>(c), order[2 * c + 1] = static_cast<std::uint16_t>(c + kBlock);
    const __m512i interleave = _mm512_load_si512(order);
    for (std::int64_t p = 0; p < pairs; ++p) {
        const std::int64_t u = first + 2 * p;
        // Two voxels are 32 elements in a row: half of them where one voxel is outside.
        const __mmask32 inside = (u >= 0 && u < width ? 0xFFFFu : 0u) | (u + 1 < width ? 0xFFFF0000u : 0u);
        const __m512i two = _mm512_maskz_loadu_epi16(inside, row + u * kBlock);
        _mm512_storeu_si512(to + p * kBlock, _mm512_permutexvar_epi16(interleave, two));
    }
}

/// Rows of diff against rows of src for 8 of the 16 input channels and the three kw; sums: (8, kw, 16).
IWSEG_AVX512_BF16 void add_rows(const std::uint32_t* src, const std::uint32_t* diff, std::int64_t width,
                                std::int64_t rows, float* sums) {
    constexpr int kChannels = 8;
    const std::int64_t pairs = pairs_of(width);
    __m512 total[kChannels][3];
#pragma GCC unroll 8
    for (int i = 0; i < kChannels; ++i)
#pragma GCC unroll 3
        for (int k = 0; k < 3; ++k) total[i][k] = _mm512_loadu_ps(sums + (i * 3 + k) * kBlock);
    for (std::int64_t r = 0; r < rows; ++r, src += src_row(width), diff += diff_row(width)) {
        const std::uint32_t* odd = diff + pairs * kBlock;
        __m512i before = _mm512_loadu_si512(odd);
        for (std::int64_t p = 0; p < pairs; ++p) {
            const auto here = reinterpret_cast<__m512bh>(_mm512_loadu_si512(diff + p * kBlock));
            const __m512i next = _mm512_loadu_si512(odd + (p + 1) * kBlock);
#pragma GCC unroll 8
            for (int i = 0; i < kChannels; ++i) {
                // Voxel u of src is tap kw of voxel u - kw + 1 of diff.
                const auto two = reinterpret_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(src[p * kBlock + i])));
                total[i][0] = _mm512_dpbf16_ps(total[i][0], two, reinterpret_cast<__m512bh>(next));
                total[i][1] = _mm512_dpbf16_ps(total[i][1], two, here);
                total[i][2] = _mm512_dpbf16_ps(total[i][2], two, reinterpret_cast<__m512bh>(before));
            }
            before = next;
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < kChannels; ++i)
#pragma GCC unroll 3
        for (int k = 0; k < 3; ++k) _mm512_storeu_ps(sums + (i * 3 + k) * kBlock, total[i][k]);
}

}  // namespace

std::int64_t pairs_room(std::int64_t width) {
    const std::int64_t together = rows_together(width);
    return together * diff_row(width) + (together + 2) * src_row(width);
}

void add_plane_by_pairs(const PairsPlane& plane, const Shape& shape, std::uint32_t* room, float* sums) {
    const std::int64_t width = shape.w, pairs = pairs_of(width), together = rows_together(width);
    const std::int64_t row = width * kBlock, area = shape.h * row;
    std::uint32_t* diff = room;
    std::uint32_t* src = room + together * diff_row(width);
    for (std::int64_t begin = 0; begin < shape.h; begin += together) {
        const std::int64_t end = std::min(begin + together, shape.h);
        for (std::int64_t y = begin; y < end; ++y) {
            const Bf16* from = plane.diff + plane.d * area + y * row;
            std::uint32_t* to = diff + (y - begin) * diff_row(width);
            pair_up(from, 0, pairs, width, to);
            pair_up(from, -1, pairs + 1, width, to + pairs * kBlock);
        }
        for (int kd = 0; kd < 3; ++kd) {
            const std::int64_t z = plane.d + kd - 1;
            if (z < 0 || z >= shape.d) continue;
            const std::int64_t above = std::max<std::int64_t>(begin - 1, 0), below = std::min(end + 1, shape.h);
            for (std::int64_t y = above; y < below; ++y)
                pair_up(plane.src + z * area + y * row, 0, pairs, width, src + (y - above) * src_row(width));
            for (int kh = 0; kh < 3; ++kh) {
                const std::int64_t first = std::max<std::int64_t>(begin, 1 - kh);
                const std::int64_t rows = std::min(end, shape.h + 1 - kh) - first;
                if (rows <= 0) continue;
                for (int c = 0; c < kBlock; c += 8)
                    add_rows(src + (first + kh - 1 - above) * src_row(width) + c,
                             diff + (first - begin) * diff_row(width), width, rows,
                             sums + ((kd * 3 + kh) * kBlock + c) * 3 * kBlock);
            }
        }
    }
}

bool pairs_work() {
    return may_use(InstructionSet::avx512_bf16);
}

#else

std::int64_t pairs_room(std::int64_t) {
    return 0;
}
void add_plane_by_pairs(const PairsPlane&, const Shape&, std::uint32_t*, float*) {
    throw std::logic_error("add_plane_by_pairs: not on this processor");
}
bool pairs_work() {
    return false;
}

#endif

}  // namespace iwseg::cpu
