#pragma once

#include <optional>
#include <string>

#include "kernels/convolution/cudnn/session.h"

namespace iwseg::cuda {

/// A stream for the length of a scope.
class TrialStream {
  public:
    TrialStream();
    ~TrialStream();
    TrialStream(const TrialStream&) = delete;
    TrialStream& operator=(const TrialStream&) = delete;
    Stream get() const { return stream_; }

  private:
    Stream stream_;
};

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

    /// Of one run; nothing where cuDNN does not run it, or not into a recorded CUDA graph. A plan that turns out much
    /// slower than the fastest so far is not measured to the end.
    std::optional<double> seconds(const ChosenPlan& chosen);
    /// Empty where some of the results, the first and last among them, are right, and, where the problem is to be
    /// deterministic, a second run gives the same bytes everywhere.
    std::string wrong(const ChosenPlan& chosen);

  private:
    void fill();
    void run(const ChosenPlan& chosen);
    bool runs(const ChosenPlan& chosen);
    std::string wrong_statistics();
    std::int64_t plain_place(std::int64_t packed) const;
    bool records(const ChosenPlan& chosen);
    std::uint64_t checksum(const void* result, std::int64_t bytes);

    const CudnnSession& session_;
    CudnnProblem problem_;
    std::int64_t weight_count_;
    TrialStream stream_;
    TrialMemory src_, dst_, weights_, bias_, packed_bias_, workspace_, sum_, plain_weights_;
    TrialMemory sums_, statistics_, statistics_scratch_;
    TrialMemory before_, normalisation_;  ///< what src is the normalisation of, and mean, deviation, scale, shift
    PassTensors tensors_;
    double fastest_ = 1e30;
};

}  // namespace iwseg::cuda
