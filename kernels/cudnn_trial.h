#pragma once

#include <optional>
#include <string>

#include "kernels/cudnn_session.h"

namespace iwseg::cuda {

/// Device memory for the length of a scope.
class TrialMemory {
  public:
    explicit TrialMemory(std::int64_t bytes);
    ~TrialMemory();
    TrialMemory(const TrialMemory&) = delete;
    TrialMemory& operator=(const TrialMemory&) = delete;
    void* data() const { return data_; }

  private:
    void* data_;
    std::int64_t bytes_;
};

/// Runs plans of one problem at its full size on operands of noise. Throws InputError where the memory is not there.
class CudnnTrial {
  public:
    CudnnTrial(const CudnnSession& session, const CudnnProblem& problem, std::int64_t workspace_bytes);
    ~CudnnTrial();
    CudnnTrial(const CudnnTrial&) = delete;
    CudnnTrial& operator=(const CudnnTrial&) = delete;

    /// Of one run; nothing where cuDNN does not run it, or not into a recorded CUDA graph.
    std::optional<double> seconds(const ChosenPlan& chosen);
    /// Empty where some of the results, the first and last among them, are right.
    std::string wrong(const ChosenPlan& chosen);

  private:
    void fill();
    bool records(const ChosenPlan& chosen);

    const CudnnSession& session_;
    CudnnProblem problem_;
    Stream stream_;
    std::int64_t weight_count_;
    TrialMemory src_, dst_, weights_, bias_, packed_bias_, workspace_;
    PassTensors tensors_;
};

}  // namespace iwseg::cuda
