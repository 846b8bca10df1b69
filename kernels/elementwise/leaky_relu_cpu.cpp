#include "kernels/elementwise/leaky_relu.h"

#include <algorithm>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vector_clones.h"
#include "kernels/device/dispatch.h"

namespace iwseg::cpu {
namespace {

constexpr std::int64_t kChunk = 16384;  ///< elements a thread takes at a time

template <class T>
IWSEG_VECTOR_CLONES void apply_chunk(const T* x, std::int64_t count, float slope, T* y) {
    for (std::int64_t i = 0; i < count; ++i) {
        const float value = to_f32(x[i]);
        store(y[i], value > 0 ? value : slope * value);
    }
}

template <class T, bool kAdd>
IWSEG_VECTOR_CLONES void gradient_chunk(const T* y, const T* diff_y, std::int64_t count, float slope, T* diff_x) {
    for (std::int64_t i = 0; i < count; ++i) {
        const float gradient = to_f32(diff_y[i]) * (to_f32(y[i]) > 0 ? 1.0f : slope);
        store(diff_x[i], kAdd ? to_f32(diff_x[i]) + gradient : gradient);
    }
}

template <class Body>
void over_chunks(Stream stream, std::int64_t count, Body&& body) {
    parallel_for(stream, (count + kChunk - 1) / kChunk,
                 [&](std::int64_t chunk) { body(chunk * kChunk, std::min(kChunk, count - chunk * kChunk)); });
}

}  // namespace

void leaky_relu(Stream stream, View x, float slope, View y) {
    require_same(x, y, "leaky_relu");
    if (x.type != y.type) throw std::invalid_argument("leaky_relu: tensors of different type");
    with_real(x.type, [&](auto real) {
        using T = decltype(real);
        over_chunks(stream, numbers_of(x),
                    [&](std::int64_t i, std::int64_t n) { apply_chunk(x.as<const T>() + i, n, slope, y.as<T>() + i); });
    });
}

void leaky_relu_backward(Stream stream, View y, View diff_y, float slope, View diff_x, Write write) {
    require_same(y, diff_y, "leaky_relu");
    require_same(y, diff_x, "leaky_relu");
    if (y.type != diff_y.type || y.type != diff_x.type)
        throw std::invalid_argument("leaky_relu: tensors of different type");
    with_real(y.type, [&](auto real) {
        using T = decltype(real);
        over_chunks(stream, numbers_of(y), [&](std::int64_t i, std::int64_t n) {
            const auto body = write == Write::accumulate ? gradient_chunk<T, true> : gradient_chunk<T, false>;
            body(y.as<const T>() + i, diff_y.as<const T>() + i, n, slope, diff_x.as<T>() + i);
        });
    });
}

}  // namespace iwseg::cpu
