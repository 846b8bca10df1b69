// cuDNN's descriptors: what may be set, what must be there to finalise, what can be read.
#include <algorithm>
#include <set>

#include "tests/cuda_standin/cudnn_descriptor.h"
#include "tests/cuda_standin/queue.h"

namespace iwseg::standin {
namespace {

struct State {
    std::set<void*> descriptors;
    std::set<cudnnHandle_t> handles;
    std::string words;
};

State& state() {
    static State one;
    return one;
}

/// What the caller holds: descriptors that a finalised one refers to live on within it.
struct Held {
    std::shared_ptr<Descriptor> shared = std::make_shared<Descriptor>();
};

Held* held(cudnnBackendDescriptor_t descriptor) {
    return state().descriptors.count(descriptor) ? static_cast<Held*>(descriptor) : nullptr;
}

struct Rule {
    cudnnBackendDescriptorType_t kind;
    cudnnBackendAttributeName_t name;
    cudnnBackendAttributeType_t type;
    std::int64_t most;
    bool required;
};

constexpr std::int64_t kMany = 1000;

/// What may be set, and how many values of it.
const Rule kRules[] = {
    {CUDNN_BACKEND_TENSOR_DESCRIPTOR, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, true},
    {CUDNN_BACKEND_TENSOR_DESCRIPTOR, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 5, true},
    {CUDNN_BACKEND_TENSOR_DESCRIPTOR, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 5, true},
    {CUDNN_BACKEND_TENSOR_DESCRIPTOR, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, true},
    {CUDNN_BACKEND_TENSOR_DESCRIPTOR, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, true},
    {CUDNN_BACKEND_TENSOR_DESCRIPTOR, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, false},
    {CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, true},
    {CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, true},
    {CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, true},
    {CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 3, true},
    {CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 3, true},
    {CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 3, true},
    {CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 3, true},
#define IWSEG_CONVOLUTION(kind, name, x, w, y)                            \
    {kind, name##_##x, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, true},           \
        {kind, name##_##w, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, true},       \
        {kind, name##_##y, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, true},       \
        {kind, name##_CONV_DESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, true}, \
        {kind, name##_ALPHA, CUDNN_TYPE_FLOAT, 1, true}, {                \
        kind, name##_BETA, CUDNN_TYPE_FLOAT, 1, true                      \
    }
    IWSEG_CONVOLUTION(CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD,
                      X, W, Y),
    IWSEG_CONVOLUTION(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA, DX, W, DY),
    IWSEG_CONVOLUTION(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER, X, DW, DY),
#undef IWSEG_CONVOLUTION
    {CUDNN_BACKEND_POINTWISE_DESCRIPTOR, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, true},
    {CUDNN_BACKEND_POINTWISE_DESCRIPTOR, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, true},
    {CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR,
     CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, true},
    {CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR,
     1, true},
    {CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR,
     1, true},
    {CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR,
     1, true},
    {CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, kMany,
     true},
    {CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, true},
    {CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
     true},
    {CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, true},
    {CUDNN_BACKEND_ENGINE_DESCRIPTOR, CUDNN_ATTR_ENGINE_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, true},
    {CUDNN_BACKEND_ENGINE_DESCRIPTOR, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, true},
    {CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, true},
    {CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_TYPE_BACKEND_DESCRIPTOR, kMany,
     false},
    {CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, 1, true},
    {CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64, 1, true},
    {CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
     true},
    {CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, true},
    {CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, kMany, true},
    {CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, kMany, true},
    {CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, false},
};

std::size_t size_of(cudnnBackendAttributeType_t type) {
    switch (type) {
        case CUDNN_TYPE_BOOLEAN:
        case CUDNN_TYPE_CHAR:
            return 1;
        case CUDNN_TYPE_INT64:
        case CUDNN_TYPE_VOID_PTR:
        case CUDNN_TYPE_HANDLE:
        case CUDNN_TYPE_BACKEND_DESCRIPTOR:
            return 8;
        default:
            return 4;
    }
}

template <class T>
Attribute values(cudnnBackendAttributeType_t type, const std::vector<T>& all) {
    const auto* first = reinterpret_cast<const char*>(all.data());
    return {type, static_cast<std::int64_t>(all.size()), {first, first + all.size() * sizeof(T)}, {}};
}

Attribute descriptors(std::vector<std::shared_ptr<const Descriptor>> all) {
    const auto count = static_cast<std::int64_t>(all.size());
    return {CUDNN_TYPE_BACKEND_DESCRIPTOR, count, {}, std::move(all)};
}

bool takes(const Engine& engine, const ConvolutionGraph& graph) {
    const bool pass = graph.pass == GraphPass::forward ? engine.forward
                      : graph.pass == GraphPass::data  ? engine.data
                                                       : engine.weights;
    const bool plain = graph.groups == 1 && graph.stride == 1;
    return pass && (plain || !engine.plain_only) && (graph.additions.empty() || engine.fuses);
}

/// As heuristics give it: an engine with its notes, and how its knobs are set.
std::shared_ptr<const Descriptor> configuration_of(const Engine& engine, std::shared_ptr<const Descriptor> graph) {
    auto one = std::make_shared<Descriptor>(), configuration = std::make_shared<Descriptor>();
    one->kind = CUDNN_BACKEND_ENGINE_DESCRIPTOR;
    configuration->kind = CUDNN_BACKEND_ENGINECFG_DESCRIPTOR;
    one->finalised = configuration->finalised = true;
    std::vector<cudnnBackendNumericalNote_t> numerical;
    if (engine.tensor_cores)
        numerical.insert(numerical.end(), {CUDNN_NUMERICAL_NOTE_TENSOR_CORE, CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS});
    if (engine.any_order) numerical.push_back(CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC);
    std::vector<cudnnBackendBehaviorNote_t> behaviour;
    if (engine.compiled_at_run_time) behaviour.push_back(CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION);
    one->attributes[CUDNN_ATTR_ENGINE_OPERATION_GRAPH] = descriptors({std::move(graph)});
    one->attributes[CUDNN_ATTR_ENGINE_GLOBAL_INDEX] = values<std::int64_t>(CUDNN_TYPE_INT64, {engine.index});
    one->attributes[CUDNN_ATTR_ENGINE_NUMERICAL_NOTE] = values(CUDNN_TYPE_NUMERICAL_NOTE, numerical);
    one->attributes[CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE] = values(CUDNN_TYPE_BEHAVIOR_NOTE, behaviour);
    std::vector<std::shared_ptr<const Descriptor>> choices;
    for (const auto& [knob, value] : engine.knobs) {
        auto choice = std::make_shared<Descriptor>();
        choice->kind = CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR;
        choice->finalised = true;
        choice->attributes[CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE] = values<int>(CUDNN_TYPE_KNOB_TYPE, {knob});
        choice->attributes[CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE] = values<std::int64_t>(CUDNN_TYPE_INT64, {value});
        choices.push_back(choice);
    }
    configuration->attributes[CUDNN_ATTR_ENGINECFG_ENGINE] = descriptors({one});
    configuration->attributes[CUDNN_ATTR_ENGINECFG_KNOB_CHOICES] = descriptors(choices);
    return configuration;
}

cudnnStatus_t finalise_heuristics(Descriptor& heuristics) {
    std::string why_not;
    const auto graph = read_graph(heuristics.other(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH), why_not);
    const bool fallback = heuristics.value<int>(CUDNN_ATTR_ENGINEHEUR_MODE) == CUDNN_HEUR_MODE_FALLBACK;
    std::vector<std::shared_ptr<const Descriptor>> results;
    for (const Engine& engine : offered_engines())
        if (graph && engine.fallback == fallback && takes(engine, *graph))
            results.push_back(
                configuration_of(engine, heuristics.attributes[CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH].others[0]));
    if (results.empty()) return refuse(CUDNN_STATUS_NOT_SUPPORTED, "no engine takes the graph");
    heuristics.attributes[CUDNN_ATTR_ENGINEHEUR_RESULTS] = descriptors(results);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t finalise_plan(Descriptor& plan) {
    const Descriptor& configuration = plan.other(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
    const Descriptor& engine = configuration.other(CUDNN_ATTR_ENGINECFG_ENGINE);
    Engine wanted;
    wanted.index = engine.value<std::int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX);
    if (configuration.has(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES))
        for (const auto& choice : configuration.attributes.at(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES).others)
            wanted.knobs.emplace_back(choice->value<int>(CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE),
                                      choice->value<std::int64_t>(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE));
    std::string why_not;
    const auto graph = read_graph(engine.other(CUDNN_ATTR_ENGINE_OPERATION_GRAPH), why_not);
    if (!graph) return refuse(CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN, why_not);
    const auto& all = offered_engines();
    const auto found = std::find_if(all.begin(), all.end(), [&](const Engine& e) { return e.text() == wanted.text(); });
    if (found == all.end() || found->refused_as_plan || !takes(*found, *graph))
        return refuse(CUDNN_STATUS_NOT_SUPPORTED, "engine " + wanted.text() + " does not take the graph");
    plan.engine = std::make_shared<Engine>(*found);
    plan.attributes[CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE] =
        values<std::int64_t>(CUDNN_TYPE_INT64, {found->workspace_bytes});
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t finalise(Descriptor& one) {
    std::string why_not;
    switch (one.kind) {
        case CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR:
            return finalise_heuristics(one);
        case CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR:
            return finalise_plan(one);
        case CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR:
            if (!takes_graphs()) return refuse(CUDNN_STATUS_NOT_SUPPORTED, "no such graph");
            return read_graph(one, why_not) ? CUDNN_STATUS_SUCCESS
                                            : refuse(CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN, why_not);
        case CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR:
            if (one.attributes[CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS].count ==
                one.attributes[CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS].count)
                return CUDNN_STATUS_SUCCESS;
            return refuse(CUDNN_STATUS_BAD_PARAM, "as many addresses as numbers of tensors");
        default:
            return CUDNN_STATUS_SUCCESS;
    }
}

}  // namespace

const Descriptor* finalised(cudnnBackendDescriptor_t descriptor) {
    const Held* one = held(descriptor);
    return one && one->shared->finalised ? one->shared.get() : nullptr;
}

cudnnStatus_t refuse(cudnnStatus_t status, const std::string& words) {
    state().words = words;
    return status;
}

}  // namespace iwseg::standin

// ----------------------------------------------------------------------------------------------------------------------

using namespace iwseg::standin;

const char* cudnnGetErrorString(cudnnStatus_t status) {
    return status == CUDNN_STATUS_SUCCESS           ? "CUDNN_STATUS_SUCCESS"
           : status < CUDNN_STATUS_BAD_PARAM        ? "CUDNN_STATUS_NOT_INITIALIZED"
           : status < CUDNN_STATUS_NOT_SUPPORTED    ? "CUDNN_STATUS_BAD_PARAM"
           : status < CUDNN_STATUS_INTERNAL_ERROR   ? "CUDNN_STATUS_NOT_SUPPORTED"
           : status < CUDNN_STATUS_EXECUTION_FAILED ? "CUDNN_STATUS_INTERNAL_ERROR"
                                                    : "CUDNN_STATUS_EXECUTION_FAILED";
}

void cudnnGetLastErrorString(char* words, std::size_t most) {
    const std::size_t length = state().words.copy(words, most - 1);
    words[length] = '\0';
    state().words.clear();
}

std::size_t cudnnGetVersion() {
    return 91900;
}

cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
    const Call call("cudnnCreate", Call::InCapture::forbidden);
    if (call.failure()) return refuse(CUDNN_STATUS_NOT_INITIALIZED, "no handle");
    *handle = new cudnnContext;
    state().handles.insert(*handle);
    ++card().alive.cudnn_handles;
    card().on_destroy = [](cudaStream_t stream) {
        for (const cudnnHandle_t one : state().handles)
            if (one->stream == stream) card().problem("a stream is destroyed that a handle of cuDNN's still has");
    };
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
    const Call call("cudnnDestroy");
    if (!state().handles.erase(handle)) return refuse(CUDNN_STATUS_BAD_PARAM, "no such handle");
    --card().alive.cudnn_handles;
    delete handle;
    return call.failure() ? CUDNN_STATUS_INTERNAL_ERROR : CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
    const Call call("cudnnSetStream");
    handle->stream = nullptr;  // where it fails, the handle has none
    if (call.failure()) return refuse(CUDNN_STATUS_INTERNAL_ERROR, "the stream is not set");
    if (!find(stream)) return refuse(CUDNN_STATUS_BAD_PARAM, "no such stream");
    handle->stream = stream;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t kind, cudnnBackendDescriptor_t* descriptor) {
    const Call call("cudnnBackendCreateDescriptor");
    if (call.failure()) return refuse(CUDNN_STATUS_INTERNAL_ERROR, "no descriptor");
    auto* made = new Held;
    made->shared->kind = kind;
    state().descriptors.insert(made);
    ++card().alive.descriptors;
    *descriptor = made;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
    const Call call("cudnnBackendDestroyDescriptor");
    Held* one = held(descriptor);
    if (!one) {
        card().problem("a descriptor is destroyed that is none");
        return CUDNN_STATUS_BAD_PARAM;
    }
    state().descriptors.erase(one);
    --card().alive.descriptors;
    delete one;
    return call.failure() ? CUDNN_STATUS_INTERNAL_ERROR : CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, std::int64_t count, const void* given) {
    const Call call("cudnnBackendSetAttribute");
    if (call.failure()) return refuse(CUDNN_STATUS_INTERNAL_ERROR, "the attribute is not set");
    Held* one = held(descriptor);
    if (!one || one->shared->finalised) return refuse(CUDNN_STATUS_BAD_PARAM, "a descriptor that takes no attributes");
    const auto* rule = std::find_if(std::begin(kRules), std::end(kRules),
                                    [&](const Rule& r) { return r.kind == one->shared->kind && r.name == name; });
    if (rule == std::end(kRules)) return refuse(CUDNN_STATUS_BAD_PARAM, "no attribute of that descriptor");
    if (rule->type != type) return refuse(CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE, "values of another type");
    if (count < 1 || count > rule->most || !given) return refuse(CUDNN_STATUS_BAD_PARAM, "another number of values");
    Attribute attribute{type, count, {}, {}};
    if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR) {
        for (std::int64_t i = 0; i < count; ++i) {
            const Held* other = held(static_cast<void* const*>(given)[i]);
            if (!other || !other->shared->finalised)
                return refuse(CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED, "an attribute that is not finalised");
            attribute.others.push_back(other->shared);
        }
    } else {
        const auto* first = static_cast<const char*>(given);
        attribute.bytes.assign(first, first + static_cast<std::size_t>(count) * size_of(type));
    }
    one->shared->attributes[name] = std::move(attribute);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, std::int64_t most, std::int64_t* count,
                                       void* to) {
    const Call call("cudnnBackendGetAttribute");
    if (call.failure()) return refuse(CUDNN_STATUS_INTERNAL_ERROR, "the attribute is not read");
    const Held* one = held(descriptor);
    if (!one || !one->shared->finalised)
        return refuse(CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED, "a descriptor that is not finalised");
    const auto found = one->shared->attributes.find(name);
    if (found == one->shared->attributes.end())
        return refuse(CUDNN_STATUS_BAD_PARAM, "no attribute of that descriptor");
    const Attribute& attribute = found->second;
    if (attribute.type != type) return refuse(CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE, "values of another type");
    *count = attribute.count;
    const auto read = static_cast<std::size_t>(std::min(most, attribute.count));
    if (type != CUDNN_TYPE_BACKEND_DESCRIPTOR) {
        if (read > 0) std::memcpy(to, attribute.bytes.data(), read * size_of(type));
        return CUDNN_STATUS_SUCCESS;
    }
    for (std::size_t i = 0; i < read; ++i) {
        Held* slot = held(static_cast<void**>(to)[i]);
        if (!slot || slot->shared->kind != attribute.others[i]->kind)
            return refuse(CUDNN_STATUS_BAD_PARAM, "a descriptor of another kind to read into");
        slot->shared = std::make_shared<Descriptor>(*attribute.others[i]);
    }
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor) {
    const Call call("cudnnBackendFinalize");
    if (call.failure()) return refuse(CUDNN_STATUS_INTERNAL_ERROR, "the descriptor is not finalised");
    Held* one = held(descriptor);
    if (!one || one->shared->finalised)
        return refuse(CUDNN_STATUS_BAD_PARAM, "a descriptor that is finalised, or none");
    for (const Rule& rule : kRules)
        if (rule.kind == one->shared->kind && rule.required && !one->shared->has(rule.name))
            return refuse(CUDNN_STATUS_BAD_PARAM, "attribute " + std::to_string(rule.name) + " is not set");
    const cudnnStatus_t status = finalise(*one->shared);
    one->shared->finalised = status == CUDNN_STATUS_SUCCESS;
    return status;
}
