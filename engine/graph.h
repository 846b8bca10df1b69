#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/packed_weights.h"
#include "engine/parameters.h"
#include "engine/program.h"

namespace iwseg {

class Gradients;

/// One node of a graph. It declares what its passes read and write by adding steps to a program; what backward reads is
/// what is kept from the forward pass, no more.
class Operation {
  public:
    virtual ~Operation() = default;
    virtual Tensor output() const = 0;
    /// Before all forward passes: says which weights are to be packed.
    virtual void prepare(Program&, PackedWeights&) {}
    virtual void forward(Program& program) = 0;
    /// Adds the steps that turn the gradient of the output into those of inputs and parameters.
    virtual void backward(Program& program, Gradients& gradients) = 0;
    /// True where backward passes need not find the output kept: rebuild makes it again from what is kept anyway.
    virtual bool rebuilds() const { return false; }
    virtual void rebuild(Program&, Tensor) {}
};

/// Where a gradient goes: the first to write a tensor's gradient overwrites, the others add.
struct GradientDestination {
    Tensor tensor = -1;
    Write write = Write::overwrite;
};

struct GraphOptions {
    bool training = true;  ///< batch statistics and gradients, else running statistics and none
    bool bf16 = false;     ///< activations and convolution operands
    Layout layout = Layout::ncdhw;
};

struct ConvolutionNode {
    std::string weight;   ///< the parameter's name, (O, C, k, k, k)
    std::string bias;     ///< (O); empty: none
    int channels = 1, kernel = 3;
    Tensor summand = -1;    ///< a tensor of the result's form to which it is added; it stays as it is
    bool plain_f32 = false; ///< the result as (N, C, D, H, W) f32 whatever the graph's layout: logits
};

/// A network for one input shape, as a list of operations. Modules add operations; forward and backward passes become
/// one program. Parameters are declared as they are met, so a graph also defines what a weights file holds.
class Graph {
  public:
    Graph(Context& context, Parameters& parameters, const GraphOptions& options);
    ~Graph();

    Program& program() { return program_; }
    Context& context() { return context_; }
    Parameters& parameters() { return parameters_; }
    const GraphOptions& options() const { return options_; }

    /// The caller's (N, C, D, H, W) f32 memory: what to bind before each run.
    Tensor input(const std::string& name, const Shape& shape);
    Tensor convolution(Tensor x, const ConvolutionNode& node);
    /// name: of the parameters, as in NAME.weight. Epsilon 1e-5, momentum 0.1.
    Tensor batch_norm(Tensor x, const std::string& name, bool relu);
    Tensor max_pool(Tensor x);
    Tensor upsample(Tensor x);
    /// What the network reads: the input, rounded in bf16 graphs.
    Tensor image() const { return rounded_input_ < 0 ? bound_input_ : rounded_input_; }
    /// Adds all forward steps.
    void forward();
    /// Adds all backward steps, given the gradient of one tensor.
    void backward(Tensor output, Tensor diff_output);
    /// The parameter of that name, declared where it is new. Throws std::invalid_argument on another shape.
    int parameter(const std::string& name, const std::vector<std::int64_t>& shape, bool learned);

  private:
    friend class Gradients;

    Tensor add(std::unique_ptr<Operation> operation);
    Type type() const { return options_.bf16 ? Type::bf16 : Type::f32; }

    Context& context_;
    Parameters& parameters_;
    GraphOptions options_;
    Program program_;
    PackedWeights packed_;
    std::vector<std::unique_ptr<Operation>> operations_;
    std::map<std::string, int> declared_;
    Tensor bound_input_ = -1, rounded_input_ = -1;
};

/// The state of reverse-mode differentiation: which tensors have a gradient so far, and which values were rebuilt.
class Gradients {
  public:
    explicit Gradients(Graph& graph) : graph_(graph) {}

    void set(Tensor tensor, Tensor gradient) { gradients_[tensor] = gradient; }
    /// The gradient of an operation's output, complete by then; -1 where nothing depends on it.
    Tensor of(Tensor tensor) const;
    /// False for the graph's input, as it is and rounded.
    bool wanted(Tensor tensor) const;
    GradientDestination destination(Tensor tensor);
    /// A tensor's value as the forward pass left it: kept, or rebuilt here.
    Tensor value(Tensor tensor);

  private:
    Graph& graph_;
    std::map<Tensor, Tensor> gradients_, rebuilt_;
};

}  // namespace iwseg
