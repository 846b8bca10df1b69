#include <algorithm>
#include <cstdio>
#include <sstream>

#include "base/error.h"
#include "kernels/convolution/cudnn/descriptor.cuh"
#include "kernels/convolution/direct.h"
#include "kernels/convolution/narrow.h"

// Engines come from cuDNN's heuristics: mode A ranks by expected speed, mode fallback takes more problems. From their
// notes it is read which to leave out: those whose sums depend on the order of threads, and those that compute with
// less precision than asked for.
namespace iwseg::cuda {

CudnnError::CudnnError(cudnnStatus_t status, const std::string& doing)
    : std::runtime_error([&] {
          char words[1024] = "";
          cudnnGetLastErrorString(words, sizeof words);
          return "cuDNN failed while " + doing + ": " + cudnnGetErrorString(status) +
                 (*words ? std::string(", ") + words : "");
      }()),
      status_(status) {}

CudnnDescriptor::CudnnDescriptor(int kind) {
    check(cudnnBackendCreateDescriptor(static_cast<cudnnBackendDescriptorType_t>(kind), &descriptor_),
          "making a descriptor");
}

CudnnDescriptor::~CudnnDescriptor() {
    if (descriptor_) cudnnBackendDestroyDescriptor(descriptor_);
}

std::vector<CudnnDescriptor> get_descriptors(void* of, cudnnBackendAttributeName_t attribute,
                                             cudnnBackendDescriptorType_t kind, std::int64_t most) {
    std::vector<CudnnDescriptor> owners;
    std::vector<void*> pointers;
    for (std::int64_t i = 0; i < most; ++i) pointers.push_back(owners.emplace_back(kind).get());
    std::int64_t count = 0;
    check(cudnnBackendGetAttribute(of, attribute, CUDNN_TYPE_BACKEND_DESCRIPTOR, most, &count, pointers.data()),
          "reading attribute " + std::to_string(attribute));
    owners.resize(static_cast<std::size_t>(std::min(count, most)));
    return owners;
}

// ----------------------------------------------------------------------------------------------------------------------

std::string CudnnProblem::name() const {
    const char* passes[] = {"forward", "data gradient", "weight gradient"};
    std::ostringstream out;
    const auto sides = [&](const char* what, const Sides& s) {
        out << ", " << what << " " << s.d;
        if (!(s == s.d)) out << "x" << s.h << "x" << s.w;
    };
    out << passes[static_cast<int>(pass)] << " " << src.n << "x" << src.c << "x" << src.d << "x" << src.h << "x"
        << src.w << " to " << dst_channels;
    sides("kernel", kernel);
    if (!(stride == 1)) sides("stride", stride);
    if (groups != 1) out << ", " << groups << " groups";
    out << (padded || kernel == 1 ? ", " : ", not padded, ")
        << (type == Type::bf16 ? "bf16"
            : tf32             ? "tf32"
                               : "f32")
        << (bias ? ", bias" : "") << (accumulate ? ", sum" : "") << (residual ? ", sum after" : "")
        << (normalises ? ", normalised" : "") << (sums ? ", statistics" : "") << (deterministic ? "" : ", any order");
    return out.str();
}

bool is_for_cudnn(const ConvolutionOptions& options, ConvolutionPasses passes) {
    const auto lies_innermost = [](Layout layout, std::int64_t channels) {
        return layout == Layout::ndhwc || channels == 1;
    };
    const bool innermost =
        lies_innermost(options.src_layout, options.src.c) && lies_innermost(options.dst_layout, options.dst_channels);
    const bool end = takes_last(options) || (takes_first(options) && !passes.backward_data);
    return innermost && !end && options.src_type == options.dst_type;
}

CudnnProblem problem_of(const ConvolutionOptions& options, Pass pass) {
    CudnnProblem problem{options};
    problem.pass = pass;
    problem.type = options.src_type;
    problem.bias = pass == Pass::forward && options.bias;
    problem.accumulate = pass == Pass::forward && options.write == Write::accumulate;
    problem.tf32 = options.src_type == Type::f32 && options.tf32;
    problem.deterministic = options.deterministic;
    problem.normalises = pass != Pass::data && options.normalises && takes_narrow(options);
    problem.sums = pass == Pass::forward && options.sums && takes_narrow(options);
    return problem;
}

std::vector<CudnnProblem> forms_of(const CudnnProblem& problem) {
    std::vector<CudnnProblem> forms{problem};
    if (problem.pass != Pass::forward || !(problem.bias || problem.accumulate)) return forms;
    if (!problem.bias) {
        // By an operation after it the summand may lie elsewhere; the convolution itself adds only to what dst holds.
        forms.push_back(problem);
        forms[0].accumulate = false;
        forms[0].residual = true;
        return forms;
    }
    forms.push_back(problem);
    forms.back().bias = false;
    if (problem.accumulate) {
        // cuDNN takes no bias with a convolution that accumulates, but both as operations after it.
        forms[0].accumulate = false;
        forms[0].residual = true;
    }
    return forms;
}

CudnnTarget::CudnnTarget(const std::string& description) : description_(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR) {
    const auto after = [&](const char* key) {
        const std::size_t at = description.find(std::string("\"") + key + "\"");
        if (at == std::string::npos) throw InputError(std::string("a device description lacks ") + key);
        return description.find_first_not_of(" :\t\n", at + std::string(key).size() + 2);
    };
    capability_ = std::atoi(description.c_str() + after("deviceVer")) / 10;
    const std::size_t name = after("deviceName") + 1;
    name_ = description.substr(name, description.find('"', name) - name);
    set(description_, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION,
        std::vector<char>(description.begin(), description.end()));
    finalise(description_, "a device description");
}

void require_bf16(int capability, const std::string& card) {
    if (capability >= 80) return;
    throw InputError("precision bf16 needs a GPU of compute capability 8.0 or newer, and " + card + " has " +
                     std::to_string(capability / 10) + "." + std::to_string(capability % 10) + "; use precision fp32");
}

std::string CudnnEngine::text() const {
    std::ostringstream out;
    out << index << ":";
    for (std::size_t i = 0; i < knobs.size(); ++i) out << (i ? "," : "") << knobs[i].first << "=" << knobs[i].second;
    return out.str();
}

std::optional<CudnnEngine> CudnnEngine::parse(const std::string& text) {
    std::istringstream in(text);
    CudnnEngine engine;
    char colon = 0, comma = ',';
    if (!(in >> engine.index >> colon) || colon != ':') return std::nullopt;
    while (comma == ',' && in.peek() != EOF) {
        int knob = 0;
        std::int64_t value = 0;
        char equals = 0;
        if (!(in >> knob >> equals >> value) || equals != '=') return std::nullopt;
        engine.knobs.emplace_back(knob, value);
        if (!(in >> comma)) return engine;
    }
    if (comma != ',') return std::nullopt;
    return engine;
}

// ----------------------------------------------------------------------------------------------------------------------

namespace {

constexpr std::int64_t kMostEngines = 100;  ///< of one mode; 40 have been seen

/// Describes a graph: a convolution, and after a forward one the additions that are fused with it.
class GraphBuilder {
  public:
    GraphBuilder(const CudnnProblem& problem, std::vector<CudnnDescriptor>& parts) : problem_(problem), parts_(parts) {}

    /// The operations, in order.
    std::vector<void*> build() {
        const Sides& k = problem_.kernel;
        // Of how many groups cuDNN reads from the channels of src and of the weights.
        const Shape weights{problem_.dst_channels, problem_.inputs(), k.d, k.h, k.w};
        const cudnnDataType_t type = problem_.type == Type::bf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
        const bool fused = problem_.bias || problem_.residual;
        std::size_t result =
            tensor(fused ? kFirstBetween : kDst, problem_.dst(), fused ? CUDNN_DATA_FLOAT : type, fused);
        const std::size_t src = tensor(kSrc, problem_.src, type), weight = tensor(kWeights, weights, type);
        std::vector<void*> operations{parts_[convolution(src, weight, result)].get()};
        if (problem_.bias) {
            const bool last = !problem_.residual;
            const std::size_t bias = tensor(kBias, {1, problem_.dst_channels, 1, 1, 1}, type);
            const std::size_t sum =
                tensor(last ? kDst : kFirstBetween + 1, problem_.dst(), last ? type : CUDNN_DATA_FLOAT, !last);
            operations.push_back(parts_[add(result, bias, sum)].get());
            result = sum;
        }
        if (problem_.residual) {
            const std::size_t before = tensor(kResidual, problem_.dst(), type);
            operations.push_back(parts_[add(result, before, tensor(kDst, problem_.dst(), type))].get());
        }
        return operations;
    }

  private:
    static constexpr std::int64_t kFirstBetween = 10;  ///< ids of tensors that never reach memory

    std::size_t made(CudnnDescriptor one, const char* what) {
        finalise(one, what);
        parts_.push_back(std::move(one));
        return parts_.size() - 1;
    }

    /// (N, C, D, H, W) with channels innermost; for weights (O, C / groups, kernel).
    std::size_t tensor(std::int64_t number, const Shape& s, cudnnDataType_t type, bool between = false) {
        CudnnDescriptor one(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
        set(one, CUDNN_ATTR_TENSOR_DATA_TYPE, type);
        set(one, CUDNN_ATTR_TENSOR_DIMENSIONS, std::vector<std::int64_t>{s.n, s.c, s.d, s.h, s.w});
        set(one, CUDNN_ATTR_TENSOR_STRIDES,
            std::vector<std::int64_t>{s.elements() / s.n, 1, s.h * s.w * s.c, s.w * s.c, s.c});
        set(one, CUDNN_ATTR_TENSOR_UNIQUE_ID, number);
        set(one, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, std::int64_t{16});
        if (between) set(one, CUDNN_ATTR_TENSOR_IS_VIRTUAL, true);
        return made(std::move(one), "a tensor");
    }

    std::size_t convolution(std::size_t src, std::size_t weights, std::size_t dst) {
        CudnnDescriptor how(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
        const auto axes = [](const Sides& s) { return std::vector<std::int64_t>{s.d, s.h, s.w}; };
        const std::vector<std::int64_t> padding = axes(problem_.padding());
        set(how, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, std::int64_t{3});
        set(how, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT);
        set(how, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_CROSS_CORRELATION);
        set(how, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, padding);
        set(how, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, padding);
        set(how, CUDNN_ATTR_CONVOLUTION_DILATIONS, axes(1));
        set(how, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, axes(problem_.stride));
        const std::size_t described = made(std::move(how), "a convolution");
        struct Names {
            cudnnBackendDescriptorType_t operation;
            cudnnBackendAttributeName_t src, weights, dst, how, alpha, beta;
        };
        static constexpr Names kNames[] = {
            {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
             CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
             CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
             CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
            {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
             CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
             CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
             CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA},
            {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
             CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
             CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
             CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA}};
        const Names& names = kNames[static_cast<int>(problem_.pass)];
        CudnnDescriptor one(names.operation);
        set(one, names.src, parts_[src]);
        set(one, names.weights, parts_[weights]);
        set(one, names.dst, parts_[dst]);
        set(one, names.how, parts_[described]);
        set(one, names.alpha, 1.0f);
        set(one, names.beta, problem_.accumulate ? 1.0f : 0.0f);
        return made(std::move(one), "a convolution's operation");
    }

    std::size_t add(std::size_t a, std::size_t b, std::size_t sum) {
        CudnnDescriptor how(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
        set(how, CUDNN_ATTR_POINTWISE_MODE, CUDNN_POINTWISE_ADD);
        set(how, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT);
        const std::size_t described = made(std::move(how), "an addition");
        CudnnDescriptor one(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
        set(one, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, parts_[described]);
        set(one, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, parts_[a]);
        set(one, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, parts_[b]);
        set(one, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, parts_[sum]);
        return made(std::move(one), "an addition's operation");
    }

    const CudnnProblem& problem_;
    std::vector<CudnnDescriptor>& parts_;
};

template <class Note>
bool has(const std::vector<Note>& notes, Note note) {
    return std::find(notes.begin(), notes.end(), note) != notes.end();
}

}  // namespace

CudnnPlanSearch::CudnnPlanSearch(const CudnnTarget& target, CudnnProblem problem)
    : target_(target), problem_(std::move(problem)) {
    if (problem_.type == Type::bf16) require_bf16(target.capability(), target.name());
    try {
        const std::vector<void*> operations = GraphBuilder(problem_, parts_).build();
        graph_ = CudnnDescriptor(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
        check(cudnnBackendSetAttribute(graph_.get(), CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                       static_cast<std::int64_t>(operations.size()), operations.data()),
              "setting a graph's operations");
        if (target.handle()) set(graph_, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, target.handle());
        finalise(graph_, "a graph");
    } catch (const CudnnError& error) {
        graph_ = CudnnDescriptor();
        if (error.unsupported()) return;
        throw std::runtime_error("convolution " + problem_.name() + ": " + error.what());
    }
}

/// A copy of both tensors, which engines that turn layouts take, and a little; more is not worth its place in memory.
std::int64_t CudnnPlanSearch::most_workspace() const {
    return bytes_of(problem_.src, problem_.type, Layout::ndhwc) +
           bytes_of(problem_.dst(), problem_.type, Layout::ndhwc) + (std::int64_t{32} << 20);
}

std::vector<CudnnEngine> CudnnPlanSearch::engines() const {
    std::vector<CudnnEngine> all = engines(CUDNN_HEUR_MODE_A);
    for (CudnnEngine& engine : engines(CUDNN_HEUR_MODE_FALLBACK))
        if (std::none_of(all.begin(), all.end(), [&](const CudnnEngine& e) { return e.text() == engine.text(); }))
            all.push_back(std::move(engine));
    return all;
}

std::vector<CudnnEngine> CudnnPlanSearch::engines(int mode) const {
    std::vector<CudnnEngine> engines;
    if (!graph_.get()) return engines;
    try {
        const CudnnDescriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
        set(heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph_);
        set(heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, static_cast<cudnnBackendHeurMode_t>(mode));
        if (!target_.handle()) set(heuristics, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, target_.description());
        // No engine at all is told as a failure here.
        const cudnnStatus_t status = cudnnBackendFinalize(heuristics.get());
        if (is_unsupported(status)) return engines;
        check(status, "asking for engines");
        for (const CudnnDescriptor& configuration : get_descriptors(heuristics.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                                                    CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, kMostEngines))
            if (auto engine = admitted(configuration.get())) engines.push_back(std::move(*engine));
    } catch (const CudnnError& error) {
        throw std::runtime_error("convolution " + problem_.name() + ": " + error.what());
    }
    return engines;
}

std::optional<CudnnEngine> CudnnPlanSearch::admitted(void* configuration) const {
    const auto engines =
        get_descriptors(configuration, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_BACKEND_ENGINE_DESCRIPTOR, 1);
    if (engines.size() != 1) return std::nullopt;
    void* engine = engines[0].get();
    const auto numerical =
        get<cudnnBackendNumericalNote_t>(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_NUMERICAL_NOTE_TYPE_COUNT);
    const auto behaviour =
        get<cudnnBackendBehaviorNote_t>(engine, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_BEHAVIOR_NOTE_TYPE_COUNT);
    if (problem_.deterministic && has(numerical, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC)) return std::nullopt;
    if (has(numerical, CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION)) return std::nullopt;
    const bool exact = problem_.type == Type::f32 && !problem_.tf32;
    // f32 goes through tensor cores as TF32 only.
    if (exact &&
        (has(numerical, CUDNN_NUMERICAL_NOTE_TENSOR_CORE) || has(numerical, CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS)))
        return std::nullopt;
    CudnnEngine one;
    one.index = get<std::int64_t>(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX).at(0);
    one.compiled_at_run_time = has(behaviour, CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION);
    for (const CudnnDescriptor& choice : get_descriptors(configuration, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES,
                                                         CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, CUDNN_KNOB_TYPE_COUNTS))
        one.knobs.emplace_back(get<cudnnBackendKnobType_t>(choice.get(), CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE).at(0),
                               get<std::int64_t>(choice.get(), CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE).at(0));
    return one;
}

std::optional<CudnnPlan> CudnnPlanSearch::plan(const CudnnEngine& engine, std::string& why_not) const {
    if (!graph_.get()) {
        why_not = "cuDNN does not support it";
        return std::nullopt;
    }
    try {
        const CudnnDescriptor one(CUDNN_BACKEND_ENGINE_DESCRIPTOR), configuration(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
        set(one, CUDNN_ATTR_ENGINE_OPERATION_GRAPH, graph_);
        set(one, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, engine.index);
        if (!target_.handle()) set(one, CUDNN_ATTR_ENGINE_DEVICEPROP, target_.description());
        finalise(one, "an engine");
        set(configuration, CUDNN_ATTR_ENGINECFG_ENGINE, one);
        std::vector<CudnnDescriptor> choices;
        std::vector<void*> pointers;
        for (const auto& [knob, value] : engine.knobs) {
            const CudnnDescriptor& choice = choices.emplace_back(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR);
            set(choice, CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, static_cast<cudnnBackendKnobType_t>(knob));
            set(choice, CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, value);
            finalise(choice, "a knob");
            pointers.push_back(choice.get());
        }
        if (!pointers.empty())
            check(cudnnBackendSetAttribute(configuration.get(), CUDNN_ATTR_ENGINECFG_KNOB_CHOICES,
                                           CUDNN_TYPE_BACKEND_DESCRIPTOR, static_cast<std::int64_t>(pointers.size()),
                                           pointers.data()),
                  "setting an engine's knobs");
        finalise(configuration, "an engine's configuration");
        CudnnPlan made{CudnnDescriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR), engine};
        set(made.plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configuration);
        if (target_.handle())
            set(made.plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, target_.handle());
        else
            set(made.plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, target_.description());
        finalise(made.plan, "a plan");
        made.workspace_bytes = get<std::int64_t>(made.plan.get(), CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE).at(0);
        if (made.workspace_bytes <= most_workspace()) return made;
        why_not = "it takes " + std::to_string(made.workspace_bytes >> 20) + " MiB of workspace";
    } catch (const CudnnError& error) {
        why_not = error.what();
    }
    return std::nullopt;
}

}  // namespace iwseg::cuda
