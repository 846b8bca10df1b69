#include <algorithm>
#include <stdexcept>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/trial.h"
#include "kernels/device/checksum.h"
#include "kernels/device/memory.h"

namespace iwseg::cuda {
namespace {

constexpr int kRuns = 3, kRounds = 3;
/// What is slower by more is not measured again: no other round will make it the fastest.
constexpr double kTooSlow = 1.5;

class Event {
  public:
    Event() { check(cudaEventCreate(&event_), "making an event"); }
    ~Event() { cudaEventDestroy(event_); }
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;
    cudaEvent_t get() const { return event_; }

  private:
    cudaEvent_t event_ = nullptr;
};

/// The owner of recorded work.
class Recorded {
  public:
    explicit Recorded(RecordedWork work) : work_(work) {}
    ~Recorded() { release_recorded(work_); }
    Recorded(const Recorded&) = delete;
    Recorded& operator=(const Recorded&) = delete;
    RecordedWork get() const { return work_; }

  private:
    RecordedWork work_;
};

}  // namespace

TrialStream::TrialStream() : stream_(open_stream(nullptr)) {}
TrialStream::~TrialStream() {
    close_stream(stream_);
}

TrialMemory::TrialMemory(std::int64_t bytes) : data_(allocate(bytes)), bytes_(bytes) {}
TrialMemory::~TrialMemory() {
    release(data_, bytes_);
}

bool TrialTimer::runs(const std::function<void()>& work) {
    try {
        work();
    } catch (const std::runtime_error&) {
        return false;
    }
    synchronise(stream_);
    return true;
}

std::optional<double> TrialTimer::seconds(const std::function<void()>& work) {
    if (!runs(work) || !records(work)) return std::nullopt;
    const Event before, after;
    const auto queue = static_cast<cudaStream_t>(stream_.handle);
    double best = 1e30;
    for (int round = 0; round < kRounds; ++round) {
        check(cudaEventRecord(before.get(), queue), "measuring a plan");
        for (int i = 0; i < kRuns; ++i) work();
        check(cudaEventRecord(after.get(), queue), "measuring a plan");
        synchronise(stream_);
        float milliseconds = 0;
        check(cudaEventElapsedTime(&milliseconds, before.get(), after.get()), "measuring a plan");
        best = std::min(best, milliseconds * 1e-3 / kRuns);
        if (best > kTooSlow * fastest_) break;
    }
    fastest_ = std::min(fastest_, best);
    return best;
}

/// Some engines do what a recording forbids.
bool TrialTimer::records(const std::function<void()>& work) {
    begin_recording(stream_);
    bool queued = true;
    try {
        work();
    } catch (const std::runtime_error&) {
        queued = false;
    }
    try {
        const Recorded recorded(end_recording(stream_));
        if (!queued) return false;
        replay(stream_, recorded.get());
        synchronise(stream_);
    } catch (const std::runtime_error&) {
        return false;
    }
    return true;
}

std::uint64_t trial_checksum(Stream stream, const void* result, std::int64_t bytes, void* sum) {
    std::uint64_t value = 0;
    set_zero(stream, sum, sizeof value);
    add_checksum(stream, result, bytes, static_cast<std::uint64_t*>(sum));
    copy_to_host(stream, sum, &value, sizeof value);
    synchronise(stream);
    return value;
}

}  // namespace iwseg::cuda
