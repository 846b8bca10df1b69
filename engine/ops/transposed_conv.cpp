#include "engine/ops/transposed_conv.h"

#include <stdexcept>

#include "base/bytes.h"
#include "engine/graph.h"
#include "engine/lowering.h"
#include "engine/ops/pass_gradient.h"
#include "engine/plan.h"
#include "kernels/convolution/convolution.h"

// It is the data gradient of a convolution from its result to its input, by its stride; that convolution is its own
// data gradient. The weights are that convolution's, (O, C, kernel), in the same order.
namespace iwseg {
namespace {

/// A convolution on its device, as a plan's calls share it.
struct ReadyTransposed {
    std::shared_ptr<Convolution> convolution;
    Parameters parameters;
    ParameterId weight, bias;
    PackedBuffers packed;
    std::int64_t operations = 0;

    /// The convolution, told where its packed weights lie.
    Convolution& at_work(const Plan& plan) const {
        const auto place = [&](Buffer buffer) { return buffer ? plan[buffer].data : nullptr; };
        convolution->use_packed(place(packed.weights), place(packed.gradient));
        return *convolution;
    }
    void add_packed_to(Call& call) const {
        if (packed.weights) call.reads.push_back(packed.weights);
    }
};
using SharedTransposed = std::shared_ptr<const ReadyTransposed>;

class TransposedConvOperation final : public Operation {
  public:
    explicit TransposedConvOperation(TransposedConvOptions options) : options_(std::move(options)) {}

    std::string name() const override { return options_.name; }
    std::vector<Shape> outputs(const std::vector<Shape>& inputs) const override {
        try {
            described(inputs.at(0)).check();
        } catch (const std::invalid_argument& error) {
            throw std::invalid_argument(options_.name + ": " + error.what());
        }
        return {described(inputs[0]).src};
    }
    std::vector<ParameterSpec> parameters(const std::vector<Shape>& inputs) const override;
    FormRule form_rule() const override { return FormRule::own; }
    Form input_form(const InputForm& input) const override { return input.usual; }
    Form output_form(int, const Form&, const Form& usual) const override { return usual; }
    void prepare(const Lowering& lowering) const override;
    std::optional<PlaneMaker> planes(const Lowering& lowering) const override;
    void forward(const Lowering& lowering) const override;
    void backward(const Lowering& lowering) const override;

  private:
    /// The convolution whose data gradient this is, but for layouts and types.
    ConvolutionOptions described(const Shape& x) const {
        ConvolutionOptions options;
        options.kernel = options_.kernel;
        options.stride = options_.stride.value_or(options_.kernel);
        options.padded = options_.stride.has_value();
        const Sides& s = options.stride;
        options.src = {x.n, options_.channels, x.d * s.d, x.h * s.h, x.w * s.w};
        options.dst_channels = x.c;
        return options;
    }
    /// All of it, of so many planes of x.
    ConvolutionOptions convolution_of(const Lowering& lowering, std::int64_t planes) const;
    void add_data_gradient(const Lowering& lowering, Buffer to) const;

    TransposedConvOptions options_;
};

std::vector<ParameterSpec> TransposedConvOperation::parameters(const std::vector<Shape>& inputs) const {
    const auto [d, h, w] = options_.kernel;
    // PyTorch takes the second side of the weights for their fan-in.
    const Initial initial = Initial::kaiming_uniform(std::int64_t{options_.channels} * options_.kernel.product());
    std::vector<ParameterSpec> specs{
        {options_.name + ".weight", {inputs.at(0).c, options_.channels, d, h, w}, initial}};
    if (options_.bias) specs.push_back({options_.name + ".bias", {options_.channels}, initial});
    return specs;
}

ConvolutionOptions TransposedConvOperation::convolution_of(const Lowering& lowering, std::int64_t planes) const {
    const Context& context = lowering.context();
    const BufferSpec &x = lowering.program()[lowering.input(0)], &y = lowering.program()[lowering.output()];
    Shape part = x.shape;
    part.d = planes;
    ConvolutionOptions options = described(part);
    options.src_layout = y.form.layout;
    options.src_type = y.form.type;
    options.dst_layout = x.form.layout;
    options.dst_type = x.form.type;
    options.deterministic = context.deterministic();
    options.tf32 = context.tf32();
    options.plan_file = context.plan_file();
    return options;
}

void TransposedConvOperation::prepare(const Lowering& lowering) const {
    const Context& context = lowering.context();
    const BufferSpec& x = lowering.program()[lowering.input(0)];
    const ConvolutionOptions options = convolution_of(lowering, x.shape.d);
    auto ready = std::make_shared<ReadyTransposed>();
    ready->parameters = lowering.parameters();
    ready->weight = lowering.parameter(0);
    if (options_.bias) ready->bias = lowering.parameter(1);
    ready->operations = 2 * x.shape.elements() * options_.channels * options_.kernel.product();
    ready->convolution = lowering.device().make_convolution(context.stream(), options, {true, lowering.training()});
    ready->packed = lowering.packed_weights().add(lowering.program(), ready->convolution->weight_form(), ready->weight,
                                                  ready->bias, lowering.training());
    lowering.state() = SharedTransposed(std::move(ready));
}

/// Copies planes from..from + to.shape.d of x, whose channels lie in blocks.
void copy_planes(const Plan& plan, View x, std::int64_t from, View to) {
    const std::int64_t block = block_of(x.layout, x.shape.c), plane = x.shape.h * x.shape.w * block * bytes_of(x.type);
    for (std::int64_t b = 0; b * block < x.shape.c; ++b) {
        const Shape part{1, block, to.shape.d, x.shape.h, x.shape.w};
        plan.device().copy(plan.stream(), {x.as<char>() + (b * x.shape.d + from) * plane, part, x.type, x.layout},
                           {to.as<char>() + b * to.shape.d * plane, part, x.type, x.layout});
    }
}

/// Where voxels of x each become some of their own, and x lies in blocks of channels of one sample.
std::optional<PlaneMaker> TransposedConvOperation::planes(const Lowering& lowering) const {
    const auto ready = std::any_cast<SharedTransposed>(lowering.state());
    const Buffer x = lowering.input(0);
    const BufferSpec& spec = lowering.program()[x];
    const Layout layout = spec.form.layout;
    const bool blocked = layout == Layout::blocked8 || layout == Layout::blocked16;
    if (options_.stride || !blocked || spec.shape.n != 1 || ready->packed.weights) return std::nullopt;
    struct Part {
        std::shared_ptr<Convolution> convolution;
        Shape x;
        std::int64_t bytes = 0;  ///< of x's planes, before its scratch
    };
    const auto part = std::make_shared<Part>();
    const int step = options_.kernel.d;
    PlaneMaker maker{.made = {options_.channels, step}, .rest = {}, .reads = {x}, .prepare = {}, .make = {}};
    maker.operations = ready->operations;
    maker.prepare = [=, this](std::int64_t planes) {
        part->x = spec.shape;
        part->x.d = planes / step;
        part->bytes = aligned(bytes_of(part->x, spec.form.type, layout));
        part->convolution = lowering.device().make_convolution(lowering.context().stream(),
                                                               convolution_of(lowering, part->x.d), {true, false});
        return part->bytes + part->convolution->scratch_bytes();
    };
    maker.make = [=, form = spec.form](const Plan& plan, std::int64_t first, View planes, void* scratch) {
        const View of{scratch, part->x, form.type, form.layout};
        copy_planes(plan, plan[x], first / step, of);
        part->convolution->backward_data(plan.stream(), of, ready->parameters.device_value(ready->weight), planes,
                                         static_cast<char*>(scratch) + part->bytes);
        if (ready->bias) plan.device().add_bias(plan.stream(), ready->parameters.device_value(ready->bias), planes);
    };
    return maker;
}

void TransposedConvOperation::forward(const Lowering& lowering) const {
    if (!lowering.output_wanted()) return;
    const auto ready = std::any_cast<SharedTransposed>(lowering.state());
    const Buffer x = lowering.input(0), y = lowering.output();
    const Buffer scratch = lowering.scratch(ready->convolution->scratch_bytes());
    Call call{name() + " forward", "transposed convolution forward", {x}, {y, scratch}, {}};
    call.operations = ready->operations;
    ready->add_packed_to(call);
    call.run = [=](const Plan& plan) {
        ready->at_work(plan).backward_data(plan.stream(), plan[x], ready->parameters.device_value(ready->weight),
                                           plan[y], plan[scratch].data);
        if (ready->bias) plan.device().add_bias(plan.stream(), ready->parameters.device_value(ready->bias), plan[y]);
    };
    lowering.add(std::move(call));
}

void TransposedConvOperation::backward(const Lowering& lowering) const {
    const auto ready = std::any_cast<SharedTransposed>(lowering.state());
    const Buffer diff_y = lowering.output_gradient(), x = lowering.value(0);
    const Buffer scratch = lowering.scratch(ready->convolution->scratch_bytes());
    const BufferSpec& y = lowering.program()[diff_y];
    const Buffer sums =
        ready->bias ? lowering.scratch(lowering.device().channel_sum_scratch_bytes(y.shape, y.form.layout)) : Buffer();
    Call call{name() + " weight gradient", "transposed convolution weight gradient", {x, diff_y}, {scratch}, {}};
    if (sums) call.writes.push_back(sums);
    if (ready->packed.gradient) call.writes.push_back(ready->packed.gradient);
    call.operations = ready->operations;
    call.run = [=](const Plan& plan) {
        const Parameters& parameters = ready->parameters;
        ready->at_work(plan).backward_weights(plan.stream(), plan[diff_y], plan[x],
                                              parameters.device_gradient(ready->weight), nullptr, plan[scratch].data);
        if (sums)
            plan.device().channel_sum(plan.stream(), plan[diff_y], parameters.device_gradient(ready->bias),
                                      plan[sums].data);
    };
    lowering.add(std::move(call));
    if (!lowering.wants_gradient(0)) return;
    const GradientDestination to = lowering.input_gradient(0);
    if (to.write == Write::overwrite) return add_data_gradient(lowering, to.buffer);
    BufferSpec part = lowering.program()[to.buffer];
    part.name += ", one part";
    const Buffer added = lowering.program().add(part);
    add_data_gradient(lowering, added);
    pass_gradient(lowering, "data gradient sum", added, to);
}

void TransposedConvOperation::add_data_gradient(const Lowering& lowering, Buffer to) const {
    const auto ready = std::any_cast<SharedTransposed>(lowering.state());
    const Buffer diff_y = lowering.output_gradient();
    const Buffer scratch = lowering.scratch(ready->convolution->scratch_bytes());
    Call call{name() + " data gradient", "transposed convolution data gradient", {diff_y}, {to, scratch}, {}};
    call.operations = ready->operations;
    ready->add_packed_to(call);
    call.run = [=](const Plan& plan) {
        ready->at_work(plan).forward(plan.stream(), plan[diff_y], ready->parameters.device_value(ready->weight),
                                     nullptr, plan[to], plan[scratch].data);
    };
    lowering.add(std::move(call));
}

}  // namespace

Tensor transposed_conv(Tensor x, const TransposedConvOptions& options) {
    TransposedConvOptions named = options;
    if (named.name.empty()) named.name = x.graph->fresh_name("transposed_conv");
    return x.graph->add_one(std::make_shared<TransposedConvOperation>(std::move(named)), {x});
}

}  // namespace iwseg
