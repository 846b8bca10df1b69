#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/graph.h"
#include "kernels/convolution.h"
#include "kernels/kernel_table.h"

namespace iwseg {

struct ConvolutionTensors {
    Tensor src = -1, dst = -1;
    Tensor summand = -1;  ///< what the result is added to, kept where others read it later; or none
};

class ConvolutionOperation final : public Operation {
  public:
    ConvolutionOperation(Context& context, Parameters& parameters, const ConvolutionOptions& options,
                         ConvolutionPasses passes, ConvolutionTensors tensors, int weight, int bias);
    Tensor output() const override { return tensors_.dst; }
    void prepare(Program& program, PackedWeights& packed) override;
    void forward(Program& program) override;
    void backward(Program& program, Gradients& gradients) override;

  private:
    std::string name() const { return parameters_[weight_].name; }
    std::int64_t operations() const {
        return 2 * options_.src.elements() * options_.dst_channels * options_.kernel * options_.kernel * options_.kernel;
    }
    /// The convolution, told where its packed weights lie.
    Convolution& at_work(const Plan& plan) const;
    const float* bias() const { return bias_ < 0 ? nullptr : parameters_.device_value(bias_); }
    void add_summand_copy(Program& program);
    void add_data_gradient(Program& program, Tensor diff_dst, Tensor diff_src);

    Context& context_;
    Parameters& parameters_;
    ConvolutionOptions options_;
    ConvolutionPasses passes_;
    ConvolutionTensors tensors_;
    PackedTensors packed_;
    int weight_, bias_;
    std::shared_ptr<Convolution> convolution_;
};

struct BatchNormParameters {
    int scale = -1, shift = -1, mean = -1, variance = -1;
};

/// BatchNorm with or without ReLU, one operation. Only its input and per-channel statistics are kept; what convolutions
/// read in the backward pass is rebuilt.
class BatchNormOperation final : public Operation {
  public:
    BatchNormOperation(Context& context, Parameters& parameters, Program& program, BatchNormParameters used, Tensor x,
                       Tensor y, bool relu, bool training);
    Tensor output() const override { return y_; }
    void forward(Program& program) override;
    void backward(Program& program, Gradients& gradients) override;
    bool rebuilds() const override { return true; }
    void rebuild(Program& program, Tensor again) override { add_apply(program, again, "rebuild"); }

  private:
    void add_apply(Program& program, Tensor y, const std::string& pass);
    BatchNormStatistics statistics(const Plan& plan) const;
    BatchNormWeights weights() const { return {parameters_.device_value(used_.scale), parameters_.device_value(used_.shift)}; }

    Context& context_;
    Parameters& parameters_;
    BatchNormParameters used_;
    Tensor x_, y_, statistics_;
    std::int64_t channels_;
    bool relu_, training_;
    std::string name_;
};

/// One tensor in, one out, no parameters.
class UnaryOperation : public Operation {
  public:
    UnaryOperation(Context& context, Tensor x, Tensor y) : context_(context), x_(x), y_(y) {}
    Tensor output() const override { return y_; }

  protected:
    Context& context_;
    Tensor x_, y_;
};

class MaxPoolOperation final : public UnaryOperation {
  public:
    using UnaryOperation::UnaryOperation;
    void forward(Program& program) override;
    void backward(Program& program, Gradients& gradients) override;
};

class UpsampleOperation final : public UnaryOperation {
  public:
    using UnaryOperation::UnaryOperation;
    void forward(Program& program) override;
    void backward(Program& program, Gradients& gradients) override;
};

/// The same numbers in other memory, or of another type.
class CopyOperation final : public UnaryOperation {
  public:
    using UnaryOperation::UnaryOperation;
    void forward(Program& program) override;
    void backward(Program& program, Gradients& gradients) override;
};

}  // namespace iwseg
