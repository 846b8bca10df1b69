#include "kernels/elementwise/linear.h"

#include <algorithm>
#include <vector>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vector_clones.h"
#include "kernels/device/dispatch.h"
#include "kernels/elementwise/linear_layer.h"

namespace iwseg::cpu {
namespace {

template <class T>
IWSEG_VECTOR_CLONES float product_sum(const T* x, const float* weights, std::int64_t count) {
    constexpr int kLanes = 16;
    const std::int64_t whole = count / kLanes * kLanes;
    float lanes[kLanes] = {}, sum = 0;
    for (std::int64_t i = 0; i < whole; i += kLanes)
        for (int l = 0; l < kLanes; ++l) lanes[l] += weights[i + l] * to_f32(x[i + l]);
    for (const float lane : lanes) sum += lane;
    for (std::int64_t i = whole; i < count; ++i) sum += weights[i] * to_f32(x[i]);
    return sum;
}

/// sums += factor x.
template <class T>
IWSEG_VECTOR_CLONES void add_scaled(const T* x, float factor, std::int64_t count, float* sums) {
    for (std::int64_t i = 0; i < count; ++i) sums[i] += factor * to_f32(x[i]);
}

/// Elements from one sample to the next: channels fill a block in some layouts.
std::int64_t row_of(const View& view) {
    return padded_channels(view.layout, view.shape.c);
}

}  // namespace

void linear(Stream stream, View x, const float* weights, const float* bias, View y) {
    require_vectors(x, y);
    const std::int64_t inputs = x.shape.c, outputs = y.shape.c, row = row_of(y);
    with_real(x.type, [&](auto real) {
        using T = decltype(real);
        parallel_for(stream, x.shape.n * row, [&](std::int64_t i) {
            const std::int64_t sample = i / row, o = i % row;
            float value = 0;  // of what fills the block
            if (o < outputs)
                value = product_sum(x.as<const T>() + sample * row_of(x), weights + o * inputs, inputs) +
                        (bias ? bias[o] : 0.0f);
            store(y.as<T>()[i], value);
        });
    });
}

void linear_backward_data(Stream stream, View diff_y, const float* weights, View diff_x, Write write) {
    require_vectors(diff_x, diff_y);
    const std::int64_t inputs = diff_x.shape.c, row = row_of(diff_x);
    with_real(diff_y.type, [&](auto real) {
        using T = decltype(real);
        parallel_for(stream, diff_x.shape.n, [&](std::int64_t sample) {
            std::vector<float> sums(static_cast<std::size_t>(row));
            T* to = diff_x.as<T>() + sample * row;
            if (write == Write::accumulate)
                for (std::int64_t i = 0; i < inputs; ++i) sums[i] = to_f32(to[i]);
            for (std::int64_t o = 0; o < diff_y.shape.c; ++o)
                add_scaled(weights + o * inputs, to_f32(diff_y.as<const T>()[sample * row_of(diff_y) + o]), inputs,
                           sums.data());
            for (std::int64_t i = 0; i < row; ++i) store(to[i], sums[i]);
        });
    });
}

void linear_backward_weights(Stream stream, View x, View diff_y, float* diff_weights, float* diff_bias) {
    require_vectors(x, diff_y);
    const std::int64_t inputs = x.shape.c;
    with_real(x.type, [&](auto real) {
        using T = decltype(real);
        parallel_for(stream, diff_y.shape.c, [&](std::int64_t o) {
            float* const sums = diff_weights + o * inputs;
            float of_bias = 0;
            std::fill(sums, sums + inputs, 0.0f);
            for (std::int64_t n = 0; n < x.shape.n; ++n) {
                const float gradient = to_f32(diff_y.as<const T>()[n * row_of(diff_y) + o]);
                add_scaled(x.as<const T>() + n * row_of(x), gradient, inputs, sums);
                of_bias += gradient;
            }
            if (diff_bias) diff_bias[o] = of_bias;
        });
    });
}

std::unique_ptr<LinearLayer> make_linear(Stream, const LinearForm&) {
    return nullptr;
}

}  // namespace iwseg::cpu
