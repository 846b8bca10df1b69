#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "engine/operation.h"
#include "engine/tensor.h"

namespace iwseg {

/// A network for one input shape: operations in the order they are added, each on tensors that were there before. It
/// knows no operation and no device; compile() (engine/compile.h) makes a program of it. The order in which parameters
/// are declared is that of a weights file.
class Graph {
  public:
    Graph() = default;
    Graph(const Graph&) = delete;
    Graph& operator=(const Graph&) = delete;

    /// What the caller gives each run: (N, C, D, H, W) f32, ncdhw. name: for messages.
    Tensor input(const std::string& name, const Shape& shape);

    /// Adds an operation on these tensors. Throws std::invalid_argument where it does not take their shapes, where a
    /// tensor is not this graph's, or where a parameter's name is used twice.
    std::vector<Tensor> add(std::shared_ptr<const Operation> operation, const std::vector<Tensor>& inputs);
    /// The same, of an operation with one output.
    Tensor add_one(std::shared_ptr<const Operation> operation, const std::vector<Tensor>& inputs);

    /// A name that no layer of this graph has: KIND_0, KIND_1, …
    std::string fresh_name(const std::string& kind);

    struct TensorNode {
        std::string name;
        Shape shape;
    };
    struct Node {
        std::shared_ptr<const Operation> operation;
        std::vector<int> inputs, outputs;  ///< tensors
        int parameters = 0;                ///< the first of the operation's among parameters()
    };
    const std::vector<TensorNode>& tensors() const { return tensors_; }
    const std::vector<Node>& nodes() const { return nodes_; }
    const std::vector<ParameterSpec>& parameters() const { return parameters_; }
    const std::vector<int>& inputs() const { return inputs_; }

  private:
    std::vector<TensorNode> tensors_;
    std::vector<Node> nodes_;
    std::vector<ParameterSpec> parameters_;
    std::vector<int> inputs_;
    std::set<std::string> names_, layers_;
};

}  // namespace iwseg
