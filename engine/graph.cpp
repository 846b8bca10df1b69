#include "engine/graph.h"

#include <stdexcept>

#include "engine/operations.h"

namespace iwseg {

Graph::Graph(Context& context, Parameters& parameters, const GraphOptions& options)
    : context_(context), parameters_(parameters), options_(options), packed_(context, parameters) {}

Graph::~Graph() = default;

Tensor Graph::add(std::unique_ptr<Operation> operation) {
    operations_.push_back(std::move(operation));
    return operations_.back()->output();
}

int Graph::parameter(const std::string& name, const std::vector<std::int64_t>& shape, bool learned) {
    if (!declared_.emplace(name, 0).second) throw std::invalid_argument("parameter " + name + " is used twice");
    return parameters_.declare(name, shape, learned);
}

Tensor Graph::input(const std::string& name, const Shape& shape) {
    if (bound_input_ >= 0) throw std::logic_error("a graph has one input");
    bound_input_ = program_.add({name, shape, Type::f32, Layout::ncdhw, true});
    if (type() == Type::f32) return bound_input_;
    rounded_input_ = program_.add({name + " rounded", shape, type(), Layout::ncdhw});
    add(std::make_unique<CopyOperation>(context_, bound_input_, rounded_input_));
    return bound_input_;
}

Tensor Graph::convolution(Tensor x, const ConvolutionNode& node) {
    const TensorSpec src = program_[x];  // a copy: adding tensors moves the others
    ConvolutionOptions options;
    options.src = src.shape;
    options.dst_channels = node.channels;
    options.kernel = node.kernel;
    options.src_layout = src.layout;
    options.src_type = src.type;
    options.dst_layout = node.plain_f32 ? Layout::ncdhw : options_.layout;
    options.dst_type = node.plain_f32 ? Type::f32 : type();
    options.bias = !node.bias.empty();
    options.write = node.summand < 0 ? Write::overwrite : Write::accumulate;
    options.deterministic = context_.deterministic();
    options.tf32 = context_.tf32();
    options.plan_file = context_.plan_file();
    const TensorSpec dst{node.weight + " result", options.dst(), options.dst_type, options.dst_layout};
    if (node.summand >= 0) {
        const TensorSpec& summand = program_[node.summand];
        if (!(summand.shape == dst.shape) || summand.layout != dst.layout || summand.type != dst.type)
            throw std::invalid_argument(node.weight + ": its result cannot be added to a tensor of another form");
    }
    const ConvolutionTensors tensors{x, program_.add(dst), node.summand};
    const std::int64_t k = node.kernel;
    const int weight = parameter(node.weight, {node.channels, src.shape.c, k, k, k}, true);
    const int bias = options.bias ? parameter(node.bias, {node.channels}, true) : -1;
    Gradients gradients(*this);
    const ConvolutionPasses passes{options_.training && gradients.wanted(x), options_.training};
    return add(std::make_unique<ConvolutionOperation>(context_, parameters_, options, passes, tensors, weight, bias));
}

Tensor Graph::batch_norm(Tensor x, const std::string& name, bool relu) {
    TensorSpec spec = program_[x];
    spec.name = name + " result";
    spec.external = false;
    BatchNormParameters used;
    const std::vector<std::int64_t> shape{spec.shape.c};
    used.scale = parameter(name + ".weight", shape, true);
    used.shift = parameter(name + ".bias", shape, true);
    used.mean = parameter(name + ".running_mean", shape, false);
    used.variance = parameter(name + ".running_var", shape, false);
    const Tensor y = program_.add(spec);
    return add(std::make_unique<BatchNormOperation>(context_, parameters_, program_, used, x, y, relu, options_.training));
}

Tensor Graph::max_pool(Tensor x) {
    TensorSpec spec = program_[x];
    if (spec.shape.d % 2 || spec.shape.h % 2 || spec.shape.w % 2)
        throw std::invalid_argument("max_pool: expected even sizes; a network of three halvings takes multiples of 8");
    spec.name += " pooled";
    spec.shape = {spec.shape.n, spec.shape.c, spec.shape.d / 2, spec.shape.h / 2, spec.shape.w / 2};
    return add(std::make_unique<MaxPoolOperation>(context_, x, program_.add(spec)));
}

Tensor Graph::upsample(Tensor x) {
    TensorSpec spec = program_[x];
    spec.name += " upsampled";
    spec.shape = {spec.shape.n, spec.shape.c, 2 * spec.shape.d, 2 * spec.shape.h, 2 * spec.shape.w};
    return add(std::make_unique<UpsampleOperation>(context_, x, program_.add(spec)));
}

void Graph::forward() {
    for (const auto& operation : operations_) operation->prepare(program_, packed_);
    packed_.pack(program_);
    for (const auto& operation : operations_) operation->forward(program_);
}

void Graph::backward(Tensor output, Tensor diff_output) {
    Gradients gradients(*this);
    gradients.set(output, diff_output);
    for (auto operation = operations_.rbegin(); operation != operations_.rend(); ++operation)
        if (gradients.of((*operation)->output()) >= 0) (*operation)->backward(program_, gradients);
    packed_.unpack(program_);
}

Tensor Gradients::of(Tensor tensor) const {
    const auto found = gradients_.find(tensor);
    return found == gradients_.end() ? -1 : found->second;
}

bool Gradients::wanted(Tensor tensor) const {
    return tensor != graph_.bound_input_ && tensor != graph_.rounded_input_;
}

GradientDestination Gradients::destination(Tensor tensor) {
    if (const Tensor known = of(tensor); known >= 0) return {known, Write::accumulate};
    TensorSpec spec = graph_.program_[tensor];
    spec.name = "gradient of " + spec.name;
    spec.external = false;
    const Tensor added = graph_.program_.add(spec);
    set(tensor, added);
    return {added, Write::overwrite};
}

Tensor Gradients::value(Tensor tensor) {
    for (const auto& operation : graph_.operations_) {
        if (operation->output() != tensor || !operation->rebuilds()) continue;
        if (const auto found = rebuilt_.find(tensor); found != rebuilt_.end()) return found->second;
        TensorSpec spec = graph_.program_[tensor];
        spec.name += " rebuilt";
        const Tensor again = graph_.program_.add(spec);
        operation->rebuild(graph_.program_, again);
        return rebuilt_[tensor] = again;
    }
    return tensor;
}

}  // namespace iwseg
