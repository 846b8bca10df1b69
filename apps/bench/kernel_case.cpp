#include "apps/bench/kernel_case.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "apps/bench/convolution_case.h"
#include "apps/bench/kernel_operands.h"
#include "base/error.h"
#include "base/nearest_name.h"
#include "losses/loss.h"
#include "losses/loss_program.h"

namespace iwseg {
namespace {

using Kind = KernelOperand::Kind;
using Views = const std::vector<View>&;
using Options = const KernelCaseOptions&;
using Operands = KernelOperands;

constexpr float kEpsilon = 1e-5f, kMomentum = 0.1f;

Shape channels_of(Options o) {
    return {1, 1, 1, 1, o.shape.c};
}

std::int64_t no_scratch(const Backend&, Layout) {
    return 0;
}

/// A case whose call is one function of the backend.
template <class Run, class ScratchBytes = decltype(&no_scratch)>
KernelCase simple(Operands& operands, Run run, ScratchBytes scratch_bytes = no_scratch) {
    KernelCase made;
    made.operands = operands.list();
    made.prepare = [=](const Backend& device, Stream stream, Layout layout, Type,
                       std::optional<int>) -> KernelCase::Prepared {
        return {scratch_bytes(device, layout),
                [run, &device, stream](Views v, void* scratch) { run(device, stream, v, scratch); }};
    };
    return made;
}

KernelCase add(Options o) {
    return simple(Operands(o).noise("from", o.shape).noise("to", o.shape).changed(),
                  [](const Backend& device, Stream s, Views v, void*) { device.add(s, v[0], v[1]); });
}

KernelCase copy(Options o) {
    return simple(Operands(o).noise("from", o.shape).result("to", o.shape),
                  [](const Backend& device, Stream s, Views v, void*) { device.copy(s, v[0], v[1]); });
}

template <Activation::Kind kKind>
KernelCase activate(Options o) {
    return simple(Operands(o).noise("x", o.shape).result("y", o.shape),
                  [](const Backend& device, Stream s, Views v, void*) {
                      device.activate(s, v[0], {kKind, 0.01f}, v[1]);
                  });
}

template <Activation::Kind kKind>
KernelCase activate_backward(Options o) {
    return simple(Operands(o).noise("kept", o.shape).noise("diff_y", o.shape).result("diff_x", o.shape),
                  [](const Backend& device, Stream s, Views v, void*) {
                      device.activate_backward(s, v[0], v[1], {kKind, 0.01f}, v[2], Write::overwrite);
                  });
}

KernelCase copy_channels(Options o) {
    Shape twice = o.shape;
    twice.c *= 2;
    return simple(Operands(o).noise("from", o.shape).noise("to", twice).changed(),
                  [c = o.shape.c](const Backend& device, Stream s, Views v, void*) {
                      device.copy_channels(s, v[0], 0, v[1], c, c, Write::overwrite);
                  });
}

KernelCase channel_sum(Options o) {
    return simple(
        Operands(o).noise("x", o.shape).result("sums", channels_of(o), Kind::f32),
        [](const Backend& device, Stream s, Views v, void* scratch) {
            device.channel_sum(s, v[0], v[1].as<float>(), scratch);
        },
        [shape = o.shape](const Backend& device, Layout layout) {
            return device.channel_sum_scratch_bytes(shape, layout);
        });
}

KernelCase reorder(Options o) {
    return simple(Operands(o).noise("from", o.shape, Kind::f32).result("to", o.shape),
                  [](const Backend& device, Stream s, Views v, void*) { device.reorder(s, v[0], v[1]); });
}

// ----------------------------------------------------------------------------------------------------------------------

auto batch_norm_scratch(Options o) {
    return [shape = o.shape](const Backend& device, Layout layout) {
        return device.batch_norm_scratch_bytes(shape, layout);
    };
}

KernelCase batch_norm_statistics(Options o) {
    const Shape c = channels_of(o);
    KernelCase made = simple(
        Operands(o)
            .noise("x", o.shape)
            .result("mean", c, Kind::f32)
            .result("inverse deviation", c, Kind::f32)
            .result("running mean", c, Kind::f32)
            .result("running variance", c, Kind::f32),
        [](const Backend& device, Stream s, Views v, void* scratch) {
            device.batch_norm_statistics(s, v[0], kEpsilon, {v[1].as<float>(), v[2].as<float>()},
                                         {v[3].as<float>(), v[4].as<float>(), kMomentum}, scratch);
        },
        batch_norm_scratch(o));
    // Means of noise are near 0: what they are compared with is as small as its rounding is large.
    made.allowed_f32 = made.allowed_bf16 = 1e-3;
    return made;
}

/// Mean and shift are 0, so that ReLU's mask does not depend on how a device rounds.
Operands normalised(Options o) {
    const Shape c = channels_of(o);
    Operands operands(o);
    operands.noise("x", o.shape).zeros("mean", c, Kind::f32).around_one("inverse deviation", c).around_one("scale", c);
    operands.zeros("shift", c, Kind::f32);
    return operands;
}

KernelCase batch_norm_apply(Options o) {
    return simple(normalised(o).result("y", o.shape), [](const Backend& device, Stream s, Views v, void*) {
        device.batch_norm_apply(s, v[0], {v[1].as<float>(), v[2].as<float>()}, {v[3].as<float>(), v[4].as<float>()},
                                kRelu, v[5]);
    });
}

KernelCase batch_norm_backward(Options o) {
    const Shape c = channels_of(o);
    return simple(
        normalised(o)
            .noise("diff y", o.shape)
            .result("diff x", o.shape)
            .result("diff scale", c, Kind::f32)
            .result("diff shift", c, Kind::f32),
        [](const Backend& device, Stream s, Views v, void* scratch) {
            device.batch_norm_backward(s, v[0], v[5], {v[1].as<float>(), v[2].as<float>()},
                                       {v[3].as<float>(), v[4].as<float>()}, kRelu, v[6], Write::overwrite,
                                       v[7].as<float>(), v[8].as<float>(), scratch);
        },
        batch_norm_scratch(o));
}

// ----------------------------------------------------------------------------------------------------------------------

Shape resized(const Shape& shape, double factor) {
    const auto side = [&](std::int64_t s) { return static_cast<std::int64_t>(static_cast<double>(s) * factor); };
    return {shape.n, shape.c, side(shape.d), side(shape.h), side(shape.w)};
}

void require_even(Options o) {
    if (o.shape.d % 2 || o.shape.h % 2 || o.shape.w % 2)
        throw InputError(o.kernel + " takes even sizes of --shape along D, H and W");
}

KernelCase max_pool(Options o) {
    require_even(o);
    return simple(Operands(o).noise("x", o.shape).result("y", resized(o.shape, 0.5)),
                  [](const Backend& device, Stream s, Views v, void*) { device.max_pool(s, v[0], v[1]); });
}

KernelCase max_pool_backward(Options o) {
    require_even(o);
    return simple(Operands(o).noise("x", o.shape).noise("diff y", resized(o.shape, 0.5)).result("diff x", o.shape),
                  [](const Backend& device, Stream s, Views v, void*) {
                      device.max_pool_backward(s, v[0], v[1], v[2], Write::overwrite);
                  });
}

KernelCase upsample(Options o) {
    return simple(
        Operands(o).noise("x", o.shape).result("y", resized(o.shape, 2)),
        [](const Backend& device, Stream s, Views v, void*) { device.upsample(s, v[0], Corners::aligned, v[1]); });
}

KernelCase upsample_backward(Options o) {
    return simple(Operands(o).noise("diff y", resized(o.shape, 2)).result("diff x", o.shape),
                  [](const Backend& device, Stream s, Views v, void*) {
                      device.upsample_backward(s, v[0], Corners::aligned, v[1], Write::overwrite);
                  });
}

// ----------------------------------------------------------------------------------------------------------------------

/// The value and, where asked, its gradient. Components' labels are those of one label for all lesions.
KernelCase loss(Options o, bool gradient) {
    const Loss chosen = loss_from_name(o.loss);
    Shape one = o.shape;
    one.c = 1;
    constexpr std::int64_t kStride = 2;
    Operands operands(o);
    operands.noise("logit", one, Kind::logit).mask("target", one);
    std::vector<double> labels = operands.list().back().values;
    Operands all(o);
    all.noise("logit", one, Kind::logit).mask("target", one).zeros("labels", one, Kind::i32);
    all.around_one("weights", {1, 1, 1, one.n, kStride}).result("value", {}, Kind::f64);
    if (gradient) all.result("gradient", one, Kind::logit);
    KernelCase made = simple(
        all,
        [=](const Backend& device, Stream s, Views v, void* scratch) {
            const LossInput input{v[0], v[1].as<const std::uint8_t>(), v[2].as<const std::int32_t>(),
                                  v[3].as<const float>(), kStride};
            const LossProgram program(chosen, device, one, kStride);
            program.value(s, input, scratch, v[4].as<double>());
            if (gradient) program.gradient(s, input, scratch, v[5], Write::overwrite);
        },
        [=](const Backend& device, Layout) { return LossProgram(chosen, device, one, kStride).scratch_bytes(); });
    made.operands[2].values = std::move(labels);
    return made;
}

KernelCase loss_value(Options o) {
    return loss(o, false);
}
KernelCase loss_gradient(Options o) {
    return loss(o, true);
}

KernelCase label_components(Options o) {
    Shape one = o.shape;
    one.c = 1;
    KernelCase made = simple(
        Operands(o).mask("mask", one).result("labels", one, Kind::i32).result("counts", {1, 1, 1, 1, one.n}, Kind::i32),
        [connectivity = o.connectivity](const Backend& device, Stream s, Views v, void* scratch) {
            device.label_components(s, v[0], v[1], v[2].as<std::int32_t>(), connectivity, scratch);
        },
        [one, connectivity = o.connectivity](const Backend& device, Layout) {
            return device.components_scratch_bytes(one, connectivity);
        });
    made.allowed_f32 = made.allowed_bf16 = 0;
    return made;
}

/// Labels may be numbered differently on another backend: compared is the weight of each voxel.
KernelCase component_weights(Options o) {
    Shape one = o.shape;
    one.c = 1;
    const std::int64_t stride = component_label_bound(one, o.connectivity);
    KernelCase made = simple(
        Operands(o)
            .mask("mask", one)
            .zeros("labels", one, Kind::i32)
            .zeros("table", {1, 1, 1, one.n, stride}, Kind::f32)
            .result("weights", one, Kind::f32),
        [=, connectivity = o.connectivity](const Backend& device, Stream s, Views v, void* scratch) {
            device.component_weights(s, v[0], connectivity, {}, v[1], v[2].as<float>(), scratch);
            device.look_up_weights(s, v[1], v[2].as<float>(), stride, v[3]);
        },
        [one, connectivity = o.connectivity](const Backend& device, Layout) {
            return device.component_weights_scratch_bytes(one, connectivity);
        });
    made.allowed_f32 = made.allowed_bf16 = 1e-6;
    return made;
}

KernelCase sgd_update(Options o) {
    const Shape flat{1, 1, 1, 1, o.shape.elements()};
    return simple(Operands(o)
                      .around_one("rate and its factors", {1, 1, 1, 1, sizeof(UpdateStep) / sizeof(float)})
                      .noise("gradient", flat, Kind::f32)
                      .noise("momentum", flat, Kind::f32)
                      .changed()
                      .noise("value", flat, Kind::f32)
                      .changed(),
                  [count = flat.w](const Backend& device, Stream s, Views v, void*) {
                      device.sgd_update(s, {}, v[0].as<UpdateStep>(), count, v[1].as<float>(), v[2].as<float>(),
                                        v[3].as<float>());
                  });
}

// ----------------------------------------------------------------------------------------------------------------------

const std::vector<std::pair<std::string, KernelCase (*)(Options)>>& table() {
    static const std::vector<std::pair<std::string, KernelCase (*)(Options)>> cases{
        {"add", add},
        {"batch_norm_apply", batch_norm_apply},
        {"batch_norm_backward", batch_norm_backward},
        {"batch_norm_statistics", batch_norm_statistics},
        {"channel_sum", channel_sum},
        {"component_weights", component_weights},
        {"convolution_data_gradient", make_convolution_case},
        {"convolution_forward", make_convolution_case},
        {"convolution_weight_gradient", make_convolution_case},
        {"copy", copy},
        {"copy_channels", copy_channels},
        {"gelu", activate<Activation::Kind::gelu>},
        {"gelu_backward", activate_backward<Activation::Kind::gelu>},
        {"label_components", label_components},
        {"leaky_relu", activate<Activation::Kind::leaky_relu>},
        {"leaky_relu_backward", activate_backward<Activation::Kind::leaky_relu>},
        {"loss_gradient", loss_gradient},
        {"loss_value", loss_value},
        {"max_pool", max_pool},
        {"max_pool_backward", max_pool_backward},
        {"reorder", reorder},
        {"sgd_update", sgd_update},
        {"sigmoid", activate<Activation::Kind::sigmoid>},
        {"sigmoid_backward", activate_backward<Activation::Kind::sigmoid>},
        {"upsample", upsample},
        {"upsample_backward", upsample_backward},
    };
    return cases;
}

KernelCase (*maker_of(Options options))(Options) {
    for (const auto& [name, make] : table())
        if (name == options.kernel) return make;
    const std::string nearest = nearest_name(options.kernel, kernel_case_names());
    throw InputError("there is no kernel " + options.kernel +
                     (nearest.empty() ? "; iwseg kernel --help names them" : "; did you mean " + nearest + "?"));
}

InputError no_variants(Options options) {
    return InputError("--variant picks the engine of a convolution, and " + options.kernel + " is none");
}

}  // namespace

std::vector<std::string> kernel_case_names() {
    std::vector<std::string> names;
    for (const auto& [name, make] : table()) names.push_back(name);
    return names;
}

Layout kernel_layout(const Backend& device, const KernelCaseOptions& options) {
    return device.preferred_layout(std::min(options.shape.c, options.out_channels));
}

std::vector<ConvolutionEngine> kernel_engines(const Backend& device, Stream stream, const KernelCaseOptions& options) {
    maker_of(options);
    const auto pass = convolution_pass(options.kernel);
    if (!pass) throw no_variants(options);
    return device.convolution_engines(stream, convolution_of(options, kernel_layout(device, options), options.type),
                                      *pass);
}

KernelCase make_kernel_case(const KernelCaseOptions& options) {
    const auto make = maker_of(options);
    if (options.variant && !convolution_pass(options.kernel)) throw no_variants(options);
    return make(options);
}

}  // namespace iwseg
