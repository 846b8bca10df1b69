#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernels/convolution/cudnn/plans.h"
#include "kernels/convolution/narrow.h"
#include "kernels/convolution/plan_file.h"
#include "kernels/device/declare.h"

namespace iwseg::cuda {

class MatrixProduct;

/// Own kernels that are engines beside cuDNN's (kernels/convolution/own_engines.h).
enum class OwnEngine : std::uint8_t { none, narrow, general };

/// The plan of one pass of a convolution.
struct ChosenPlan {
    CudnnProblem problem;    ///< what cuDNN computes
    bool adds_bias = false;  ///< an own kernel adds the bias after it
    CudnnPlan plan;
    /// Which of ours, or cuBLASLt's (kernels/convolution/product.h), computes it: of plan, the workspace alone is set.
    OwnEngine own = OwnEngine::none;
    std::shared_ptr<const MatrixProduct> product = {};

    bool is_cudnns() const { return own == OwnEngine::none && !product; }
    /// As the file of chosen plans has it.
    std::string engine() const;
    /// Whose the engine is, for people.
    const char* owner() const { return is_cudnns() ? "cuDNN's" : product ? "cuBLASLt's" : "own"; }
    /// Whether it reads the bias, and leaves the gradient of weights, packed as weights are.
    bool packs_bias() const { return problem.bias && own == OwnEngine::none; }
    bool packs_gradient() const { return is_cudnns(); }
    bool leaves_sums() const { return problem.sums && own == OwnEngine::narrow; }
    bool normalises() const { return problem.normalises && own == OwnEngine::narrow; }
};

/// The addresses of one pass' tensors: weights are packed, (O, kernel, C / groups) in the operands' type, and the bias
/// both plain and rounded to it.
struct PassTensors {
    View src, dst;
    void* weights = nullptr;
    const float* bias = nullptr;
    void* packed_bias = nullptr;
    void* workspace = nullptr;
    View summand = {};                  ///< what a forward pass that accumulates adds to; without data: dst
    float* plain_weights = nullptr;     ///< (O, C / groups, kernel): the gradient of weights, by all but cuDNN's
    float* sums = nullptr;              ///< where a plan leaves them that does
    NarrowPrologue normalisation = {};  ///< of src, for a plan that applies it
};

/// What the convolutions of a GPU share: cuDNN's handle and the plans chosen so far. Lives as long as one of them does.
class CudnnSession {
  public:
    static std::shared_ptr<CudnnSession> shared();

    CudnnSession();
    ~CudnnSession();
    CudnnSession(const CudnnSession&) = delete;
    CudnnSession& operator=(const CudnnSession&) = delete;

    const CudnnTarget& target() const { return target_; }
    /// Queues a plan. Throws std::runtime_error naming the problem where cuDNN refuses it.
    void run(Stream stream, const ChosenPlan& chosen, const PassTensors& tensors) const;
    /// The plan for a pass: one chosen before, by the run's own file (a path, or empty), in this start of the program
    /// or, by the user's file, in an earlier one; else the fastest right one, measured. What is chosen is added to the
    /// run's file, so that a resumed run computes the same bytes. Null, and a line on the terminal, where cuDNN has
    /// none that is right, or there is no memory to try any in.
    std::shared_ptr<const ChosenPlan> choose(const CudnnProblem& problem, const std::string& run_file);
    /// All plans for a pass, none of them run, in the order in which they are measured.
    std::vector<ChosenPlan> plans(const CudnnProblem& problem) const;
    /// Whether the fastest is looked for, or, where the time is the launch's, the first that is right.
    static bool measures(const CudnnProblem& problem);
    /// Lets go of the stream that was used last: it is about to be closed.
    void leave_stream() const noexcept;

  private:
    struct Close {
        void operator()(cudnnContext* handle) const;
    };
    using Chosen = std::shared_ptr<const ChosenPlan>;

    Chosen restore(const PlanFile& file, const std::vector<CudnnProblem>& forms, const CudnnProblem& wanted) const;
    Chosen measure(const std::vector<CudnnProblem>& forms, const CudnnProblem& wanted);
    Chosen fastest(std::vector<ChosenPlan>& all, const CudnnProblem& wanted, std::int64_t workspace);
    void announce();
    void keep(const PlanFile& file, const std::vector<CudnnProblem>& forms, const CudnnProblem& wanted,
              const ChosenPlan& chosen);
    std::string key(const CudnnProblem& problem) const;

    std::unique_ptr<cudnnContext, Close> handle_;
    CudnnTarget target_;
    PlanFile file_;
    bool announced_ = false, complained_of_file_ = false;
    std::map<std::string, Chosen> chosen_;  ///< by problem, and by run's file and problem
};

}  // namespace iwseg::cuda
