#include "engine/operations.h"

#include "engine/plan.h"

namespace iwseg {
namespace {

/// The gradient of a tensor whose elements a result holds as they are: the result's own. No work where nobody reads
/// that one afterwards and nobody has written to the other.
void pass_gradient(Program& program, Context& context, const std::string& name, Tensor diff_result,
                   const GradientDestination& to) {
    const bool copies = to.write == Write::overwrite;
    Step step{name, {diff_result}, {to.tensor}, [=, &context](const Plan& plan) {
                  const auto move = copies ? context.kernels().copy : context.kernels().add;
                  move(context.stream(), plan[diff_result], plan[to.tensor]);
              }};
    if (copies) {
        step.in_place = {diff_result, to.tensor};
        step.copies_only = true;
    } else {
        step.reads.push_back(to.tensor);
    }
    program.add(std::move(step));
}

}  // namespace

ConvolutionOperation::ConvolutionOperation(Context& context, Parameters& parameters, const ConvolutionOptions& options,
                                           ConvolutionPasses passes, ConvolutionTensors tensors, int weight, int bias)
    : context_(context),
      parameters_(parameters),
      options_(options),
      passes_(passes),
      tensors_(tensors),
      weight_(weight),
      bias_(bias),
      convolution_(context.kernels().make_convolution(context.stream(), options, passes)) {}

void ConvolutionOperation::prepare(Program& program, PackedWeights& packed) {
    packed_ = packed.add(program, convolution_->weight_form(), weight_, bias_, passes_.backward_weights);
}

Convolution& ConvolutionOperation::at_work(const Plan& plan) const {
    const auto place = [&](Tensor tensor) { return tensor < 0 ? nullptr : plan[tensor].data; };
    convolution_->use_packed(place(packed_.weights), place(packed_.gradient));
    return *convolution_;
}

void ConvolutionOperation::forward(Program& program) {
    const Tensor scratch = program.add_bytes(name() + " scratch", convolution_->scratch_bytes());
    const auto [src, dst, summand] = tensors_;
    Step step{name() + " forward", {src}, {dst, scratch}, {}, {}, false, operations()};
    if (packed_.weights >= 0) step.reads.push_back(packed_.weights);
    if (summand >= 0 && convolution_->adds_elsewhere()) {
        step.reads.push_back(summand);
        step.in_place = {summand, dst};
        step.run = [=, this](const Plan& plan) {
            at_work(plan).forward_sum(context_.stream(), plan[src], parameters_.device_value(weight_), bias(),
                                      plan[summand], plan[dst], plan[scratch].data);
        };
    } else {
        if (summand >= 0) {
            add_summand_copy(program);
            step.reads.push_back(dst);
        }
        step.run = [=, this](const Plan& plan) {
            at_work(plan).forward(context_.stream(), plan[src], parameters_.device_value(weight_), bias(), plan[dst],
                                  plan[scratch].data);
        };
    }
    program.add(std::move(step));
}

/// dst holds what is added to; no work where nobody else reads the summand.
void ConvolutionOperation::add_summand_copy(Program& program) {
    const auto [src, dst, summand] = tensors_;
    program.add({name() + " summand copied",
                 {summand},
                 {dst},
                 [=, this, to = dst, from = summand](const Plan& plan) {
                     context_.kernels().copy(context_.stream(), plan[from], plan[to]);
                 },
                 std::pair{summand, dst},
                 true});
}

void ConvolutionOperation::backward(Program& program, Gradients& gradients) {
    const Tensor diff_dst = gradients.of(tensors_.dst), src = gradients.value(tensors_.src);
    const Tensor scratch = program.add_bytes(name() + " scratch", convolution_->scratch_bytes());
    // Weights first: the rebuilt input is free when the data gradient is written, and gives its place to it.
    Step step{name() + " weight gradient",
              {src, diff_dst},
              {scratch},
              [=, this](const Plan& plan) {
                  at_work(plan).backward_weights(
                      context_.stream(), plan[src], plan[diff_dst], parameters_.device_gradient(weight_),
                      bias_ < 0 ? nullptr : parameters_.device_gradient(bias_), plan[scratch].data);
              },
              {},
              false,
              operations()};
    if (packed_.gradient >= 0) step.writes.push_back(packed_.gradient);
    program.add(std::move(step));
    if (passes_.backward_data) {
        const GradientDestination to = gradients.destination(tensors_.src);
        if (to.write == Write::overwrite) {
            add_data_gradient(program, diff_dst, to.tensor);
        } else {
            TensorSpec part = program[to.tensor];
            part.name += ", one part";
            const Tensor added = program.add(part);
            add_data_gradient(program, diff_dst, added);
            pass_gradient(program, context_, name() + " data gradient sum", added, to);
        }
    }
    if (tensors_.summand >= 0 && gradients.wanted(tensors_.summand))
        pass_gradient(program, context_, name() + " summand gradient", diff_dst,
                      gradients.destination(tensors_.summand));
}

void ConvolutionOperation::add_data_gradient(Program& program, Tensor diff_dst, Tensor diff_src) {
    const Tensor scratch = program.add_bytes(name() + " scratch", convolution_->scratch_bytes());
    Step step{name() + " data gradient",
              {diff_dst},
              {diff_src, scratch},
              [=, this](const Plan& plan) {
                  at_work(plan).backward_data(context_.stream(), plan[diff_dst], parameters_.device_value(weight_),
                                              plan[diff_src], plan[scratch].data);
              },
              {},
              false,
              operations()};
    if (packed_.weights >= 0) step.reads.push_back(packed_.weights);
    program.add(std::move(step));
}

BatchNormOperation::BatchNormOperation(Context& context, Parameters& parameters, Program& program,
                                       BatchNormParameters used, Tensor x, Tensor y, bool relu, bool training)
    : context_(context),
      parameters_(parameters),
      used_(used),
      x_(x),
      y_(y),
      channels_(program[x].shape.c),
      relu_(relu),
      training_(training),
      name_(parameters[used.scale].name) {
    name_.resize(name_.rfind('.'));
    statistics_ = program.add_bytes(name_ + " statistics", 2 * channels_ * static_cast<std::int64_t>(sizeof(float)));
}

BatchNormStatistics BatchNormOperation::statistics(const Plan& plan) const {
    auto* values = plan.data<float>(statistics_);
    return {values, values + channels_};
}

void BatchNormOperation::forward(Program& program) {
    constexpr float kEpsilon = 1e-5f, kMomentum = 0.1f;  // as the original's
    const auto running = [this] {
        return RunningStatistics{parameters_.device_value(used_.mean), parameters_.device_value(used_.variance), kMomentum};
    };
    if (training_) {
        const Tensor scratch = program.add_bytes(
            name_ + " scratch", context_.kernels().batch_norm_scratch_bytes(program[x_].shape, program[x_].layout));
        program.add({name_ + " statistics", {x_}, {statistics_, scratch}, [=, this](const Plan& plan) {
                         context_.kernels().batch_norm_statistics(context_.stream(), plan[x_], kEpsilon, statistics(plan),
                                                                  running(), plan[scratch].data);
                     }});
    } else {
        program.add({name_ + " statistics", {}, {statistics_}, [=, this](const Plan& plan) {
                         context_.kernels().batch_norm_running_statistics(context_.stream(), channels_, kEpsilon, running(),
                                                                          statistics(plan));
                     }});
    }
    add_apply(program, y_, "forward");
}

void BatchNormOperation::add_apply(Program& program, Tensor y, const std::string& pass) {
    program.add({name_ + " " + pass, {x_, statistics_}, {y},
                 [=, this](const Plan& plan) {
                     context_.kernels().batch_norm_apply(context_.stream(), plan[x_], statistics(plan), weights(), relu_,
                                                         plan[y]);
                 },
                 std::pair{x_, y}});
}

void BatchNormOperation::backward(Program& program, Gradients& gradients) {
    const Tensor diff_y = gradients.of(y_);
    const GradientDestination to = gradients.destination(x_);
    const Tensor scratch = program.add_bytes(
        name_ + " scratch", context_.kernels().batch_norm_scratch_bytes(program[x_].shape, program[x_].layout));
    Step step{name_ + " backward", {x_, diff_y, statistics_}, {to.tensor, scratch}, [=, this](const Plan& plan) {
                  context_.kernels().batch_norm_backward(
                      context_.stream(), plan[x_], plan[diff_y], statistics(plan), weights(), relu_, plan[to.tensor],
                      to.write, parameters_.device_gradient(used_.scale), parameters_.device_gradient(used_.shift), plan[scratch].data);
              }};
    // Both are read twice: every element of the gradient needs two sums over all of them.
    step.bytes_outside = program[x_].bytes() + program[diff_y].bytes();
    if (to.write == Write::accumulate)
        step.reads.push_back(to.tensor);
    else
        step.in_place = {diff_y, to.tensor};
    program.add(std::move(step));
}

void MaxPoolOperation::forward(Program& program) {
    program.add({program[y_].name, {x_}, {y_}, [=, this](const Plan& plan) {
                     context_.kernels().max_pool(context_.stream(), plan[x_], plan[y_]);
                 }});
}

void MaxPoolOperation::backward(Program& program, Gradients& gradients) {
    const Tensor diff_y = gradients.of(y_), x = gradients.value(x_);
    const GradientDestination to = gradients.destination(x_);
    Step step{program[y_].name + " backward", {x, diff_y}, {to.tensor}, [=, this](const Plan& plan) {
                  context_.kernels().max_pool_backward(context_.stream(), plan[x], plan[diff_y], plan[to.tensor], to.write);
              }};
    if (to.write == Write::accumulate) step.reads.push_back(to.tensor);
    program.add(std::move(step));
}

void UpsampleOperation::forward(Program& program) {
    program.add({program[y_].name, {x_}, {y_}, [=, this](const Plan& plan) {
                     context_.kernels().upsample(context_.stream(), plan[x_], plan[y_]);
                 }});
}

void UpsampleOperation::backward(Program& program, Gradients& gradients) {
    const Tensor diff_y = gradients.of(y_);
    const GradientDestination to = gradients.destination(x_);
    Step step{program[y_].name + " backward", {diff_y}, {to.tensor}, [=, this](const Plan& plan) {
                  context_.kernels().upsample_backward(context_.stream(), plan[diff_y], plan[to.tensor], to.write);
              }};
    if (to.write == Write::accumulate) step.reads.push_back(to.tensor);
    program.add(std::move(step));
}

void CopyOperation::forward(Program& program) {
    Step step{program[y_].name, {x_}, {y_}, [=, this](const Plan& plan) {
                  context_.kernels().copy(context_.stream(), plan[x_], plan[y_]);
              }};
    if (program[x_].type == program[y_].type) {
        step.in_place = {x_, y_};
        step.copies_only = true;
    }
    program.add(std::move(step));
}

void CopyOperation::backward(Program& program, Gradients& gradients) {
    if (!gradients.wanted(x_)) return;
    pass_gradient(program, context_, program[y_].name + " backward", gradients.of(y_), gradients.destination(x_));
}

}  // namespace iwseg
