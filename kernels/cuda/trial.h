#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "kernels/device/declare.h"

// What candidates for the same work are tried and measured with before a plan is made.
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

/// Measures candidates, one after the other. A step is recorded as a CUDA graph, so what cannot be is no candidate.
class TrialTimer {
  public:
    explicit TrialTimer(Stream stream) : stream_(stream) {}

    /// Of one run of the work, which queues on the timer's stream; nothing where it throws, or cannot be recorded. What
    /// turns out much slower than the fastest so far is not measured to the end.
    std::optional<double> seconds(const std::function<void()>& work);

  private:
    bool runs(const std::function<void()>& work);
    bool records(const std::function<void()>& work);

    Stream stream_;
    double fastest_ = 1e30;
};

/// The sum of a result's bytes, by which two runs are compared. Waits for the stream. sum: 8 bytes of the device's.
std::uint64_t trial_checksum(Stream stream, const void* result, std::int64_t bytes, void* sum);

}  // namespace iwseg::cuda
