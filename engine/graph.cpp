#include "engine/graph.h"

#include <stdexcept>

namespace iwseg {

Shape Tensor::shape() const {
    return graph->tensors().at(static_cast<std::size_t>(id)).shape;
}

std::string text_of(const Shape& shape) {
    std::string text = "(" + std::to_string(shape.n);
    for (const std::int64_t side : {shape.c, shape.d, shape.h, shape.w}) text += ", " + std::to_string(side);
    return text + ")";
}

Tensor Graph::input(const std::string& name, const Shape& shape) {
    inputs_.push_back(static_cast<int>(tensors_.size()));
    tensors_.push_back({name, shape});
    return {this, inputs_.back()};
}

std::vector<Tensor> Graph::add(std::shared_ptr<const Operation> operation, const std::vector<Tensor>& inputs) {
    Node node;
    std::vector<Shape> shapes;
    for (const Tensor& input : inputs) {
        if (input.graph != this) throw std::invalid_argument(operation->name() + ": a tensor of another graph");
        node.inputs.push_back(input.id);
        shapes.push_back(input.shape());
    }
    const std::vector<Shape> outputs = operation->outputs(shapes);
    const std::vector<ParameterSpec> parameters = operation->parameters(shapes);
    for (const ParameterSpec& parameter : parameters)
        if (!names_.insert(parameter.name).second)
            throw std::invalid_argument("parameter " + parameter.name + " is used twice");
    node.parameters = static_cast<int>(parameters_.size());
    parameters_.insert(parameters_.end(), parameters.begin(), parameters.end());
    layers_.insert(operation->name());
    std::vector<Tensor> made;
    for (const Shape& shape : outputs) {
        made.push_back({this, static_cast<int>(tensors_.size())});
        node.outputs.push_back(made.back().id);
        tensors_.push_back({operation->name(), shape});
    }
    node.operation = std::move(operation);
    nodes_.push_back(std::move(node));
    return made;
}

Tensor Graph::add_one(std::shared_ptr<const Operation> operation, const std::vector<Tensor>& inputs) {
    return add(std::move(operation), inputs).at(0);
}

std::string Graph::fresh_name(const std::string& kind) {
    for (int i = 0;; ++i) {
        std::string name = kind + "_" + std::to_string(i);
        if (!layers_.contains(name)) return name;
    }
}

}  // namespace iwseg
