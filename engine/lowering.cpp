#include "engine/lowering.h"

#include <algorithm>
#include <vector>

#include "engine/compiler.h"
#include "engine/plan.h"

namespace iwseg {

namespace {

Compiler::TensorState& input_of(Compiler& compiler, int node, int number) {
    return compiler.tensor_state(compiler.node_state(node).inputs.at(static_cast<std::size_t>(number)));
}
Compiler::TensorState& output_of(Compiler& compiler, int node, int number) {
    return compiler.tensor_state(compiler.node_state(node).outputs.at(static_cast<std::size_t>(number)));
}

}  // namespace

Context& Lowering::context() const {
    return compiler_.context();
}
Program& Lowering::program() const {
    return compiler_.program();
}
bool Lowering::training() const {
    return compiler_.training();
}
const std::string& Lowering::name() const {
    return compiler_.node_state(node_).name;
}
Parameters& Lowering::parameters() const {
    return compiler_.parameters();
}
PackedWeights& Lowering::packed_weights() const {
    return compiler_.packed();
}
std::any& Lowering::state() const {
    return compiler_.node_state(node_).state;
}

ParameterId Lowering::parameter(int number) const {
    return compiler_.declared(compiler_.node_state(node_).parameters + number);
}

bool Lowering::statistics_wanted() const {
    if (!training()) return false;
    const int output = compiler_.node_state(node_).outputs.at(0);
    for (const auto& [node, input] : compiler_.readers(output))
        if (compiler_.node_state(node).operation->reads_statistics(input)) return true;
    return false;
}
std::optional<ChannelSums> Lowering::sums_of(int input) const {
    const int producer = input_of(compiler_, node_, input).producer;
    if (producer < 0) return std::nullopt;
    return compiler_.node_state(producer).operation->channel_sums(Lowering(compiler_, producer));
}

int Lowering::only_for(int input) const {
    const int tensor = compiler_.node_state(node_).inputs.at(static_cast<std::size_t>(input));
    const int producer = compiler_.tensor_state(tensor).producer;
    if (producer < 0 || compiler_.kept(tensor) || compiler_.readers(tensor).size() != 1) return -1;
    return compiler_.node_state(producer).applied_before ? -1 : producer;
}
std::optional<Normalisation> Lowering::normalisation_of(int input) const {
    const int producer = only_for(input);
    if (producer < 0) return std::nullopt;
    return compiler_.node_state(producer).operation->normalisation(Lowering(compiler_, producer));
}
bool Lowering::wanted_later(int input) const {
    const int tensor = compiler_.node_state(node_).inputs.at(static_cast<std::size_t>(input));
    if (compiler_.tensor_state(tensor).producer < 0 || compiler_.kept(tensor)) return true;
    const auto readers = compiler_.readers(tensor);
    return std::any_of(readers.begin(), readers.end(), [&](const auto& reader) { return reader.first > node_; });
}
std::optional<PlaneMaker> Lowering::planes_of(int input) const {
    const int producer = only_for(input);
    if (training() || producer < 0) return std::nullopt;
    auto made = compiler_.node_state(producer).operation->planes(Lowering(compiler_, producer));
    if (made) made->tensors.push_back(compiler_.node_state(node_).inputs.at(static_cast<std::size_t>(input)));
    return made;
}
void Lowering::leave_out(int input) const {
    input_of(compiler_, node_, input).left_out = true;
}
void Lowering::leave_out(const PlaneMaker& made) const {
    for (const int tensor : made.tensors) compiler_.tensor_state(tensor).left_out = true;
}
bool Lowering::output_wanted() const {
    return !output_of(compiler_, node_, 0).left_out;
}

std::optional<EpilogueForm> Lowering::epilogue() const {
    if (training() || node_ + 1 >= compiler_.nodes()) return std::nullopt;
    const Compiler::NodeState& next = compiler_.node_state(node_ + 1);
    const int output = compiler_.node_state(node_).outputs.at(0);
    // Only the next one: a result of a later one would lie in memory from here on.
    if (next.inputs != std::vector<int>{output}) return std::nullopt;
    std::optional<EpilogueForm> form = next.operation->epilogue();
    if (form) form->beside = compiler_.kept(output) || compiler_.readers(output).size() > 1;
    return form;
}
void Lowering::take_epilogue() const {
    compiler_.node_state(node_ + 1).applied_before = true;
}
EpilogueOperands Lowering::epilogue_operands() const {
    return compiler_.node_state(node_ + 1).operation->epilogue_operands(Lowering(compiler_, node_ + 1));
}
Buffer Lowering::epilogue_output() const {
    return output_of(compiler_, node_ + 1, 0).buffer;
}

Buffer Lowering::input(int number) const {
    return input_of(compiler_, node_, number).buffer;
}
Buffer Lowering::output(int number) const {
    return output_of(compiler_, node_, number).buffer;
}
bool Lowering::wants_gradient(int input) const {
    return input_of(compiler_, node_, input).wants_gradient;
}
Buffer Lowering::output_gradient(int number) const {
    return output_of(compiler_, node_, number).gradient;
}

GradientDestination Lowering::input_gradient(int number) const {
    Compiler::TensorState& tensor = input_of(compiler_, node_, number);
    if (tensor.gradient) return {tensor.gradient, Write::accumulate};
    tensor.gradient = program().add({"gradient of " + tensor.name, tensor.shape, tensor.form});
    return {tensor.gradient, Write::overwrite};
}

Buffer Lowering::value(int input) const {
    Compiler::TensorState& tensor = input_of(compiler_, node_, input);
    if (tensor.producer < 0) return tensor.buffer;
    const Operation& producer = *compiler_.node_state(tensor.producer).operation;
    if (!producer.rebuilds()) return tensor.buffer;
    if (!tensor.rebuilt) {
        const Buffer again = program().add({tensor.name + " rebuilt", tensor.shape, tensor.form});
        producer.rebuild(Lowering(compiler_, tensor.producer), again);
        tensor.rebuilt = again;
    }
    return tensor.rebuilt;
}

}  // namespace iwseg
