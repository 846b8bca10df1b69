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

void write_rows(const ResultRows& rows, std::int64_t first, std::int64_t last, const float* sums, Type type, void* to,
                void* after) {
    with_real(type, [&](auto real) {
        using T = decltype(real);
        const auto write = rows.accumulate ? write_run<T, true> : write_run<T, false>;
        const auto write_with = rows.accumulate ? finish_with<16, T, true> : finish_with<16, T, false>;
        for (std::int64_t at = first; at < last;) {
            const std::int64_t y = at / rows.columns, x = at % rows.columns;
            const std::int64_t end = std::min(last, (y + 1) * rows.columns);
            const std::int64_t voxels = std::min(end - at, rows.width - x);
            const std::int64_t place = y * rows.row_step + x * rows.voxel_step;
            T* const row = static_cast<T*>(to) + place;
            T* const beside = after ? static_cast<T*>(after) + place : nullptr;
            const float* const of_row = sums + (at - first) * 16;
            if (voxels > 0 && rows.epilogue)
                write_with(*rows.epilogue, of_row, voxels, row, beside);
            else if (voxels > 0)
                write(of_row, voxels, rows.bias, rows.voxel_step, row);
            for (T* const written : {row, beside})
                if (written && rows.channels < 16) clear_padding_of(rows.channels, voxels, rows.voxel_step, written);
            at = end;
        }
    });
}

}  // namespace iwseg::cpu
