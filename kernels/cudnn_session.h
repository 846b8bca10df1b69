#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cudnn_plans.h"
#include "kernels/plan_file.h"

namespace iwseg::cuda {

/// The plan of one pass of a convolution.
struct ChosenPlan {
    CudnnProblem problem;        ///< what cuDNN computes
    bool adds_bias = false;      ///< an own kernel adds the bias behind it
    CudnnPlan plan;
};

/// The addresses of one pass' tensors: weights are packed, (O, k, k, k, C) in the operands' type, and the bias both plain
/// and rounded to it.
struct PassTensors {
    View src, dst;
    void* weights = nullptr;
    const float* bias = nullptr;
    void* packed_bias = nullptr;
    void* workspace = nullptr;
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
    /// The plan for a pass: one chosen before, in this run of the program or, by the file, an earlier one; else the
    /// fastest right one, measured; where there is no memory to measure in, the one cuDNN thinks fastest. Null where
    /// cuDNN has none.
    std::shared_ptr<const ChosenPlan> choose(const CudnnProblem& problem);

  private:
    std::shared_ptr<const ChosenPlan> restore(const std::vector<CudnnProblem>& forms, const CudnnProblem& wanted) const;
    std::vector<ChosenPlan> candidates(const std::vector<CudnnProblem>& forms, const CudnnProblem& wanted) const;
    std::shared_ptr<const ChosenPlan> measure(const std::vector<CudnnProblem>& forms, const CudnnProblem& wanted);
    void announce();
    void keep(const std::vector<CudnnProblem>& forms, const CudnnProblem& wanted, const ChosenPlan& chosen);
    std::string key(const CudnnProblem& problem) const;

    cudnnContext* handle_ = nullptr;
    CudnnTarget target_;
    PlanFile file_;
    bool announced_ = false, complained_of_file_ = false;
    std::map<std::string, std::shared_ptr<const ChosenPlan>> chosen_;
};

}  // namespace iwseg::cuda
