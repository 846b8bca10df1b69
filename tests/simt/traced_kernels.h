#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "apps/bench/kernel_run.h"
#include "engine/context.h"
#include "kernels/convolution/direct.h"
#include "tests/simt/simt_backend.h"
#include "tests/simt/simt_counters.h"
#include "tests/support/kernel_tensor.h"

// Calls of a training step of the default network, at its own channels and widths of rows, in fewer rows and blocks
// than 2 x 128^3 has: what a warp asks for is the same.
namespace iwseg {

struct TracedCall {
    std::string kernel;  ///< of kernel_case_names(), or first_ or last_convolution_PASS
    Shape shape;         ///< of what it reads
    Type type;

    std::string name() const {
        return kernel + (type == Type::bf16 ? ", bf16, " : ", f32, ") + std::to_string(shape.c);
    }
};

/// What a call is held to, over all its kernels.
struct TracedLimit {
    double sector_efficiency = 0.9, cycles_a_request = 1.1;
    const char* reason = "";  ///< why it is less than 0.9
};

inline TracedLimit limit_of(const TracedCall& call) {
    const bool f32 = call.type == Type::f32;
    const auto starts = [&](const char* with) { return call.kernel.starts_with(with); };
    if (starts("batch_norm") && call.shape.c > 16)
        return {starts("batch_norm_statistics") ? 0.78 : 0.4, 1.1,
                "a thread loads what belongs to its channels element by element, and has few rows to use it for"};
    if (starts("batch_norm") && !starts("batch_norm_statistics"))
        return {0.83, 1.1,
                "what belongs to a thread's channels is loaded for four rows here, for 16 at 2 x 128^3: 0.94"};
    if (call.kernel.find("_convolution_") != std::string::npos && f32)
        return {0.49, 1.1, "a lane's eight elements are 32 bytes, in two accesses to the same sectors"};
    if (starts("last_convolution_forward"))
        return {0.53, 1.1, "a voxel's 16 elements are 32 bytes, in two accesses to the same sectors"};
    if (starts("loss")) return {0.83, 1.1, "weights are looked up where there is lesion, and partial sums are few"};
    if (starts("component") || starts("label")) return {0.4, 1.1, "cells with foreground lie scattered"};
    return {};
}

enum class TracedPass { forward, data_gradient, weight_gradient };

/// 3x3x3 from 1 to 16 channels, or 1x1x1 from 16 to 1: no cuDNN, on a GPU too.
/// Returns the bytes of its operands.
inline double run_end_convolution(bool first, TracedPass pass, const Shape& src_shape, Type type) {
    const Backend& device = simt::backend();
    ConvolutionOptions options;
    options.src = src_shape;
    options.kernel = first ? 3 : 1;
    options.dst_channels = first ? 16 : 1;
    options.src_layout = first ? Layout::ncdhw : Layout::ndhwc;
    options.dst_layout = first ? Layout::ndhwc : Layout::ncdhw;
    options.src_type = type;
    options.dst_type = first ? type : Type::f32;
    const auto convolution = simt::make_direct_convolution(options, {!first, true});
    const auto bytes = [](const Shape& shape, Type of, Layout layout) { return bytes_of(shape, of, layout); };
    const KernelArray<unsigned char> src(device, bytes(options.src, type, options.src_layout));
    const KernelArray<unsigned char> dst(device, bytes(options.dst(), options.dst_type, options.dst_layout));
    const KernelArray<float> weights(device, 16 * (first ? 27 : 1));
    const KernelArray<unsigned char> scratch(device, std::max<std::int64_t>(convolution->scratch_bytes(), 1));
    const View from{src.data(), options.src, type, options.src_layout};
    const View to{dst.data(), options.dst(), options.dst_type, options.dst_layout};
    if (pass == TracedPass::forward) convolution->forward({}, from, weights.data(), nullptr, to, scratch.data());
    if (pass == TracedPass::data_gradient) convolution->backward_data({}, to, weights.data(), from, scratch.data());
    if (pass == TracedPass::weight_gradient)
        convolution->backward_weights({}, from, to, weights.data(), nullptr, scratch.data());
    return static_cast<double>(bytes_of(from.shape, from.type, from.layout) + bytes_of(to.shape, to.type, to.layout) +
                               4 * 16 * (first ? 27 : 1));
}

/// Runs the call once and counts what its kernels ask for. Returns the bytes of its operands, each once.
inline double trace(const TracedCall& call, simt::executor::Counters& counters) {
    const std::string& name = call.kernel;
    if (const std::size_t at = name.find("_convolution_"); at != std::string::npos) {
        const std::string pass = name.substr(at + 13);
        const TracedPass traced = pass == "forward"         ? TracedPass::forward
                                  : pass == "data_gradient" ? TracedPass::data_gradient
                                                            : TracedPass::weight_gradient;
        const simt::executor::Counting counting(counters);
        return run_end_convolution(name.starts_with("first"), traced, call.shape, call.type);
    }
    KernelCaseOptions options;
    options.kernel = name;
    options.shape = call.shape;
    options.type = call.type;
    Context context(simt::backend(), {});
    KernelRun run(context, options);
    run.reset();
    const simt::executor::Counting counting(counters);
    run.launch();
    return run.bytes();
}

inline std::vector<TracedCall> traced_calls() {
    const Shape top{1, 16, 2, 8, 128}, second{1, 64, 2, 8, 64}, deep{1, 256, 4, 4, 16}, one{1, 1, 4, 8, 128};
    std::vector<TracedCall> calls;
    for (const Type type : {Type::bf16, Type::f32}) {
        for (const char* kernel : {"add", "batch_norm_statistics", "batch_norm_apply", "batch_norm_backward"})
            for (const Shape& shape : {top, deep}) calls.push_back({kernel, shape, type});
        for (const char* kernel : {"max_pool", "max_pool_backward"}) calls.push_back({kernel, top, type});
        for (const char* kernel : {"upsample", "upsample_backward"}) calls.push_back({kernel, second, type});
        for (const char* pass : {"forward", "weight_gradient"})
            calls.push_back({std::string("first_convolution_") + pass, one, type});
        for (const char* pass : {"forward", "data_gradient", "weight_gradient"})
            calls.push_back({std::string("last_convolution_") + pass, top, type});
        for (const char* kernel : {"loss_value", "loss_gradient"}) calls.push_back({kernel, one, type});
        calls.push_back({"copy", top, type});
    }
    for (const char* kernel : {"component_weights", "label_components", "sgd_update"})
        calls.push_back({kernel, kernel[0] == 's' ? top : one, Type::f32});
    return calls;
}

}  // namespace iwseg
