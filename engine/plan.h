#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/device_memory.h"
#include "engine/placement.h"
#include "engine/program.h"

namespace iwseg {

/// What each call of a plan took on the device's own clock.
struct StepTimes {
    std::vector<double> seconds;  ///< of each call, in order
    /// The device had to wait for the host, so that calls shorter than their launch are given too long a time. The next
    /// run is given more time to be queued in.
    bool starved = false;
};

/// A program made ready to run: every buffer placed in one arena, so that a run allocates nothing. It owns its calls,
/// and keeps the context's device at work; nothing it was made of needs to outlive it.
class Plan {
  public:
    /// Throws InputError where the device has less memory than the plan needs.
    Plan(const Context& context, const Program& program);
    ~Plan();
    Plan(const Plan&) = delete;
    Plan& operator=(const Plan&) = delete;

    /// Bytes of the arena; what buffers alive at the same time need, up to the packing.
    std::int64_t bytes() const { return bytes_; }
    /// What the plan would take, without allocating it.
    static std::int64_t bytes_needed(const Program& program);

    /// memory: of the device, aligned to 16 bytes. Throws std::invalid_argument where it is not.
    void bind(Buffer external, void* memory);
    /// For calls: where a buffer lies. What is not kept holds another's elements after the run; hosts use read().
    View operator[](Buffer buffer) const;
    template <class T>
    T* data(Buffer buffer) const {
        return static_cast<T*>((*this)[buffer].data);
    }
    const Backend& device() const { return context_.backend(); }
    Stream stream() const { return context_.stream(); }
    /// Copies what a run has left in a buffer to host memory of its bytes, and waits. Throws std::logic_error where the
    /// buffer is not kept.
    void read(Buffer kept, void* host) const;

    /// Queues all calls. Throws std::logic_error, naming it, where an external buffer that a call reads is not bound.
    /// Where the device can record them, they are from the second run on one CUDA graph, recorded
    /// again when another memory is bound. What calls read by reference must stay where it is. Throws
    /// std::runtime_error that names the call where the device refuses one. What fails only once the device is at work,
    /// as a kernel that reads out of bounds, is found by a later call; where the context does not record, each call is
    /// waited for, and the failure names it.
    void run();
    /// Queues all calls one by one and waits.
    StepTimes run_timed();
    const std::vector<Call>& calls() const { return calls_; }
    /// Bytes of the arena that hold something while a call runs.
    std::int64_t live_bytes(int call) const;
    /// Bytes that a call reads and writes, of its buffers each once; scratch left out.
    std::int64_t bytes_moved(const Call& call) const;

    const std::vector<BufferSpec>& buffers() const { return buffers_; }
    const std::vector<Placement>& placements() const { return placements_; }
    const DeviceMemory& arena() const { return *arena_; }

    /// Has the next run record the calls anew: something they read by reference has moved.
    void invalidate_capture();

  private:
    void require_bound() const;
    void run_call(const Call& call) const;
    void run_calls() const;

    Context context_;
    std::vector<BufferSpec> buffers_;
    std::vector<Call> calls_;
    std::vector<int> external_reads_;  ///< buffers
    std::vector<Placement> placements_;
    std::vector<void*> bound_;
    std::int64_t bytes_ = 0;
    std::unique_ptr<DeviceMemory> arena_;
    RecordedWork recorded_;
    double delay_;       ///< seconds that a timed run is given to be queued in
    bool warm_ = false;  ///< has run once, so that nothing is initialised while work is recorded
};

}  // namespace iwseg
