#include "engine/ops/conv.h"

#include <stdexcept>

#include "engine/graph.h"
#include "engine/lowering.h"
#include "engine/ops/add.h"
#include "engine/ops/pass_gradient.h"
#include "engine/plan.h"
#include "kernels/convolution/convolution.h"

namespace iwseg {
namespace {

/// A convolution on its device, as a plan's calls share it.
struct ReadyConvolution {
    std::shared_ptr<Convolution> convolution;
    ConvolutionPasses passes;
    Parameters parameters;
    ParameterId weight, bias;
    PackedBuffers packed;
    Buffer sums;                                 ///< over the result; none: it leaves none
    std::optional<Normalisation> normalisation;  ///< of the input, which some passes apply on the way
    bool epilogue = false;                       ///< it applies what the next operation makes of the result
    std::optional<PlaneMaker> made;              ///< of the input's channels, planes that are made while it reads them
    std::int64_t made_scratch = 0;               ///< bytes that making them takes
    std::int64_t operations = 0;                 ///< multiplications and additions of a pass

    /// The convolution, told where its packed weights lie.
    Convolution& at_work(const Plan& plan) const {
        const auto place = [&](Buffer buffer) { return buffer ? plan[buffer].data : nullptr; };
        convolution->use_packed(place(packed.weights), place(packed.gradient));
        convolution->use_sums(place(sums));
        if (normalisation) convolution->use_normalisation(normalisation->values(plan), normalisation->weights());
        return *convolution;
    }
    const float* weight_values() const { return parameters.device_value(weight); }
    const float* bias_values() const { return bias ? parameters.device_value(bias) : nullptr; }
    float* bias_gradient() const { return bias ? parameters.device_gradient(bias) : nullptr; }
};
using SharedConvolution = std::shared_ptr<const ReadyConvolution>;

/// Where a forward pass leaves its results, and what its epilogue is completed with before each.
struct LoweredEpilogue {
    bool applied = false;
    Buffer dst;     ///< the convolution's result or, unless both are wanted, what the epilogue makes of it
    Buffer beside;  ///< what the epilogue makes of it, where both are wanted
    EpilogueOperands operands = {};

    void complete(const Plan& plan, Convolution& convolution) const {
        if (!applied) return;
        Epilogue epilogue;
        if (operands.statistics) epilogue.statistics = operands.values(plan), epilogue.weights = operands.weights();
        if (beside) epilogue.beside = plan[beside];
        convolution.use_epilogue(epilogue);
    }
};

LoweredEpilogue lower_epilogue(const Lowering& lowering, bool applied) {
    LoweredEpilogue lowered{.applied = applied, .dst = lowering.output(), .beside = {}};
    if (!applied) return lowered;
    lowered.operands = lowering.epilogue_operands();
    (lowering.epilogue()->beside ? lowered.beside : lowered.dst) = lowering.epilogue_output();
    return lowered;
}

/// A forward pass without what it runs: what it reads and writes, but for a summand.
Call forward_call(const Lowering& lowering, const ReadyConvolution& ready, const LoweredEpilogue& epilogue, Buffer src,
                  Buffer scratch) {
    Call call{lowering.name() + " forward", "convolution forward", {src}, {scratch, epilogue.dst}, {}};
    call.operations = ready.operations;
    if (epilogue.operands.statistics) call.reads.push_back(epilogue.operands.statistics);
    if (epilogue.beside) call.writes.push_back(epilogue.beside);
    if (ready.convolution->normalises().forward) call.reads.push_back(ready.normalisation->statistics);
    if (ready.packed.weights) call.reads.push_back(ready.packed.weights);
    if (ready.sums) {
        call.writes.push_back(ready.sums);
        call.bytes_outside = lowering.program()[ready.sums].bytes();
    }
    return call;
}

/// Whether memory is worth going through the source slab by slab of planes: of large ones, and of deep ones, as slabs
/// lie beside them meanwhile and, but of a kernel of one plane, have edges that are read twice. 1x1x1 goes by voxels.
/// Bytes are counted as of f32, so that one rule is for all types.
bool wants_slabs(const Lowering& lowering, const ConvolutionOptions& options) {
    constexpr std::int64_t kLargeBytes = 16 << 20, kDeep = 32, kSomeSlabs = 8;
    const std::int64_t planes = options.kernel == 1 ? 1 : options.kernel.d == 1 ? kSomeSlabs : kDeep;
    return !lowering.training() && bytes_of(options.src, Type::f32, options.src_layout) >= kLargeBytes &&
           options.src.d >= planes;
}

/// While it lives, a convolution has planes made as it asks for them, where it does.
class MakingPlanes {
  public:
    MakingPlanes(const ReadyConvolution& ready, const Plan& plan, Buffer scratch)
        : ready_(ready), plan_(plan), scratch_(scratch) {
        if (ready.made)  // one pointer, for which a std::function allocates nothing
            ready.convolution->use_made([this](std::int64_t first, View planes) {
                ready_.made->make(plan_, first, planes, plan_[scratch_].data);
            });
    }
    ~MakingPlanes() {
        if (ready_.made) ready_.convolution->use_made({});
    }
    MakingPlanes(const MakingPlanes&) = delete;
    MakingPlanes& operator=(const MakingPlanes&) = delete;

  private:
    const ReadyConvolution& ready_;
    const Plan& plan_;
    Buffer scratch_;
};

/// Inputs: what is convolved and, where it is fused with a sum, what the result is added to.
class ConvOperation final : public Operation {
  public:
    ConvOperation(ConvOptions options, bool adds) : options_(std::move(options)), adds_(adds) {}

    std::string name() const override { return options_.name; }
    std::vector<Shape> outputs(const std::vector<Shape>& inputs) const override;
    std::vector<ParameterSpec> parameters(const std::vector<Shape>& inputs) const override;
    FormRule form_rule() const override { return FormRule::own; }
    Form input_form(const InputForm& input) const override;
    Form output_form(int output, const Form& wanted, const Form& usual) const override;
    std::shared_ptr<const Operation> followed_by(const Operation& next, int operand) const override;
    void prepare(const Lowering& lowering) const override;
    std::optional<ChannelSums> channel_sums(const Lowering& lowering) const override;
    void forward(const Lowering& lowering) const override;
    void backward(const Lowering& lowering) const override;

  private:
    /// As kernels are asked for it, but for layouts and types.
    ConvolutionOptions described(const Shape& src) const {
        ConvolutionOptions options;
        options.src = src;
        options.dst_channels = options_.channels;
        options.kernel = options_.kernel;
        options.stride = options_.stride;
        options.groups = options_.groups;
        options.bias = options_.bias;
        return options;
    }
    void make(const Lowering& lowering, const ConvolutionOptions& options, ReadyConvolution& ready) const;
    void add_data_gradient(const Lowering& lowering, Buffer diff_dst, Buffer diff_src) const;

    ConvOptions options_;
    bool adds_;
};

std::vector<Shape> ConvOperation::outputs(const std::vector<Shape>& inputs) const {
    const ConvolutionOptions options = described(inputs.at(0));
    try {
        options.check();
    } catch (const std::invalid_argument& error) {
        throw std::invalid_argument(options_.name + ": " + error.what());
    }
    return {options.dst()};
}

std::vector<ParameterSpec> ConvOperation::parameters(const std::vector<Shape>& inputs) const {
    const ConvolutionOptions options = described(inputs.at(0));
    const Initial initial = Initial::kaiming_uniform(options.inputs() * options.taps());
    const auto [d, h, w] = options_.kernel;
    std::vector<ParameterSpec> specs{
        {options_.name + ".weight", {options_.channels, options.inputs(), d, h, w}, initial}};
    if (options_.bias) specs.push_back({options_.name + ".bias", {options_.channels}, initial});
    return specs;
}

Form ConvOperation::input_form(const InputForm& input) const {
    if (input.input == 1) return input.output;
    // Few channels, an image's, are read as they lie; a block of channels would be mostly zeros.
    constexpr std::int64_t kFewChannels = 15;
    if (input.given.layout == Layout::ncdhw && input.shape.c <= kFewChannels && options_.groups == 1)
        return {input.usual.type, Layout::ncdhw};
    return input.usual;
}

Form ConvOperation::output_form(int, const Form& wanted, const Form& usual) const {
    // Logits are written plain; no backend has that for more of them or another kernel.
    constexpr int kFewLogits = 7;
    const bool pointwise = options_.kernel == 1 && options_.stride == 1 && options_.groups == 1;
    return pointwise && options_.channels <= kFewLogits ? wanted : usual;
}

std::shared_ptr<const Operation> ConvOperation::followed_by(const Operation& next, int) const {
    if (adds_ || !dynamic_cast<const AddOperation*>(&next)) return nullptr;
    return std::make_shared<ConvOperation>(options_, true);
}

void ConvOperation::prepare(const Lowering& lowering) const {
    const Context& context = lowering.context();
    const BufferSpec &src = lowering.program()[lowering.input(0)], &dst = lowering.program()[lowering.output()];
    ConvolutionOptions options = described(src.shape);
    options.src_layout = src.form.layout;
    options.src_type = src.form.type;
    options.dst_layout = dst.form.layout;
    options.dst_type = dst.form.type;
    options.write = adds_ ? Write::accumulate : Write::overwrite;
    auto ready = std::make_shared<ReadyConvolution>();
    ready->normalisation = lowering.normalisation_of(0);
    options.normalises = ready->normalisation.has_value();
    options.epilogue = lowering.epilogue().value_or(EpilogueForm());
    options.in_place = wants_slabs(lowering, options) && !lowering.wanted_later(0);
    options.sums = lowering.statistics_wanted();
    options.deterministic = context.deterministic();
    options.tf32 = context.tf32();
    options.plan_file = context.plan_file();
    ready->passes = {lowering.wants_gradient(0), lowering.training()};
    ready->parameters = lowering.parameters();
    ready->weight = lowering.parameter(0);
    if (options_.bias) ready->bias = lowering.parameter(1);
    ready->operations = 2 * options.dst().elements() * options.inputs() * options.taps();
    make(lowering, options, *ready);
    ready->packed = lowering.packed_weights().add(lowering.program(), ready->convolution->weight_form(), ready->weight,
                                                  ready->bias, ready->passes.backward_weights);
    if (ready->convolution->normalises().forward) lowering.leave_out(0);
    ready->epilogue = options.epilogue.wanted && ready->convolution->takes_epilogue();
    if (ready->epilogue) lowering.take_epilogue();
    if (const std::int64_t bytes = ready->convolution->sums_bytes(); bytes > 0)
        ready->sums = lowering.program().add_bytes(name() + " sums", bytes);
    lowering.state() = SharedConvolution(std::move(ready));
}

/// With its input's planes made while it reads them, where both sides can.
void ConvOperation::make(const Lowering& lowering, const ConvolutionOptions& options, ReadyConvolution& ready) const {
    const auto made_of = [&](const ConvolutionOptions& of) {
        return lowering.device().make_convolution(lowering.context().stream(), of, ready.passes);
    };
    if (auto made = options.in_place ? lowering.planes_of(0) : std::nullopt) {
        ConvolutionOptions reads_planes = options;
        reads_planes.made = made->made;
        ready.convolution = made_of(reads_planes);
        if (const std::int64_t planes = ready.convolution->made_planes(); planes > 0) {
            ready.made_scratch = made->prepare(planes);
            made->prepare = nullptr;
            lowering.leave_out(*made);
            ready.made = std::move(made);
            return;
        }
    }
    ready.convolution = made_of(options);
}

std::optional<ChannelSums> ConvOperation::channel_sums(const Lowering& lowering) const {
    const auto ready = std::any_cast<SharedConvolution>(lowering.state());
    if (!ready->sums) return std::nullopt;
    return ChannelSums{
        ready->sums, [=](const Plan& plan, float epsilon, BatchNormStatistics statistics, RunningStatistics running) {
            ready->convolution->statistics(plan.stream(), plan[ready->sums].data, epsilon, statistics, running);
        }};
}

void ConvOperation::forward(const Lowering& lowering) const {
    const auto ready = std::any_cast<SharedConvolution>(lowering.state());
    const Buffer scratch = lowering.scratch(ready->convolution->scratch_bytes());
    const Buffer src = ready->convolution->normalises().forward ? ready->normalisation->input
                       : ready->made                            ? ready->made->rest
                                                                : lowering.input(0);
    const Buffer made_scratch = ready->made ? lowering.scratch(ready->made_scratch) : Buffer();
    const LoweredEpilogue epilogue = lower_epilogue(lowering, ready->epilogue);
    const Buffer dst = epilogue.dst;
    Call call = forward_call(lowering, *ready, epilogue, src, scratch);
    if (ready->made) {
        call.reads.insert(call.reads.end(), ready->made->reads.begin(), ready->made->reads.end());
        call.writes.push_back(made_scratch);
        call.operations += ready->made->operations;
    }
    if (adds_ && !ready->made && ready->convolution->adds_elsewhere()) {
        const Buffer summand = lowering.input(1);
        call.reads.push_back(summand);
        // Neighbours are read of what is normalised on the way: nothing is written there meanwhile.
        if (summand != src) call.in_place = {summand, dst};
        call.run = [=](const Plan& plan) {
            epilogue.complete(plan, *ready->convolution);
            ready->at_work(plan).forward_sum(plan.stream(), plan[src], ready->weight_values(), ready->bias_values(),
                                             plan[summand], plan[dst], plan[scratch].data);
        };
    } else {
        if (adds_) {  // dst holds what is added to; no work where nobody else reads the summand
            convert(lowering, name() + " summand copied", lowering.input(1), dst);
            call.reads.push_back(dst);
        }
        if (ready->convolution->works_in_place()) call.over = {src, epilogue.beside ? epilogue.beside : dst};
        call.run = [=](const Plan& plan) {
            epilogue.complete(plan, *ready->convolution);
            const MakingPlanes making{*ready, plan, made_scratch};
            ready->at_work(plan).forward(plan.stream(), plan[src], ready->weight_values(), ready->bias_values(),
                                         plan[dst], plan[scratch].data);
        };
    }
    lowering.add(std::move(call));
}

void ConvOperation::backward(const Lowering& lowering) const {
    const auto ready = std::any_cast<SharedConvolution>(lowering.state());
    const bool normalises = ready->convolution->normalises().backward_weights;
    const Buffer diff_dst = lowering.output_gradient(),
                 src = normalises ? ready->normalisation->input : lowering.value(0);
    const Buffer scratch = lowering.scratch(ready->convolution->scratch_bytes());
    // Weights first: the rebuilt input is free when the data gradient is written, and gives its place to it.
    Call call{name() + " weight gradient", "convolution weight gradient", {src, diff_dst}, {scratch}, {}};
    if (normalises) call.reads.push_back(ready->normalisation->statistics);
    call.operations = ready->operations;
    if (ready->packed.gradient) call.writes.push_back(ready->packed.gradient);
    call.run = [=](const Plan& plan) {
        ready->at_work(plan).backward_weights(plan.stream(), plan[src], plan[diff_dst],
                                              ready->parameters.device_gradient(ready->weight), ready->bias_gradient(),
                                              plan[scratch].data);
    };
    lowering.add(std::move(call));
    if (lowering.wants_gradient(0)) {
        const GradientDestination to = lowering.input_gradient(0);
        if (to.write == Write::overwrite) {
            add_data_gradient(lowering, diff_dst, to.buffer);
        } else {
            BufferSpec part = lowering.program()[to.buffer];
            part.name += ", one part";
            const Buffer added = lowering.program().add(part);
            add_data_gradient(lowering, diff_dst, added);
            pass_gradient(lowering, "data gradient sum", added, to);
        }
    }
    if (adds_ && lowering.wants_gradient(1))
        pass_gradient(lowering, "summand gradient", diff_dst, lowering.input_gradient(1));
}

void ConvOperation::add_data_gradient(const Lowering& lowering, Buffer diff_dst, Buffer diff_src) const {
    const auto ready = std::any_cast<SharedConvolution>(lowering.state());
    const Buffer scratch = lowering.scratch(ready->convolution->scratch_bytes());
    Call call{name() + " data gradient", "convolution data gradient", {diff_dst}, {diff_src, scratch}, {}};
    call.operations = ready->operations;
    if (ready->packed.weights) call.reads.push_back(ready->packed.weights);
    call.run = [=](const Plan& plan) {
        ready->at_work(plan).backward_data(plan.stream(), plan[diff_dst], ready->weight_values(), plan[diff_src],
                                           plan[scratch].data);
    };
    lowering.add(std::move(call));
}

}  // namespace

Tensor conv(Tensor x, const ConvOptions& options) {
    ConvOptions named = options;
    if (named.name.empty()) named.name = x.graph->fresh_name("conv");
    return x.graph->add_one(std::make_shared<ConvOperation>(std::move(named), false), {x});
}

}  // namespace iwseg
