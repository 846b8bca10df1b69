#pragma once

#include <cudnn.h>

#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/device/view.h"
#include "tests/cuda_standin/cudnn_engines.h"

// What the two halves of cuDNN's stand-in share: descriptors, and the convolution that a graph of them comes to.
namespace iwseg::standin {

struct Descriptor;

struct Attribute {
    cudnnBackendAttributeType_t type{};
    std::int64_t count = 0;
    std::vector<char> bytes;  ///< of values that are no descriptors
    std::vector<std::shared_ptr<const Descriptor>> others;
};

struct Descriptor {
    cudnnBackendDescriptorType_t kind{};
    bool finalised = false;
    std::map<cudnnBackendAttributeName_t, Attribute> attributes;
    std::shared_ptr<const Engine> engine;  ///< of an execution plan

    bool has(cudnnBackendAttributeName_t name) const { return attributes.count(name) != 0; }
    /// The nth value of an attribute that is set.
    template <class T>
    T value(cudnnBackendAttributeName_t name, std::size_t n = 0) const {
        T value;
        std::memcpy(&value, attributes.at(name).bytes.data() + n * sizeof(T), sizeof(T));
        return value;
    }
    const Descriptor& other(cudnnBackendAttributeName_t name, std::size_t n = 0) const {
        return *attributes.at(name).others[n];
    }
};

/// A tensor of a graph, channels innermost.
struct GraphTensor {
    std::int64_t number = 0;
    Shape shape;
    Type type = Type::f32;
    bool between = false;  ///< never in memory

    bool operator==(const GraphTensor&) const = default;
};

enum class GraphPass { forward, data, weights };

/// A graph: a convolution, and additions after a forward one.
struct ConvolutionGraph {
    GraphPass pass = GraphPass::forward;
    GraphTensor src, weights, dst;  ///< dst: the convolution's own
    Sides kernel, stride, padding;
    std::int64_t groups = 1;
    float alpha = 1, beta = 0;
    struct Addition {
        GraphTensor other, sum;
    };
    std::vector<Addition> additions;

    /// Of the tensor that is written at the end.
    const GraphTensor& result() const;
};

/// Reads a graph from its finalised operations; what is wrong with it goes to `why_not`, and nothing is returned.
std::unique_ptr<ConvolutionGraph> read_graph(const Descriptor& operation_graph, std::string& why_not);

/// Computes it. addresses: by the tensors' numbers.
void compute(const ConvolutionGraph& graph, const std::map<std::int64_t, void*>& addresses, bool tf32);

/// Ends a call that failed: notes the words for cudnnGetLastErrorString.
cudnnStatus_t refuse(cudnnStatus_t status, const std::string& words);
/// What the caller's descriptor is; null where it is none, or not finalised.
const Descriptor* finalised(cudnnBackendDescriptor_t descriptor);
const std::vector<Engine>& offered_engines();
void count_run(const Engine& engine);

}  // namespace iwseg::standin

struct cudnnContext {
    cudaStream_t stream = nullptr;
};
