#include "kernels/convolution/amx/result_rows.h"

#include <algorithm>

#include "kernels/cpu/vector_clones.h"
#include "kernels/device/bf16.h"
#include "kernels/device/dispatch.h"

namespace iwseg::cpu {
namespace {

template <class T, bool kAccumulate>
IWSEG_VECTOR_CLONES void write_run(const float* sums, std::int64_t voxels, const float* bias, std::int64_t step,
                                   T* to) {
    constexpr int kBlock = 16;
    for (std::int64_t v = 0; v < voxels; ++v)
        for (int b = 0; b < kBlock; ++b) {
            const float value = sums[v * kBlock + b] + bias[b];
            store(to[v * step + b], kAccumulate ? to_f32(to[v * step + b]) + value : value);
        }
}

/// A NaN times the zeros of weights that fill the last block is one.
template <class T>
void clear_padding_of(std::int64_t first, std::int64_t voxels, std::int64_t step, T* to) {
    for (std::int64_t v = 0; v < voxels; ++v) std::fill(to + v * step + first, to + v * step + 16, T{});
}

}  // namespace

void write_rows(const ResultRows& rows, std::int64_t first, std::int64_t last, const float* sums, Type type, void* to) {
    with_real(type, [&](auto real) {
        using T = decltype(real);
        const auto write = rows.accumulate ? write_run<T, true> : write_run<T, false>;
        for (std::int64_t at = first; at < last;) {
            const std::int64_t y = at / rows.columns, x = at % rows.columns;
            const std::int64_t end = std::min(last, (y + 1) * rows.columns);
            const std::int64_t voxels = std::min(end - at, rows.width - x);
            T* const row = static_cast<T*>(to) + y * rows.row_step + x * rows.voxel_step;
            if (voxels > 0) write(sums + (at - first) * 16, voxels, rows.bias, rows.voxel_step, row);
            if (rows.channels < 16) clear_padding_of(rows.channels, voxels, rows.voxel_step, row);
            at = end;
        }
    });
}

}  // namespace iwseg::cpu
