#include "kernels/elementwise/multiply.h"

#include <algorithm>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vector_clones.h"
#include "kernels/device/dispatch.h"

namespace iwseg::cpu {
namespace {

constexpr std::int64_t kChunk = 16384;  ///< elements a thread takes at a time

template <class T, bool kAdd>
IWSEG_VECTOR_CLONES void multiply_chunk(const T* a, const T* b, std::int64_t count, T* y) {
    for (std::int64_t i = 0; i < count; ++i) {
        const float product = to_f32(a[i]) * to_f32(b[i]);
        store(y[i], kAdd ? to_f32(y[i]) + product : product);
    }
}

}  // namespace

void multiply(Stream stream, View a, View b, View y, Write write) {
    require_same_form(a, b, "multiply");
    require_same_form(a, y, "multiply");
    const std::int64_t count = elements_of(y);
    with_real(y.type, [&](auto real) {
        using T = decltype(real);
        const auto body = write == Write::accumulate ? multiply_chunk<T, true> : multiply_chunk<T, false>;
        parallel_for(stream, (count + kChunk - 1) / kChunk, [&](std::int64_t chunk) {
            const std::int64_t i = chunk * kChunk;
            body(a.as<const T>() + i, b.as<const T>() + i, std::min(kChunk, count - i), y.as<T>() + i);
        });
    });
}

}  // namespace iwseg::cpu
