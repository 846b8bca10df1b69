#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "engine/compile.h"
#include "engine/device_memory.h"
#include "engine/graph.h"
#include "engine/initialisation.h"
#include "engine/plan.h"
#include "kernels/device/backend.h"

namespace iwseg {

/// The same backend, whose convolutions apply nothing that follows them. kMake: the backend's make_convolution.
template <auto kMake>
Backend without_epilogues(const Backend& backend) {
    Backend table = backend;
    table.make_convolution = [](Stream stream, const ConvolutionOptions& options, ConvolutionPasses passes) {
        ConvolutionOptions plain = options;
        plain.epilogue = {};
        return kMake(stream, plain, passes);
    };
    return table;
}

/// The tensors of a network that are kept, of an image.
using Build = std::function<std::vector<Tensor>(Tensor image)>;

/// A network for prediction, of drawn weights and a drawn image, which a test may change between runs.
struct Predicted {
    Predicted(const Backend& backend, const Build& build, const Shape& shape, bool bf16 = false,
              std::optional<Layout> layout = {})
        : context(backend, {.threads = 2}), image(static_cast<std::size_t>(shape.elements())) {
        Graph graph;
        const Tensor input = graph.input("image", shape);
        const std::vector<Tensor> kept = build(input);
        Compiled made = compile(graph, context, parameters, {.bf16 = bf16, .layout = layout, .keep = kept});
        std::mt19937 random(5);
        for (float& value : image) value = std::normal_distribution<float>()(random);
        draw(1);
        parameters.place(backend, context.stream(), false);
        const Buffer bound = made[input];
        for (const Tensor tensor : kept) outputs.push_back(made[tensor]);
        plan = std::make_unique<Plan>(context, made.program);
        memory = std::make_unique<DeviceMemory>(backend, shape.elements() * 4);
        plan->bind(bound, memory->data());
    }

    /// Other weights and statistics.
    void draw(unsigned seed) {
        std::mt19937 random(seed);
        initialise(context, parameters, seed);
        for (const Parameter& one : parameters.list()) {
            if (one.shape.size() != 1) continue;
            float* const values = parameters.value(parameters.find(one.name));
            for (std::int64_t c = 0; c < one.elements; ++c) {
                const float drawn = std::uniform_real_distribution<float>(-1, 1)(random);
                values[c] =
                    one.name.ends_with("running_var") || one.name.ends_with("norm.weight") ? 1 + 0.7f * drawn : drawn;
            }
        }
        if (plan) parameters.upload();
    }
    std::vector<std::vector<float>> run() {
        const Backend& device = context.backend();
        device.copy_to_device(context.stream(), image.data(), memory->data(),
                              static_cast<std::int64_t>(image.size() * sizeof(float)));
        plan->run();
        std::vector<std::vector<float>> all;
        for (const Buffer output : outputs) {
            std::vector<float> values(static_cast<std::size_t>(plan->buffers()[output.id].shape.elements()));
            plan->read(output, values.data());
            all.push_back(std::move(values));
        }
        return all;
    }
    int calls(const std::string& kind) const {
        return static_cast<int>(std::count_if(plan->calls().begin(), plan->calls().end(),
                                              [&](const Call& call) { return call.kind == kind && call.run; }));
    }

    Context context;
    Parameters parameters;
    std::vector<float> image;
    std::vector<Buffer> outputs;
    std::unique_ptr<Plan> plan;
    std::unique_ptr<DeviceMemory> memory;
};

inline double largest(const std::vector<float>& values) {
    double most = 1e-30;
    for (const float value : values) most = std::max(most, std::abs(static_cast<double>(value)));
    return most;
}
inline double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
    double most = 0;
    for (std::size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(static_cast<double>(a[i]) - b[i]));
    return most;
}

}  // namespace iwseg
