#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "engine/ops/add.h"
#include "engine/ops/average_pool.h"
#include "engine/ops/batch_norm.h"
#include "engine/ops/concat.h"
#include "engine/ops/conv.h"
#include "engine/ops/dropout.h"
#include "engine/ops/elu.h"
#include "engine/ops/gelu.h"
#include "engine/ops/global_average_pool.h"
#include "engine/ops/group_norm.h"
#include "engine/ops/instance_norm.h"
#include "engine/ops/linear.h"
#include "engine/ops/max_pool.h"
#include "engine/ops/multiply.h"
#include "engine/ops/prelu.h"
#include "engine/ops/relu.h"
#include "engine/ops/sigmoid.h"
#include "engine/ops/softmax.h"
#include "engine/ops/transposed_conv.h"
#include "engine/ops/upsample.h"
#include "tests/support/operation_references.h"

// Every operation of a graph, one row each: what tests/operation_table_test.cpp holds each of them to.
namespace iwseg {

using reference::Array;
using reference::Arrays;

/// Draws the shapes of a row's operands: sizes are odd as a rule, axes of one voxel and anisotropic volumes frequent.
class ShapeDraw {
  public:
    explicit ShapeDraw(std::mt19937& random) : random_(random) {}

    std::int64_t below(std::int64_t low, std::int64_t high) {
        return std::uniform_int_distribution<std::int64_t>(low, high)(random_);
    }
    /// Channels that fill packs of 16 bytes and blocks, and that do not.
    std::int64_t channels() {
        constexpr std::int64_t kCounts[] = {1, 2, 3, 8, 16, 20, 24, 37};
        return kCounts[below(0, std::size(kCounts) - 1)];
    }
    std::int64_t side(std::int64_t most) { return below(0, 3) == 0 ? 1 : below(1, most); }
    Shape shape() { return {below(1, 2), channels(), side(5), side(5), side(9)}; }
    /// A shape whose sides are multiples of these.
    Shape multiple(std::int64_t d, std::int64_t h, std::int64_t w) {
        return {below(1, 2), channels(), d * side(3), h * side(3), w * side(5)};
    }

  private:
    std::mt19937& random_;
};

constexpr std::uint64_t kSeed = 0x123456789ABCDEF0, kStep = 0x1200000034;

struct OperationRow {
    std::string name;
    std::function<std::vector<Shape>(ShapeDraw&)> shapes;     ///< of the operands
    std::function<Tensor(const std::vector<Tensor>&)> build;  ///< the operation as a program calls it
    std::function<Array(const Arrays&)> result;               ///< of operands, then parameters, in double
    /// Of the largest value. One rounding to bf16 is 2^-9 of a value; f32 sums here are of at most 10^4 products.
    double f32 = 2e-5, bf16 = 8e-3;
    /// Each element depends on others by weights that may be 0, or on all: what is not finite is not looked at.
    bool finite_only = false;
    bool plain = true;                           ///< on a GPU plain channels are taken too
    std::shared_ptr<DropoutSource> source = {};  ///< to be given kSeed and kStep, where there is one
};

/// A row of one operand of any shape whose elements are computed by themselves.
inline OperationRow elementwise(const std::string& name, Tensor (*build)(Tensor), double (*function)(double),
                                double bf16 = 8e-3) {
    return {.name = name,
            .shapes = [](ShapeDraw& draw) { return std::vector{draw.shape()}; },
            .build = [build](const std::vector<Tensor>& x) { return build(x[0]); },
            .result =
                [function](const Arrays& x) {
                    Array y = x[0];
                    for (double& value : y.values) value = function(value);
                    return y;
                },
            .bf16 = bf16};
}

/// Shapes that differ in their channels alone.
inline std::vector<Shape> parts_of(ShapeDraw& draw, int count) {
    std::vector<Shape> shapes(static_cast<std::size_t>(count), draw.shape());
    for (Shape& shape : shapes) shape.c = draw.channels();
    return shapes;
}

/// Where pairs of bf16 are multiplied, what Winograd's transforms make of weights and source is rounded too, and where
/// results are few all may be sums that cancel: up to 1.7e-2 in 337 draws of their arithmetic.
inline double bf16_of_convolution(const Sides& kernel, const Sides& stride) {
    return kernel == 3 && stride == 1 ? 3e-2 : 8e-3;
}

inline OperationRow convolution_row(const std::string& name, int kernel, bool bias) {
    return {
        .name = name,
        .shapes = [](ShapeDraw& draw) { return std::vector{draw.shape()}; },
        .build =
            [=](const std::vector<Tensor>& x) { return conv(x[0], {.channels = 11, .kernel = kernel, .bias = bias}); },
        .result =
            [=](const Arrays& x) {
                return reference::convolution(x[0], x[1].values, bias ? x[2].values : std::vector<double>(), 11,
                                              kernel);
            },
        .bf16 = bf16_of_convolution(kernel, 1),
        .finite_only = true,
        .plain = false};
}

inline OperationRow strided_row(const std::string& name, std::int64_t channels, const ConvOptions& options) {
    return {.name = name,
            .shapes =
                [=](ShapeDraw& draw) {
                    Shape x = draw.shape();
                    if (channels > 0) x.c = channels;
                    return std::vector{x};
                },
            .build = [=](const std::vector<Tensor>& x) { return conv(x[0], options); },
            .result =
                [=](const Arrays& x) {
                    ConvolutionOptions o;
                    o.src = x[0].shape;
                    o.dst_channels = options.channels;
                    o.kernel = options.kernel;
                    o.stride = options.stride;
                    o.groups = options.groups;
                    return reference::convolution(o, x[0], x[1].values, x[2].values);
                },
            .finite_only = true,
            .plain = false};
}

inline OperationRow transposed_row(const std::string& name, const Sides& kernel, bool bias) {
    return {.name = name,
            .shapes = [](ShapeDraw& draw) { return std::vector{draw.shape()}; },
            .build =
                [=](const std::vector<Tensor>& x) {
                    return transposed_conv(x[0], {.channels = 11, .kernel = kernel, .bias = bias});
                },
            .result =
                [=](const Arrays& x) {
                    return reference::transposed_convolution(x[0], x[1].values,
                                                             bias ? x[2].values : std::vector<double>(), 11, kernel);
                },
            .finite_only = true,
            .plain = false};
}

inline OperationRow overlapping_row(const std::string& name, const Sides& kernel, const Sides& stride,
                                    int channels = 11) {
    return {.name = name,
            .shapes = [](ShapeDraw& draw) { return std::vector{draw.shape()}; },
            .build =
                [=](const std::vector<Tensor>& x) {
                    return transposed_conv(x[0], {.channels = channels, .kernel = kernel, .stride = stride});
                },
            .result =
                [=](const Arrays& x) {
                    return reference::transposed_convolution(x[0], x[1].values, x[2].values, channels, kernel, stride);
                },
            .bf16 = bf16_of_convolution(kernel, stride),
            .finite_only = true,
            .plain = false};
}

inline OperationRow instance_norm_row(const std::string& name, double slope) {
    return {.name = name,  // of some voxels: of one or two, rounding decides
            .shapes =
                [](ShapeDraw& draw) {
                    return std::vector{Shape{draw.below(1, 3), draw.channels(), 3, draw.side(5), 5}};
                },
            .build =
                [=](const std::vector<Tensor>& x) {
                    return slope < 1 ? leaky_relu(instance_norm(x[0]), static_cast<float>(slope)) : instance_norm(x[0]);
                },
            .result = [=](const Arrays& x) { return reference::instance_norm(x[0], x[1].values, x[2].values, slope); },
            .f32 = 2e-4,
            .bf16 = 2e-2,
            .finite_only = true};
}

/// Groups of channels that fill packs of 16 bytes and blocks, and that do not.
inline OperationRow group_norm_row(const std::string& name, int groups, double slope) {
    return {
        .name = name,  // of some voxels, as instance_norm
        .shapes =
            [=](ShapeDraw& draw) {
                return std::vector{Shape{draw.below(1, 3), groups * draw.below(1, 7), 3, draw.side(5), 5}};
            },
        .build =
            [=](const std::vector<Tensor>& x) {
                const Tensor y = group_norm(x[0], groups);
                return slope < 1 ? leaky_relu(y, static_cast<float>(slope)) : y;
            },
        .result = [=](const Arrays& x) { return reference::group_norm(x[0], groups, x[1].values, x[2].values, slope); },
        .f32 = 2e-4,
        .bf16 = 2e-2,
        .finite_only = true};
}

inline OperationRow pool_row(const std::string& name, const Sides& window, Tensor (*build)(Tensor, const Sides&),
                             Array (*result)(const Array&, const Sides&)) {
    return {.name = name,
            .shapes = [=](ShapeDraw& draw) { return std::vector{draw.multiple(window.d, window.h, window.w)}; },
            .build = [=](const std::vector<Tensor>& x) { return build(x[0], window); },
            .result = [=](const Arrays& x) { return result(x[0], window); }};
}

inline OperationRow linear_row(const std::string& name, bool bias) {
    return {.name = name,
            .shapes =
                [](ShapeDraw& draw) {
                    return std::vector{Shape{draw.below(1, 4), draw.channels() * draw.below(1, 3), 1, 1, 1}};
                },
            .build = [=](const std::vector<Tensor>& x) { return linear(x[0], {.features = 13, .bias = bias}); },
            .result = [=](const Arrays& x) { return reference::linear(x[0], x[1], bias ? &x[2] : nullptr, 13); }};
}

inline OperationRow prelu_row(const std::string& name, bool per_channel) {
    return {.name = name,
            .shapes = [](ShapeDraw& draw) { return std::vector{draw.shape()}; },
            .build = [=](const std::vector<Tensor>& x) { return prelu(x[0], {.per_channel = per_channel}); },
            .result =
                [=](const Arrays& x) {
                    Array y = x[0];
                    reference::each(y.shape, [&](auto n, auto c, auto d, auto h, auto w) {
                        double& value = y.at(n, c, d, h, w);
                        if (!(value > 0)) value *= x[1].values[per_channel ? static_cast<std::size_t>(c) : 0];
                    });
                    return y;
                }};
}

inline OperationRow dropout_row() {
    const auto source = std::make_shared<DropoutSource>();
    constexpr std::uint32_t kLayer = 0x2D592A17;  // FNV-1a of "dropout_0"
    return {.name = "dropout",
            .shapes = [](ShapeDraw& draw) { return std::vector{draw.shape()}; },
            .build = [=](const std::vector<Tensor>& x) { return dropout(x[0], 0.375f, source); },
            .result = [=](const Arrays& x) { return reference::dropout(x[0], 0.375, kLayer, kSeed, kStep); },
            .source = source};
}

/// Adding an operation is adding its row.
inline std::vector<OperationRow> operation_rows() {
    constexpr double kOfRounded = 2e-2;  // a gradient that is made of the rounded result, by differences from 1
    const auto one = [](ShapeDraw& draw) { return std::vector{draw.shape()}; };
    const auto two = [](ShapeDraw& draw) { return std::vector<Shape>(2, draw.shape()); };
    return {
        elementwise("relu", relu, [](double x) { return x > 0 || std::isnan(x) ? x : 0; }),
        elementwise(
            "leaky_relu", [](Tensor x) { return leaky_relu(x, 0.25f); }, [](double x) { return x > 0 ? x : 0.25 * x; }),
        elementwise(
            "sigmoid", sigmoid, [](double x) { return 1 / (1 + std::exp(-x)); }, kOfRounded),
        elementwise("gelu", gelu, [](double x) { return x / 2 * std::erfc(-x / std::sqrt(2.0)); }),
        elementwise(
            "elu", [](Tensor x) { return elu(x); }, [](double x) { return x > 0 ? x : std::expm1(x); }, kOfRounded),
        elementwise(
            "elu of another alpha", [](Tensor x) { return elu(x, 0.25f); },
            [](double x) { return x > 0 ? x : 0.25 * std::expm1(x); }, kOfRounded),
        {.name = "add",
         .shapes = two,
         .build = [](const auto& x) { return add(x[0], x[1]); },
         .result =
             [](const Arrays& x) {
                 Array y = x[0];
                 for (std::size_t i = 0; i < y.values.size(); ++i) y.values[i] += x[1].values[i];
                 return y;
             }},
        {.name = "concat",
         .shapes = [](ShapeDraw& draw) { return parts_of(draw, 3); },
         .build = [](const auto& x) { return concat(x); },
         .result = [](const Arrays& x) { return reference::concatenated(x); },
         .f32 = 0,
         .bf16 = 0},
        {.name = "concat of one tensor twice",
         .shapes = one,
         .build = [](const auto& x) { return concat(x[0], x[0]); },
         .result =
             [](const Arrays& x) {
                 return reference::concatenated({x[0], x[0]});
             }},
        {.name = "multiply",
         .shapes = two,
         .build = [](const auto& x) { return multiply(x[0], x[1]); },
         .result =
             [](const Arrays& x) {
                 Array y = x[0];
                 for (std::size_t i = 0; i < y.values.size(); ++i) y.values[i] *= x[1].values[i];
                 return y;
             }},
        pool_row("max_pool of 2 x 2 x 2", {2, 2, 2}, max_pool, reference::max_pool),
        pool_row("max_pool of 1 x 2 x 3", {1, 2, 3}, max_pool, reference::max_pool),
        pool_row("max_pool of 3 x 3 x 1", {3, 3, 1}, max_pool, reference::max_pool),
        pool_row("average_pool of 2 x 2 x 2", {2, 2, 2}, average_pool, reference::average_pool),
        pool_row("average_pool of 3 x 1 x 2", {3, 1, 2}, average_pool, reference::average_pool),
        {.name = "global_average_pool",
         .shapes = one,
         .build = [](const auto& x) { return global_average_pool(x[0]); },
         .result = [](const Arrays& x) { return reference::global_average_pool(x[0]); }},
        {.name = "softmax",  // of some voxels: of one, sure of its channel, bf16's rounding is all of the gradient
         .shapes =
             [](ShapeDraw& draw) {
                 return std::vector{Shape{2, draw.channels(), 3, draw.side(5), 5}};
             },
         .build = [](const auto& x) { return softmax(x[0]); },
         .result = [](const Arrays& x) { return reference::softmax(x[0]); },
         .bf16 = kOfRounded},
        {.name = "upsample_nearest",
         .shapes = one,
         .build =
             [](const auto& x) {
                 return upsample_nearest(x[0], {1, 2, 3});
             },
         .result =
             [](const Arrays& x) {
                 return reference::upsample_nearest(x[0], {1, 2, 3});
             }},
        {.name = "upsample with half-pixel corners",
         .shapes = one,
         .build = [](const auto& x) { return upsample(x[0], Corners::half); },
         .result = [](const Arrays& x) { return reference::upsample_half(x[0]); },
         .finite_only = true},
        linear_row("linear", true),
        linear_row("linear without bias", false),
        dropout_row(),
        prelu_row("prelu", false),
        prelu_row("prelu of a slope for each channel", true),
        {.name = "upsample",
         .shapes = one,
         .build = [](const auto& x) { return upsample(x[0]); },
         .result = [](const Arrays& x) { return reference::upsample(x[0]); },
         .finite_only = true},
        convolution_row("conv of kernel 1", 1, true),
        convolution_row("conv of kernel 3", 3, false),
        strided_row("conv of stride 2", 0, {.channels = 11, .stride = 2}),
        strided_row("conv of kernel 1 x 3 x 5", 0, {.channels = 8, .kernel = {1, 3, 5}, .stride = {1, 2, 1}}),
        strided_row("depthwise conv", 6, {.channels = 6, .stride = {2, 1, 1}, .groups = 6}),
        transposed_row("transposed_conv", 2, true),
        transposed_row("transposed_conv of 1 x 2 x 3", {1, 2, 3}, false),
        overlapping_row("transposed_conv of kernel 3, stride 2", 3, 2),
        overlapping_row("transposed_conv of kernel 1 x 3 x 5, stride 2 x 1 x 3", {1, 3, 5}, {2, 1, 3}),
        overlapping_row("transposed_conv of kernel 3, stride 1", 3, 1),
        overlapping_row("transposed_conv of kernel 3, stride 2 to one channel", 3, 2, 1),
        overlapping_row("transposed_conv of kernel 3, stride 1 to one channel", 3, 1, 1),
        instance_norm_row("instance_norm", 1),
        instance_norm_row("relu of instance_norm", 0),
        instance_norm_row("leaky_relu of instance_norm", 0.25),
        group_norm_row("group_norm of one group", 1, 1),
        group_norm_row("group_norm of three groups", 3, 1),
        group_norm_row("relu of group_norm", 8, 0),
        group_norm_row("leaky_relu of group_norm", 4, 0.25),
        {.name = "batch_norm",  // of some voxels: of one or two, rounding decides
         .shapes =
             [](ShapeDraw& draw) {
                 return std::vector{Shape{2, draw.channels(), 3, draw.side(5), 5}};
             },
         .build = [](const auto& x) { return batch_norm(x[0]); },
         .result = [](const Arrays& x) { return reference::batch_norm(x[0], x[1].values, x[2].values, false); },
         .f32 = 2e-4,
         .bf16 = kOfRounded,
         .finite_only = true},
    };
}

}  // namespace iwseg
