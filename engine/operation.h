#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/parameter_spec.h"
#include "engine/program.h"
#include "kernels/convolution/convolution.h"
#include "kernels/device/view.h"
#include "kernels/norm/batch_norm.h"

namespace iwseg {

class Lowering;

/// Sums over a tensor that whoever computes it leaves on the way.
struct ChannelSums {
    Buffer buffer;  ///< written together with the tensor
    /// Makes batch statistics of them, as batch_norm_statistics makes them of the tensor.
    std::function<void(const Plan&, float epsilon, BatchNormStatistics, RunningStatistics)> statistics;
};

/// Which forms an operation takes and gives.
enum class FormRule : std::uint8_t {
    same,   ///< every layout and real type; all inputs and outputs in the first input's
    plain,  ///< inputs are f32, ncdhw, and so are outputs but for what output_form says
    own     ///< what input_form and output_form say
};

/// What an operation is asked about one of its inputs.
struct InputForm {
    int input = 0;
    Shape shape;
    Form given;   ///< how it lies
    Form usual;   ///< activations' form in this plan
    Form output;  ///< of the operation's own first output
};

/// A batch normalisation with ReLU, for a reader of its result that computes it on the way.
struct Normalisation {
    Buffer input, statistics;
    std::function<BatchNormStatistics(const Plan&)> values;
    std::function<BatchNormWeights()> weights;
};

/// How the first channels of a tensor can be made some planes at a time, for a convolution that reads it so
/// (kernels/convolution/convolution.h, MadeChannels).
struct PlaneMaker {
    MadeChannels made;            ///< how many, and of how many planes at once
    Buffer rest;                  ///< the other channels
    std::vector<Buffer> reads;    ///< of what planes are made
    std::int64_t operations = 0;  ///< multiplications and additions of all planes
    /// Once, while the graph is compiled: for so many planes at once. Bytes of scratch that making them takes.
    std::function<std::int64_t(std::int64_t planes)> prepare;
    /// In each run: these planes, from a first, of the tensor's form, in a call that reads `reads` and writes
    /// `scratch`.
    std::function<void(const Plan&, std::int64_t first, View planes, void* scratch)> make;
    std::vector<int> tensors = {};  ///< of the graph, which are then not computed as a whole
};

/// What a convolution needs to apply the operation after it to its result (kernels/convolution/epilogue.h). Of one
/// without a normalisation: nothing.
struct EpilogueOperands {
    Buffer statistics;
    std::function<BatchNormStatistics(const Plan&)> values;
    std::function<BatchNormWeights()> weights;
};

/// A kind of node: what somebody derives from to add an operation of their own (docs/extending.md). It holds its
/// options alone, and one object may stand in several graphs and plans: what a plan's calls need goes into these by
/// value or by shared_ptr, or, between passes, into Lowering::state.
class Operation {
  public:
    virtual ~Operation() = default;
    /// The layer's, for messages and measurements: "1.bridge.0.bn", "conv_3".
    virtual std::string name() const = 0;
    /// Shapes of the outputs. Throws std::invalid_argument on inputs that it does not take.
    virtual std::vector<Shape> outputs(const std::vector<Shape>& inputs) const = 0;
    virtual std::vector<ParameterSpec> parameters(const std::vector<Shape>& /*inputs*/) const { return {}; }

    virtual FormRule form_rule() const { return FormRule::same; }
    /// With FormRule::own: the form that an input is wanted in; another one is converted first.
    virtual Form input_form(const InputForm& input) const { return input.given; }
    /// The form of an output, but with FormRule::same. wanted: by those who read it; another one is converted for them.
    virtual Form output_form(int /*output*/, const Form& wanted, const Form& /*usual*/) const { return wanted; }

    /// This operation followed by `next`, which takes its only output as its input number `operand`, in one; none where
    /// they do not fuse. The fused operation takes this one's inputs and then the other inputs of `next`, and has this
    /// one's parameters.
    virtual std::shared_ptr<const Operation> followed_by(const Operation& /*next*/, int /*operand*/) const {
        return nullptr;
    }

    /// True where training asks for batch statistics of an input, channel by channel.
    virtual bool reads_statistics(int /*input*/) const { return false; }
    /// Sums over the output, where the prepared operation leaves them: for those who read statistics of it.
    virtual std::optional<ChannelSums> channel_sums(const Lowering&) const { return std::nullopt; }

    /// The prepared operation, where its output is a normalisation with ReLU of its input.
    virtual std::optional<Normalisation> normalisation(const Lowering&) const { return std::nullopt; }

    /// In prediction: how the prepared operation's output can be made some planes at a time.
    virtual std::optional<PlaneMaker> planes(const Lowering&) const { return std::nullopt; }

    /// In prediction: what the operation makes of its only input, element by element, for a convolution before it.
    virtual std::optional<EpilogueForm> epilogue() const { return std::nullopt; }
    /// In place of forward, where that convolution applies it: adds the calls that come before the convolution's.
    virtual EpilogueOperands epilogue_operands(const Lowering&) const { return {}; }

    /// Before the forward calls of all operations: makes what needs the device.
    virtual void prepare(const Lowering&) const {}
    /// Adds the calls that compute the outputs.
    virtual void forward(const Lowering& lowering) const = 0;
    /// Adds the calls that turn the gradients of outputs into those of inputs and parameters. What is read here is kept
    /// from the forward pass, no more.
    virtual void backward(const Lowering& lowering) const = 0;
    /// True where backward passes need not find the output kept: rebuild makes it again from what is kept anyway.
    virtual bool rebuilds() const { return false; }
    virtual void rebuild(const Lowering&, Buffer /*again*/) const {}
};

}  // namespace iwseg
