#pragma once

#include <any>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/compile.h"
#include "engine/graph.h"
#include "engine/lowering.h"
#include "engine/packed_weights.h"

namespace iwseg {

/// A graph on its way to a program: its nodes as they are fused and converted, then the memory of each tensor. What
/// operations may ask of it stands in Lowering.
class Compiler {
  public:
    Compiler(const Graph& graph, Context& context, Parameters& parameters, const CompileOptions& options);

    Compiled compile();

    struct TensorState {
        std::string name;
        Shape shape;
        Form form = {};
        Buffer buffer = {}, gradient = {}, rebuilt = {};
        int producer = -1;    ///< node; -1: an input of the graph
        bool wanted = false;  ///< outside: kept or minimised
        bool wants_gradient = false;
        bool left_out = false;  ///< of the forward pass
    };
    struct NodeState {
        std::shared_ptr<const Operation> operation;
        std::vector<int> inputs, outputs;
        int parameters = 0;
        std::string name;
        std::any state = {};
        bool applied_before = false;  ///< by the convolution before it
    };

    TensorState& tensor_state(int id) { return tensors_.at(static_cast<std::size_t>(id)); }
    int nodes() const { return static_cast<int>(nodes_.size()); }
    NodeState& node_state(int number) { return nodes_.at(static_cast<std::size_t>(number)); }
    Context& context() { return context_; }
    Parameters& parameters() { return parameters_; }
    Program& program() { return program_; }
    PackedWeights& packed() { return packed_; }
    std::vector<std::pair<int, int>> readers(int tensor) const;  ///< nodes, and which of their inputs it is
    bool kept(int tensor) const;                                 ///< or minimised
    bool training() const { return options_.training; }
    ParameterId declared(int number) const { return declared_.at(static_cast<std::size_t>(number)); }

  private:
    int id_of(Tensor tensor) const;
    void drop_what_nobody_needs();
    void fuse();
    std::vector<std::vector<int>> consumers() const;  ///< nodes, by tensor
    std::vector<bool> plain_outputs();                ///< by tensor: nobody wants it but as f32, ncdhw
    void choose_forms();
    int convert(int tensor, const Form& form, std::vector<NodeState>& nodes);
    void find_producers();
    void forward();
    void backward();

    const Graph& graph_;
    Context& context_;
    Parameters& parameters_;
    const CompileOptions& options_;
    Program program_;
    PackedWeights packed_;
    std::vector<TensorState> tensors_;
    std::vector<NodeState> nodes_;
    std::vector<ParameterId> declared_;
    std::map<std::pair<int, int>, int> converted_;  ///< by tensor and form
    std::map<int, int> kept_;                       ///< by the graph's tensor: that which holds it in the end
};

}  // namespace iwseg
