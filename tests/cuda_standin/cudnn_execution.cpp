// What cuDNN's stand-in computes: a graph's convolution by plain loops, with the faults its engine is said to have.
#include <algorithm>
#include <bit>
#include <optional>

#include "kernels/device/bf16.h"
#include "tests/cuda_standin/cudnn_descriptor.h"
#include "tests/cuda_standin/queue.h"

namespace iwseg::standin {
namespace {

struct Offer {
    std::vector<Engine> engines = usual_engines();
    std::map<std::string, std::int64_t> runs = {};
    bool graphs = true;
};

Offer& offer() {
    static Offer one;
    return one;
}

std::vector<float> read(const void* from, const GraphTensor& tensor) {
    std::vector<float> values(static_cast<std::size_t>(tensor.shape.elements()));
    for (std::size_t i = 0; i < values.size(); ++i)
        values[i] =
            tensor.type == Type::bf16 ? to_f32(static_cast<const Bf16*>(from)[i]) : static_cast<const float*>(from)[i];
    return values;
}

void write(const std::vector<float>& values, const GraphTensor& tensor, void* to) {
    for (std::size_t i = 0; i < values.size(); ++i)
        if (tensor.type == Type::bf16)
            store(static_cast<Bf16*>(to)[i], values[i]);
        else
            static_cast<float*>(to)[i] = values[i];
}

/// To ten bits of fraction.
void round_to_tf32(std::vector<float>& values) {
    for (float& value : values) {
        auto bits = std::bit_cast<std::uint32_t>(value);
        if ((bits & 0x7F800000u) == 0x7F800000u) continue;
        bits = (bits + 0xFFFu + (bits >> 13 & 1u)) & ~0x1FFFu;
        value = std::bit_cast<float>(bits);
    }
}

/// Calls body(output voxel, input voxel, tap) for each pair that a tap of the kernel joins.
template <class Body>
void each_pair(const ConvolutionGraph& g, Body&& body) {
    const Shape &s = g.src.shape, &t = g.dst.shape;
    for (std::int64_t to = 0; to < t.n * t.voxels(); ++to)
        for (std::int64_t tap = 0; tap < g.kernel.product(); ++tap) {
            const std::int64_t n = to / t.voxels(),
                               d = to / t.w / t.h % t.d * g.stride.d - g.padding.d + tap / g.kernel.w / g.kernel.h,
                               h = to / t.w % t.h * g.stride.h - g.padding.h + tap / g.kernel.w % g.kernel.h,
                               w = to % t.w * g.stride.w - g.padding.w + tap % g.kernel.w;
            if (d >= 0 && d < s.d && h >= 0 && h < s.h && w >= 0 && w < s.w)
                body(to, ((n * s.d + d) * s.h + h) * s.w + w, tap);
        }
}

/// The convolution's own result, in double: src, weights and dst hold what is read.
std::vector<float> convolve(const ConvolutionGraph& g, const std::vector<float>& src, const std::vector<float>& weights,
                            const std::vector<float>& dst) {
    const std::int64_t inputs = g.weights.shape.c, outputs = g.dst.shape.c, taps = g.kernel.product();
    const GraphTensor& into = g.pass == GraphPass::forward ? g.dst : g.pass == GraphPass::data ? g.src : g.weights;
    std::vector<double> sums(static_cast<std::size_t>(into.shape.elements()));
    // Weights are (O, taps, C of one group).
    each_pair(g, [&](std::int64_t to, std::int64_t from, std::int64_t tap) {
        for (std::int64_t o = 0; o < outputs; ++o) {
            const std::int64_t row = (o * taps + tap) * inputs, place = to * outputs + o,
                               first = from * g.src.shape.c + o / (outputs / g.groups) * inputs;
            const float* w = weights.data() + row;
            if (g.pass == GraphPass::forward) {
                const float* x = src.data() + first;
                float sum = 0;
                for (std::int64_t i = 0; i < inputs; ++i) sum += x[i] * w[i];
                sums[static_cast<std::size_t>(place)] += sum;
            } else if (g.pass == GraphPass::data) {
                double* dx = sums.data() + first;
                for (std::int64_t i = 0; i < inputs; ++i) dx[i] += dst[static_cast<std::size_t>(place)] * w[i];
            } else {
                double* dw = sums.data() + row;
                const float* x = src.data() + first;
                for (std::int64_t i = 0; i < inputs; ++i) dw[i] += dst[static_cast<std::size_t>(place)] * x[i];
            }
        }
    });
    return {sums.begin(), sums.end()};
}

/// A tensor of the descriptor's; nothing where it is none that is taken.
std::optional<GraphTensor> tensor_of(const Descriptor& one) {
    if (one.kind != CUDNN_BACKEND_TENSOR_DESCRIPTOR || one.attributes.at(CUDNN_ATTR_TENSOR_DIMENSIONS).count != 5 ||
        one.attributes.at(CUDNN_ATTR_TENSOR_STRIDES).count != 5)
        return std::nullopt;
    const auto size = [&](std::size_t i) { return one.value<std::int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS, i); };
    const Shape s{size(0), size(1), size(2), size(3), size(4)};
    const std::int64_t strides[] = {s.c * s.d * s.h * s.w, 1, s.h * s.w * s.c, s.w * s.c, s.c};
    for (std::size_t i = 0; i < 5; ++i)
        if (size(i) < 1 || one.value<std::int64_t>(CUDNN_ATTR_TENSOR_STRIDES, i) != strides[i]) return std::nullopt;
    const int type = one.value<int>(CUDNN_ATTR_TENSOR_DATA_TYPE);
    const bool between = one.has(CUDNN_ATTR_TENSOR_IS_VIRTUAL) && one.value<bool>(CUDNN_ATTR_TENSOR_IS_VIRTUAL);
    return GraphTensor{one.value<std::int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID), s,
                       type == CUDNN_DATA_BFLOAT16 ? Type::bf16 : Type::f32, between};
}

std::int64_t bytes(const GraphTensor& tensor) {
    return tensor.shape.elements() * (tensor.type == Type::bf16 ? 2 : 4);
}

/// The faults of an engine, on a result that was right.
void spoil(const Engine& engine, const GraphTensor& tensor, void* result) {
    const std::int64_t count = tensor.shape.elements();
    const auto change = [&](std::int64_t at) {
        if (tensor.type == Type::bf16)
            static_cast<std::uint16_t*>(result)[at] ^= 0x0041u;
        else
            static_cast<std::uint32_t*>(result)[at] ^= 0x00400001u;
    };
    if (engine.wrong_from >= 0 && count >= engine.wrong_from) change(count - 1);
    if (engine.varies && count > 2)
        change(1 + static_cast<std::int64_t>(card().random() % static_cast<std::uint64_t>(count - 2)));
}

}  // namespace

std::string Engine::text() const {
    std::string text = std::to_string(index) + ":";
    for (std::size_t i = 0; i < knobs.size(); ++i)
        text += (i ? "," : "") + std::to_string(knobs[i].first) + "=" + std::to_string(knobs[i].second);
    return text;
}

std::vector<Engine> usual_engines() {
    Engine plain{.index = 1}, tensor{.index = 34, .knobs = {{2, 0}, {13, 1}}}, fusing{.index = 40};
    tensor.seconds = 4e-4, tensor.tensor_cores = true, tensor.workspace_bytes = 4096;
    fusing.seconds = 6e-4, fusing.compiled_at_run_time = fusing.fuses = true, fusing.data = fusing.weights = false;
    return {fusing, tensor, plain};
}

void offer_engines(std::vector<Engine> engines, bool graphs) {
    offer() = {std::move(engines), {}, graphs};
}
bool takes_graphs() {
    return offer().graphs;
}
std::map<std::string, std::int64_t> engine_runs() {
    return offer().runs;
}
const std::vector<Engine>& offered_engines() {
    return offer().engines;
}
void count_run(const Engine& engine) {
    ++offer().runs[engine.text()];
}

const GraphTensor& ConvolutionGraph::result() const {
    if (!additions.empty()) return additions.back().sum;
    return pass == GraphPass::forward ? dst : pass == GraphPass::data ? src : weights;
}

std::unique_ptr<ConvolutionGraph> read_graph(const Descriptor& operation_graph, std::string& why_not) {
    auto graph = std::make_unique<ConvolutionGraph>();
    const auto refused = [&](const char* why) {
        why_not = why;
        return nullptr;
    };
    const auto& operations = operation_graph.attributes.at(CUDNN_ATTR_OPERATIONGRAPH_OPS).others;
    const Descriptor& first = *operations[0];
    cudnnBackendAttributeName_t names[6];
#define IWSEG_NAMES(name, x, w, y)                                                                              \
    std::copy_n(std::initializer_list<cudnnBackendAttributeName_t>{name##_##x, name##_##w, name##_##y,          \
                                                                   name##_CONV_DESC, name##_ALPHA, name##_BETA} \
                    .begin(),                                                                                   \
                6, names)
    switch (first.kind) {
        case CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR:
            IWSEG_NAMES(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD, X, W, Y);
            break;
        case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR:
            graph->pass = GraphPass::data;
            IWSEG_NAMES(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA, DX, W, DY);
            break;
        case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR:
            graph->pass = GraphPass::weights;
            IWSEG_NAMES(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER, X, DW, DY);
            break;
        default:
            return refused("a graph begins with a convolution");
    }
#undef IWSEG_NAMES
    const auto src = tensor_of(first.other(names[0])), weights = tensor_of(first.other(names[1])),
               dst = tensor_of(first.other(names[2]));
    if (!src || !weights || !dst) return refused("a tensor of another layout");
    graph->src = *src, graph->weights = *weights, graph->dst = *dst;
    graph->alpha = first.value<float>(names[4]), graph->beta = first.value<float>(names[5]);
    const Shape &s = src->shape, &w = weights->shape, &t = dst->shape;
    const Descriptor& how = first.other(names[3]);
    const auto axes = [&](cudnnBackendAttributeName_t name) {
        const auto axis = [&](std::size_t i) { return static_cast<int>(how.value<std::int64_t>(name, i)); };
        return Sides(axis(0), axis(1), axis(2));
    };
    graph->kernel = Sides(static_cast<int>(w.d), static_cast<int>(w.h), static_cast<int>(w.w));
    graph->stride = axes(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES);
    graph->padding = axes(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS);
    if (how.value<std::int64_t>(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS) != 3 ||
        how.value<int>(CUDNN_ATTR_CONVOLUTION_CONV_MODE) != CUDNN_CROSS_CORRELATION ||
        !(axes(CUDNN_ATTR_CONVOLUTION_DILATIONS) == 1) ||
        !(axes(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS) == graph->padding))
        return refused("a convolution of another form");
    // cuDNN's documentation of CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR: the sides of y, and as many
    // groups as the channels of x are times those of w.
    const auto side = [](std::int64_t x, int k, int padding, int stride) {
        return x + 2 * padding < k || stride < 1 ? 0 : 1 + (x + 2 * padding - k) / stride;
    };
    const Sides &k = graph->kernel, &before = graph->padding, &step = graph->stride;
    const Shape expected{s.n, w.n, side(s.d, k.d, before.d, step.d), side(s.h, k.h, before.h, step.h),
                         side(s.w, k.w, before.w, step.w)};
    graph->groups = s.c / w.c;
    if (!(t == expected) || s.c % w.c || w.n % graph->groups) return refused("shapes that do not match");
    const GraphTensor* last = &graph->dst;
    for (std::size_t i = 1; i < operations.size(); ++i) {
        const Descriptor& one = *operations[i];
        if (one.kind != CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR || graph->pass != GraphPass::forward ||
            one.other(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR).value<int>(CUDNN_ATTR_POINTWISE_MODE) !=
                CUDNN_POINTWISE_ADD)
            return refused("an operation after the convolution that is no addition");
        const auto x = tensor_of(one.other(CUDNN_ATTR_OPERATION_POINTWISE_XDESC)),
                   b = tensor_of(one.other(CUDNN_ATTR_OPERATION_POINTWISE_BDESC)),
                   y = tensor_of(one.other(CUDNN_ATTR_OPERATION_POINTWISE_YDESC));
        if (!x || !b || !y || !(*x == *last) || !last->between || !(y->shape == t) ||
            !(b->shape == t || b->shape == Shape{1, t.c, 1, 1, 1}))
            return refused("an addition of tensors that do not match");
        graph->additions.push_back({*b, *y});
        last = &graph->additions.back().sum;
    }
    if (last->between) return refused("a graph whose result is written nowhere");
    return graph;
}

void compute(const ConvolutionGraph& graph, const std::map<std::int64_t, void*>& addresses, bool tf32) {
    const auto at = [&](const GraphTensor& tensor) { return addresses.at(tensor.number); };
    std::vector<float> src, weights, dst;
    if (graph.pass != GraphPass::data) src = read(at(graph.src), graph.src);
    if (graph.pass != GraphPass::weights) weights = read(at(graph.weights), graph.weights);
    if (graph.pass != GraphPass::forward) dst = read(at(graph.dst), graph.dst);
    if (tf32)
        for (auto* values : {&src, &weights, &dst}) round_to_tf32(*values);
    std::vector<float> result = convolve(graph, src, weights, dst);
    const GraphTensor& own = graph.pass == GraphPass::forward ? graph.dst : graph.result();
    std::vector<float> before;
    if (graph.beta != 0) before = read(at(own), own);
    for (std::size_t i = 0; i < result.size(); ++i)
        result[i] = graph.alpha * result[i] + (graph.beta != 0 ? graph.beta * before[i] : 0.0f);
    for (const auto& [other, sum] : graph.additions) {
        const std::vector<float> added = read(at(other), other);
        for (std::size_t i = 0; i < result.size(); ++i) result[i] += added[i % added.size()];
    }
    write(result, graph.result(), at(graph.result()));
}

}  // namespace iwseg::standin

// ----------------------------------------------------------------------------------------------------------------------

using namespace iwseg::standin;

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan_given,
                                  cudnnBackendDescriptor_t tensors) {
    const Call call("cudnnBackendExecute");
    if (call.failure()) return refuse(CUDNN_STATUS_EXECUTION_FAILED, "the plan is not run");
    const Descriptor* plan = finalised(plan_given);
    const Descriptor* pack = finalised(tensors);
    if (!plan || !pack || !plan->engine) return refuse(CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED, "a plan and its tensors");
    CUstream_st* stream = find(handle->stream);
    if (!stream) return refuse(CUDNN_STATUS_BAD_PARAM, "a stream that has been destroyed");
    const Engine engine = *plan->engine;
    std::string why_not;
    const Descriptor& made_for =
        plan->other(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG).other(CUDNN_ATTR_ENGINECFG_ENGINE);
    const std::shared_ptr<ConvolutionGraph> graph =
        read_graph(made_for.other(CUDNN_ATTR_ENGINE_OPERATION_GRAPH), why_not);
    std::map<std::int64_t, void*> addresses;
    for (std::size_t i = 0; i < static_cast<std::size_t>(pack->attributes.at(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS).count);
         ++i)
        addresses[pack->value<std::int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, i)] =
            pack->value<void*>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, i);
    std::vector<GraphTensor> used{graph->src, graph->weights, graph->dst};
    for (const auto& [other, sum] : graph->additions) used.insert(used.end(), {other, sum});
    for (const GraphTensor& tensor : used) {
        if (tensor.between) continue;
        const auto found = addresses.find(tensor.number);
        if (found == addresses.end()) return refuse(CUDNN_STATUS_BAD_PARAM, "a tensor without an address");
        if (reinterpret_cast<std::uintptr_t>(found->second) % 16 != 0)
            return refuse(CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER, "not 16-byte aligned");
        if (!require_on_card("cudnnBackendExecute", found->second, bytes(tensor)))
            return refuse(CUDNN_STATUS_EXECUTION_FAILED, "a tensor outside of the card");
    }
    void* workspace =
        pack->has(CUDNN_ATTR_VARIANT_PACK_WORKSPACE) ? pack->value<void*>(CUDNN_ATTR_VARIANT_PACK_WORKSPACE) : nullptr;
    if (engine.workspace_bytes > 0 && !require_on_card("a workspace", workspace, engine.workspace_bytes))
        return refuse(CUDNN_STATUS_BAD_PARAM, "too little workspace");
    if (engine.refused_at_run) return refuse(CUDNN_STATUS_EXECUTION_FAILED, "the engine does not run");
    if (engine.refused_in_capture && stream->capture) {
        stream->invalid = true;
        return refuse(CUDNN_STATUS_EXECUTION_FAILED, "the engine allocates");
    }
    const cudaError_t status = queue(
        handle->stream, {"engine " + engine.text(),
                         [=] {
                             if (engine.fails_after) throw std::runtime_error("an illegal address");
                             count_run(engine);
                             if (engine.workspace_bytes > 0) fill_with_garbage(workspace, engine.workspace_bytes);
                             compute(*graph, addresses, engine.tensor_cores && graph->src.type == iwseg::Type::f32);
                             spoil(engine, graph->result(), addresses.at(graph->result().number));
                         },
                         {},
                         engine.seconds});
    return status ? refuse(CUDNN_STATUS_EXECUTION_FAILED, "the work is not queued") : CUDNN_STATUS_SUCCESS;
}
