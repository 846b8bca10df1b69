#include "kernels/elementwise/activation.h"

#include <algorithm>

#include "kernels/cpu/cpu_blocks.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vector_clones.h"

namespace iwseg::cpu {
namespace {

constexpr std::int64_t kChunk = 16384;  ///< elements a thread takes at a time

template <class T, class F>
IWSEG_VECTOR_CLONES void activate_chunk(const T* x, std::int64_t count, F function, T* y) {
    for (std::int64_t i = 0; i < count; ++i) store(y[i], function.value(to_f32(x[i])));
}

template <class T, class F, bool kAdd>
IWSEG_VECTOR_CLONES void gradient_chunk(const T* kept, const T* diff_y, std::int64_t count, F function, T* diff_x) {
    for (std::int64_t i = 0; i < count; ++i) {
        const float gradient = to_f32(diff_y[i]) * function.derivative(to_f32(kept[i]));
        store(diff_x[i], kAdd ? to_f32(diff_x[i]) + gradient : gradient);
    }
}

template <class Body>
void over_chunks(Stream stream, std::int64_t count, Body&& body) {
    parallel_for(stream, (count + kChunk - 1) / kChunk,
                 [&](std::int64_t chunk) { body(chunk * kChunk, std::min(kChunk, count - chunk * kChunk)); });
}

}  // namespace

void activate(Stream stream, View x, Activation function, View y) {
    require_same_form(x, y, "activate");
    with_real(x.type, [&](auto real) {
        using T = decltype(real);
        with_activation(function, [&](auto formula) {
            over_chunks(stream, elements_of(x), [&](std::int64_t i, std::int64_t n) {
                activate_chunk(x.as<const T>() + i, n, formula, y.as<T>() + i);
            });
            if (!formula.kKeepsZero) clear_padding<T>(stream, y);
        });
    });
}

void activate_backward(Stream stream, View kept, View diff_y, Activation function, View diff_x, Write write) {
    require_same_form(kept, diff_y, "activate_backward");
    require_same_form(kept, diff_x, "activate_backward");
    with_real(kept.type, [&](auto real) {
        using T = decltype(real);
        with_activation(function, [&](auto formula) {
            using F = decltype(formula);
            const auto body = write == Write::accumulate ? gradient_chunk<T, F, true> : gradient_chunk<T, F, false>;
            over_chunks(stream, elements_of(kept), [&](std::int64_t i, std::int64_t n) {
                body(kept.as<const T>() + i, diff_y.as<const T>() + i, n, formula, diff_x.as<T>() + i);
            });
        });
    });
}

}  // namespace iwseg::cpu
