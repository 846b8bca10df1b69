#include "engine/compiler.h"

#include <algorithm>
#include <stdexcept>

#include "engine/ops/convert.h"
#include "kernels/device/backend.h"

namespace iwseg {
namespace {

constexpr Form kPlain{Type::f32, Layout::ncdhw};

int number_of(const Form& form) {
    return static_cast<int>(form.type) * 16 + static_cast<int>(form.layout);
}

}  // namespace

Buffer Compiled::operator[](Tensor tensor) const {
    const auto found = buffers.find(tensor.id);
    if (found == buffers.end()) throw std::logic_error("a tensor is read that compile() was not told to keep");
    return found->second;
}

Compiled compile(const Graph& graph, Context& context, Parameters& parameters, const CompileOptions& options) {
    return Compiler(graph, context, parameters, options).compile();
}

Compiler::Compiler(const Graph& graph, Context& context, Parameters& parameters, const CompileOptions& options)
    : graph_(graph), context_(context), parameters_(parameters), options_(options), packed_(parameters) {
    for (const Graph::TensorNode& tensor : graph.tensors()) tensors_.push_back({tensor.name, tensor.shape});
    for (const Graph::Node& node : graph.nodes())
        nodes_.push_back({node.operation, node.inputs, node.outputs, node.parameters, node.operation->name()});
    for (const auto* list : {&options.keep, &options.minimise})
        for (const Tensor tensor : *list) {
            tensor_state(id_of(tensor)).wanted = true;
            kept_[tensor.id] = tensor.id;
        }
}

int Compiler::id_of(Tensor tensor) const {
    if (tensor.graph != &graph_) throw std::invalid_argument("compile: a tensor of another graph");
    return tensor.id;
}

Compiled Compiler::compile() {
    for (const ParameterSpec& parameter : graph_.parameters()) declared_.push_back(parameters_.declare(parameter));
    drop_what_nobody_needs();
    fuse();
    choose_forms();
    find_producers();
    forward();
    if (options_.training) backward();
    Compiled made{std::move(program_), {}};
    for (const int input : graph_.inputs()) made.buffers[input] = tensor_state(input).buffer;
    for (const auto& [tensor, holder] : kept_) made.buffers[tensor] = tensor_state(holder).buffer;
    return made;
}

void Compiler::drop_what_nobody_needs() {
    std::vector<bool> needed(tensors_.size());
    for (std::size_t t = 0; t < tensors_.size(); ++t) needed[t] = tensors_[t].wanted;
    std::vector<NodeState> left;
    for (auto node = nodes_.rbegin(); node != nodes_.rend(); ++node) {
        if (std::none_of(node->outputs.begin(), node->outputs.end(), [&](int t) { return needed[t]; })) continue;
        for (const int input : node->inputs) needed[input] = true;
        left.push_back(std::move(*node));
    }
    nodes_.assign(std::make_move_iterator(left.rbegin()), std::make_move_iterator(left.rend()));
}

std::vector<std::vector<int>> Compiler::consumers() const {
    std::vector<std::vector<int>> of(tensors_.size());
    for (std::size_t n = 0; n < nodes_.size(); ++n)
        for (const int input : nodes_[n].inputs) of[input].push_back(static_cast<int>(n));
    return of;
}

std::vector<std::pair<int, int>> Compiler::readers(int tensor) const {
    std::vector<std::pair<int, int>> of;
    for (std::size_t n = 0; n < nodes_.size(); ++n)
        for (std::size_t k = 0; k < nodes_[n].inputs.size(); ++k)
            if (nodes_[n].inputs[k] == tensor) of.emplace_back(static_cast<int>(n), static_cast<int>(k));
    return of;
}

bool Compiler::kept(int tensor) const {
    return std::any_of(kept_.begin(), kept_.end(), [&](const auto& one) { return one.second == tensor; });
}

void Compiler::fuse() {
    find_producers();
    const auto used_by = consumers();
    std::vector<bool> gone(nodes_.size());
    for (NodeState& node : nodes_) {
        for (std::size_t k = 0; k < node.inputs.size(); ++k) {
            const TensorState& between = tensor_state(node.inputs[k]);
            if (between.producer < 0 || between.wanted || used_by[node.inputs[k]].size() != 1) continue;
            const NodeState& first = node_state(between.producer);
            if (first.outputs.size() != 1) continue;
            auto fused = first.operation->followed_by(*node.operation, static_cast<int>(k));
            if (!fused) continue;
            std::vector<int> inputs = first.inputs;
            for (std::size_t i = 0; i < node.inputs.size(); ++i)
                if (i != k) inputs.push_back(node.inputs[i]);
            gone[static_cast<std::size_t>(between.producer)] = true;
            node.inputs = std::move(inputs);
            node.parameters = first.parameters;
            node.name = fused->name();
            node.operation = std::move(fused);
            break;
        }
    }
    std::vector<NodeState> left;
    for (std::size_t n = 0; n < nodes_.size(); ++n)
        if (!gone[n]) left.push_back(std::move(nodes_[n]));
    nodes_ = std::move(left);
}

void Compiler::find_producers() {
    for (std::size_t n = 0; n < nodes_.size(); ++n)
        for (const int output : nodes_[n].outputs) tensor_state(output).producer = static_cast<int>(n);
}

std::vector<bool> Compiler::plain_outputs() {
    const auto used_by = consumers();
    std::vector<bool> plain(tensors_.size());
    for (auto node = nodes_.rbegin(); node != nodes_.rend(); ++node)
        for (const int output : node->outputs)
            plain[output] = std::all_of(used_by[output].begin(), used_by[output].end(), [&](int consumer) {
                const NodeState& next = node_state(consumer);
                const FormRule rule = next.operation->form_rule();
                return rule == FormRule::plain || (rule == FormRule::same && plain[next.outputs[0]]);
            });
    return plain;
}

int Compiler::convert(int tensor, const Form& form, std::vector<NodeState>& nodes) {
    if (tensor_state(tensor).form == form) return tensor;
    const auto [place, added] = converted_.try_emplace({tensor, number_of(form)}, static_cast<int>(tensors_.size()));
    if (added) {
        TensorState made = tensor_state(tensor);
        const bool rounds = form.type == Type::bf16 && made.form.type == Type::f32;
        made.name += rounds ? " rounded" : " converted";
        made.form = form;
        made.wanted = false;
        auto operation = std::make_shared<ConvertOperation>(made.name);
        nodes.push_back({operation, {tensor}, {place->second}, 0, made.name});
        tensors_.push_back(std::move(made));
    }
    return place->second;
}

void Compiler::choose_forms() {
    const std::vector<bool> plain = plain_outputs();
    std::int64_t narrowest = 0;
    for (const NodeState& node : nodes_)
        for (const int output : node.outputs)
            if (const std::int64_t c = tensor_state(output).shape.c; !plain[output])
                narrowest = narrowest ? std::min(narrowest, c) : c;
    const Form usual{
        options_.bf16 ? Type::bf16 : Type::f32,
        options_.layout.value_or(context_.backend().preferred_layout(std::max<std::int64_t>(1, narrowest)))};
    std::vector<NodeState> nodes;
    for (NodeState& node : nodes_) {
        const Operation& operation = *node.operation;
        const Form wanted_output = plain[node.outputs[0]] ? kPlain : usual;
        const bool own = operation.form_rule() == FormRule::own;
        const Form output = own ? operation.output_form(0, wanted_output, usual) : wanted_output;
        for (std::size_t i = 0; i < node.inputs.size(); ++i) {
            const TensorState& given = tensor_state(node.inputs[i]);
            Form wanted = kPlain;
            if (operation.form_rule() == FormRule::same) {
                const bool of_graph = std::count(graph_.inputs().begin(), graph_.inputs().end(), node.inputs[0]) > 0;
                wanted = i > 0 ? tensor_state(node.inputs[0]).form : of_graph ? usual : given.form;
            } else if (own) {
                wanted = operation.input_form({static_cast<int>(i), given.shape, given.form, usual, output});
            }
            node.inputs[i] = convert(node.inputs[i], wanted, nodes);
        }
        for (std::size_t k = 0; k < node.outputs.size(); ++k) {
            Form& form = tensor_state(node.outputs[k]).form;
            const bool is_plain = operation.form_rule() == FormRule::plain || plain[node.outputs[k]];
            form = operation.form_rule() == FormRule::same
                       ? tensor_state(node.inputs.at(0)).form
                       : operation.output_form(static_cast<int>(k), is_plain ? kPlain : usual, usual);
        }
        nodes.push_back(std::move(node));
    }
    for (const Tensor tensor : options_.keep) kept_[tensor.id] = convert(tensor.id, kPlain, nodes);
    nodes_ = std::move(nodes);
}

void Compiler::forward() {
    for (const int input : graph_.inputs()) {
        TensorState& tensor = tensor_state(input);
        tensor.buffer = program_.add({tensor.name, tensor.shape, tensor.form, true});
    }
    for (const NodeState& node : nodes_) {
        bool wants = false;
        if (options_.training) {
            const auto shapes = [&] {
                std::vector<Shape> of;
                for (const int input : node.inputs) of.push_back(tensor_state(input).shape);
                return of;
            };
            for (const ParameterSpec& parameter : node.operation->parameters(shapes())) wants |= parameter.learned;
            for (const int input : node.inputs) wants |= tensor_state(input).wants_gradient;
        }
        for (const int output : node.outputs) {
            TensorState& tensor = tensor_state(output);
            tensor.wants_gradient = wants;
            tensor.buffer = program_.add({tensor.name, tensor.shape, tensor.form});
        }
    }
    for (const auto& [tensor, holder] : kept_) {
        const TensorState& kept = tensor_state(holder);
        if (kept.producer >= 0) program_.keep(kept.buffer);
    }
    const int count = static_cast<int>(nodes_.size());
    for (int n = 0; n < count; ++n) {
        node_state(n).operation->prepare(Lowering(*this, n));
    }
    packed_.pack(program_);
    for (int n = 0; n < count; ++n)
        if (!node_state(n).applied_before) node_state(n).operation->forward(Lowering(*this, n));
}

void Compiler::backward() {
    for (const Tensor loss : options_.minimise)
        if (!tensor_state(loss.id).wants_gradient)
            throw std::invalid_argument("compile: a loss on which no parameter has an influence is to be minimised");
    for (int n = static_cast<int>(nodes_.size()) - 1; n >= 0; --n) {
        const NodeState& node = node_state(n);
        const bool reached = std::any_of(node.outputs.begin(), node.outputs.end(), [&](int output) {
            const bool minimised = std::any_of(options_.minimise.begin(), options_.minimise.end(),
                                               [&](Tensor loss) { return loss.id == output; });
            const TensorState& tensor = tensor_state(output);
            return tensor.wants_gradient && (minimised || tensor.gradient);
        });
        if (!reached) continue;
        node.operation->backward(Lowering(*this, n));
    }
    packed_.unpack(program_);
}

}  // namespace iwseg
