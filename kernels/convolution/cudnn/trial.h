#pragma once

#include <optional>
#include <string>

#include "kernels/convolution/cudnn/session.h"
#include "kernels/cuda/trial.h"

namespace iwseg::cuda {

/// Runs plans of one problem at its full size on operands of noise. Throws InputError where the memory is not there.
class CudnnTrial {
  public:
    CudnnTrial(const CudnnSession& session, const CudnnProblem& problem, std::int64_t workspace_bytes);
    ~CudnnTrial();
    CudnnTrial(const CudnnTrial&) = delete;
    CudnnTrial& operator=(const CudnnTrial&) = delete;

    /// Of one run; nothing where it does not run, or not into a recorded CUDA graph (TrialTimer).
    std::optional<double> seconds(const ChosenPlan& chosen) {
        return timer_.seconds([&] { run(chosen); });
    }
    /// Empty where some of the results, the first and last among them, are right, and, where the problem is to be
    /// deterministic, a second run gives the same bytes everywhere.
    std::string wrong(const ChosenPlan& chosen);

  private:
    void fill();
    void run(const ChosenPlan& chosen);
    std::string wrong_statistics();
    std::int64_t plain_place(std::int64_t packed) const;

    const CudnnSession& session_;
    CudnnProblem problem_;
    std::int64_t weight_count_;
    TrialStream stream_;
    TrialTimer timer_{stream_.get()};
    TrialMemory src_, dst_, weights_, bias_, packed_bias_, workspace_, sum_, plain_weights_;
    TrialMemory sums_, statistics_, statistics_scratch_;
    TrialMemory before_, normalisation_;  ///< what src is the normalisation of, and mean, deviation, scale, shift
    PassTensors tensors_;
};

}  // namespace iwseg::cuda
