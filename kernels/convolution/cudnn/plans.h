#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/convolution/convolution.h"

// What cuDNN offers for a convolution: its graph is described, engines are asked for, plans are made. All of it works
// for a card at hand and, from a description, for one that is not: support, workspace and determinism are known without
// a GPU. No vendor header is needed to include this.
struct cudnnContext;

namespace iwseg::cuda {

using Pass = ConvolutionPass;

/// One pass of a convolution; all tensors channels innermost, weights (O, kernel, C / groups). Operands and results are
/// of one type, sums are f32.
struct CudnnProblem : ConvolutionGeometry {
    Pass pass = Pass::forward;
    Type type = Type::f32;
    bool bias = false;        ///< forward: + bias (O), of the operands' type
    bool accumulate = false;  ///< forward: dst += the result, by the convolution itself
    bool residual = false;    ///< forward: + a tensor like dst, which may be dst, by an operation after it
    bool tf32 = false;        ///< f32 operands may be rounded to 10 bits of fraction
    bool deterministic = true;
    /// forward: what statistics of the result are made of is wanted too, which none of cuDNN's leaves: a pass over the
    /// result comes after them.
    bool sums = false;
    /// forward and weight gradient: src is a batch normalisation with ReLU, which none of cuDNN's applies on the way: a
    /// pass that does comes before them.
    bool normalises = false;

    /// In one line, unique: what messages and the file of chosen plans call it.
    std::string name() const;
};

/// Whether cuDNN is asked for a convolution, of any kernel, stride and groups, or own kernels take it: those at the
/// network's ends, and any in which channels are not innermost or types differ.
bool is_for_cudnn(const ConvolutionOptions& options, ConvolutionPasses passes);

/// What cuDNN is asked for.
CudnnProblem problem_of(const ConvolutionOptions& options, Pass pass);

/// The ways it may be asked, the most fused first. A bias missing from one is to be added after it.
std::vector<CudnnProblem> forms_of(const CudnnProblem& problem);

/// The owner of one of cuDNN's descriptors.
class CudnnDescriptor {
  public:
    CudnnDescriptor() = default;
    explicit CudnnDescriptor(int kind);
    ~CudnnDescriptor();
    CudnnDescriptor(CudnnDescriptor&& other) noexcept : descriptor_(std::exchange(other.descriptor_, nullptr)) {}
    CudnnDescriptor& operator=(CudnnDescriptor&& other) noexcept {
        std::swap(descriptor_, other.descriptor_);
        return *this;
    }
    void* get() const { return descriptor_; }

  private:
    void* descriptor_ = nullptr;
};

/// The card plans are made for.
class CudnnTarget {
  public:
    /// A card that is there. The handle is the caller's.
    CudnnTarget(cudnnContext* handle, int capability, std::string name)
        : handle_(handle), capability_(capability), name_(std::move(name)) {}
    /// A card described by cuDNN's JSON (CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION). Its plans cannot be run.
    explicit CudnnTarget(const std::string& description);

    cudnnContext* handle() const { return handle_; }
    const CudnnDescriptor& description() const { return description_; }
    int capability() const { return capability_; }  ///< 75, 80, …
    const std::string& name() const { return name_; }

  private:
    cudnnContext* handle_ = nullptr;
    CudnnDescriptor description_;
    int capability_ = 0;
    std::string name_;
};

/// One of cuDNN's engines and how its knobs are set: a plan can be made from it again.
struct CudnnEngine {
    std::int64_t index = 0;
    std::vector<std::pair<int, std::int64_t>> knobs;
    bool compiled_at_run_time = false;

    /// As 34:2=0,13=1
    std::string text() const;
    static std::optional<CudnnEngine> parse(const std::string& text);
};

/// A convolution that can be run.
struct CudnnPlan {
    CudnnDescriptor plan;
    CudnnEngine engine;
    std::int64_t workspace_bytes = 0;
};

/// Throws InputError, naming the card, where it has no bf16.
void require_bf16(int capability, const std::string& card);

/// Numbers of the tensors in a graph, by which a plan is given their addresses.
enum CudnnTensor : std::int64_t { kSrc = 1, kWeights = 2, kDst = 3, kBias = 4, kResidual = 5 };

/// Makes plans for one problem on one card. Throws InputError where the card lacks the type, std::runtime_error naming
/// the problem where cuDNN fails otherwise.
class CudnnPlanSearch {
  public:
    CudnnPlanSearch(const CudnnTarget& target, CudnnProblem problem);

    /// The engines that do what the problem asks for, no less exact and as deterministic, the likely fastest first;
    /// empty where cuDNN has none, or none for any such graph.
    std::vector<CudnnEngine> engines() const;
    /// Nothing, and why not, where the engine turns out not to take the problem, or takes too much workspace.
    std::optional<CudnnPlan> plan(const CudnnEngine& engine, std::string& why_not) const;

  private:
    std::vector<CudnnEngine> engines(int mode) const;
    std::optional<CudnnEngine> admitted(void* configuration) const;
    std::int64_t most_workspace() const;

    const CudnnTarget& target_;
    CudnnProblem problem_;
    std::vector<CudnnDescriptor> parts_;  ///< of the graph
    CudnnDescriptor graph_;               ///< none: cuDNN does not support it
};

}  // namespace iwseg::cuda
