#include "engine/ops/instance_norm.h"

#include <stdexcept>

#include "engine/graph.h"
#include "engine/lowering.h"
#include "engine/ops/relu.h"
#include "engine/plan.h"
#include "kernels/norm/batch_norm.h"

// A sample by itself is a batch of one: the kernels are batch normalisation's, called sample by sample. In every layout
// a sample's elements lie together.
namespace iwseg {
namespace {

/// What a plan's calls share.
struct ReadyNorm {
    Parameters parameters;
    ParameterId scale, shift;
    Buffer buffer;  ///< of the statistics: each sample's means, then its inverse deviations
    std::int64_t channels = 0;

    BatchNormStatistics statistics(const Plan& plan, std::int64_t sample) const {
        float* values = plan.data<float>(buffer) + 2 * sample * channels;
        return {values, values + channels};
    }
    BatchNormWeights weights() const { return {parameters.device_value(scale), parameters.device_value(shift)}; }
};
using SharedNorm = std::shared_ptr<const ReadyNorm>;

View sample_of(const View& all, std::int64_t sample) {
    View one = all;
    one.shape.n = 1;
    one.data = static_cast<char*>(all.data) + sample * bytes_of(one.shape, one.type, one.layout);
    return one;
}

class InstanceNormOperation final : public Operation {
  public:
    InstanceNormOperation(InstanceNormOptions options, NormActivation activation)
        : options_(std::move(options)), activation_(activation) {}

    std::string name() const override { return options_.name; }
    std::vector<Shape> outputs(const std::vector<Shape>& inputs) const override {
        if (inputs.at(0).voxels() < 2)
            throw std::invalid_argument(options_.name + ": expected channels of several voxels, not " +
                                        text_of(inputs[0]));
        return {inputs[0]};
    }
    std::vector<ParameterSpec> parameters(const std::vector<Shape>& inputs) const override {
        const std::vector<std::int64_t> shape{inputs.at(0).c};
        return {{options_.name + ".weight", shape, Initial::ones()},
                {options_.name + ".bias", shape, Initial::zeros()}};
    }
    std::shared_ptr<const Operation> followed_by(const Operation& next, int) const override {
        const auto* activation = dynamic_cast<const LeakyReluOperation*>(&next);
        if (activation_.slope != 1 || !activation) return nullptr;
        return std::make_shared<InstanceNormOperation>(options_, NormActivation{activation->slope()});
    }
    void prepare(const Lowering& lowering) const override {
        const Shape shape = lowering.program()[lowering.input(0)].shape;
        const Buffer statistics = lowering.program().add_bytes(
            name() + " statistics", 2 * shape.n * shape.c * static_cast<std::int64_t>(sizeof(float)));
        lowering.state() = std::make_shared<const ReadyNorm>(
            ReadyNorm{lowering.parameters(), lowering.parameter(0), lowering.parameter(1), statistics, shape.c});
    }
    void forward(const Lowering& lowering) const override;
    void backward(const Lowering& lowering) const override;
    bool rebuilds() const override { return true; }
    void rebuild(const Lowering& lowering, Buffer again) const override { add_apply(lowering, again, "rebuild"); }

  private:
    void add_apply(const Lowering& lowering, Buffer y, const std::string& pass) const;
    /// Of the passes over one sample.
    static std::int64_t scratch_bytes(const Lowering& lowering) {
        BufferSpec x = lowering.program()[lowering.input(0)];
        x.shape.n = 1;
        return lowering.device().batch_norm_scratch_bytes(x.shape, x.form.layout);
    }

    InstanceNormOptions options_;
    NormActivation activation_;
};

void InstanceNormOperation::forward(const Lowering& lowering) const {
    const auto ready = std::any_cast<SharedNorm>(lowering.state());
    const Buffer x = lowering.input(0), sums = lowering.scratch(scratch_bytes(lowering));
    lowering.add({name() + " statistics",
                  "instance norm statistics",
                  {x},
                  {ready->buffer, sums},
                  [=, epsilon = options_.epsilon](const Plan& plan) {
                      for (std::int64_t n = 0; n < plan[x].shape.n; ++n)
                          plan.device().batch_norm_statistics(plan.stream(), sample_of(plan[x], n), epsilon,
                                                              ready->statistics(plan, n), {}, plan[sums].data);
                  }});
    add_apply(lowering, lowering.output(), "forward");
}

void InstanceNormOperation::add_apply(const Lowering& lowering, Buffer y, const std::string& pass) const {
    const auto ready = std::any_cast<SharedNorm>(lowering.state());
    const Buffer x = lowering.input(0);
    Call call{name() + " " + pass, "instance norm " + pass, {x, ready->buffer}, {y}, {}};
    call.in_place = {x, y};
    call.run = [=, activation = activation_](const Plan& plan) {
        for (std::int64_t n = 0; n < plan[x].shape.n; ++n)
            plan.device().batch_norm_apply(plan.stream(), sample_of(plan[x], n), ready->statistics(plan, n),
                                           ready->weights(), activation, sample_of(plan[y], n));
    };
    lowering.add(std::move(call));
}

void InstanceNormOperation::backward(const Lowering& lowering) const {
    const auto ready = std::any_cast<SharedNorm>(lowering.state());
    const Buffer x = lowering.input(0), diff_y = lowering.output_gradient();
    const GradientDestination to = lowering.input_gradient(0);
    const Buffer sums = lowering.scratch(scratch_bytes(lowering));
    // The gradients of scale and of shift, a row a sample, whose sums the parameters' are. A row a sample is channels
    // innermost, or, as there is one voxel each, channels outermost: whichever the backend takes.
    const Shape rows{lowering.program()[x].shape.n, ready->channels};
    const Layout layout = lowering.device().host_memory ? Layout::ncdhw : Layout::ndhwc;
    const Buffer scales = lowering.scratch(bytes_of(rows, Type::f32, layout));
    const Buffer shifts = lowering.scratch(bytes_of(rows, Type::f32, layout));
    const Buffer row_sums = lowering.scratch(lowering.device().channel_sum_scratch_bytes(rows, layout));
    Call call{name() + " backward",
              "instance norm backward",
              {x, diff_y, ready->buffer},
              {to.buffer, sums, scales, shifts, row_sums},
              {}};
    call.run = [=, activation = activation_](const Plan& plan) {
        const Kernels& device = plan.device();
        auto *of_scale = plan.data<float>(scales), *of_shift = plan.data<float>(shifts);
        for (std::int64_t n = 0; n < rows.n; ++n)
            device.batch_norm_backward(plan.stream(), sample_of(plan[x], n), sample_of(plan[diff_y], n),
                                       ready->statistics(plan, n), ready->weights(), activation,
                                       sample_of(plan[to.buffer], n), to.write, of_scale + n * rows.c,
                                       of_shift + n * rows.c, plan[sums].data);
        device.channel_sum(plan.stream(), {of_scale, rows, Type::f32, layout},
                           ready->parameters.device_gradient(ready->scale), plan[row_sums].data);
        device.channel_sum(plan.stream(), {of_shift, rows, Type::f32, layout},
                           ready->parameters.device_gradient(ready->shift), plan[row_sums].data);
    };
    // Both are read twice: every element of the gradient needs two sums over all of its channel.
    call.bytes_outside = lowering.program()[x].bytes() + lowering.program()[diff_y].bytes();
    if (to.write == Write::accumulate)
        call.reads.push_back(to.buffer);
    else
        call.in_place = {diff_y, to.buffer};
    lowering.add(std::move(call));
}

}  // namespace

Tensor instance_norm(Tensor x, const InstanceNormOptions& options) {
    InstanceNormOptions named = options;
    if (named.name.empty()) named.name = x.graph->fresh_name("instance_norm");
    return x.graph->add_one(std::make_shared<InstanceNormOperation>(std::move(named), kNoActivation), {x});
}

}  // namespace iwseg
