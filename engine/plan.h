#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/device_memory.h"
#include "engine/program.h"

namespace iwseg {

/// Where each tensor lies and from which step to which it is needed.
struct Placement {
    Tensor root = -1;           ///< the tensor whose memory this one took over, or itself
    int first = 0, last = -1;   ///< steps; last < first: never used
    std::int64_t offset = 0;    ///< bytes from the arena's start
};

/// What each step of a plan took on the device's own clock.
struct StepTimes {
    std::vector<double> seconds;  ///< of each step, in order
    /// The device had to wait for the host, so that steps shorter than their launch are given too long a time. The next
    /// run is given more time to be queued in.
    bool starved = false;
};

/// A program made ready to run: every tensor placed in one arena, so that a run allocates nothing.
class Plan {
  public:
    /// Throws InputError where the device has less memory than the plan needs.
    Plan(Context& context, Program program);
    ~Plan();
    Plan(const Plan&) = delete;
    Plan& operator=(const Plan&) = delete;

    /// Bytes of the arena; what tensors alive at the same time need, up to the packing.
    std::int64_t bytes() const { return bytes_; }
    /// What the plan would take, without allocating it.
    static std::int64_t bytes_needed(const Program& program);

    /// memory: of the device, aligned to 16 bytes. Throws std::invalid_argument where it is not.
    void bind(Tensor external, void* memory);
    View operator[](Tensor tensor) const;
    template <class T>
    T* data(Tensor tensor) const {
        return static_cast<T*>((*this)[tensor].data);
    }

    /// Queues all steps. Where the device can record them, they are from the second run on one piece of work (a CUDA
    /// graph), recorded again when another memory is bound. What steps read by reference must stay where it is.
    /// Throws std::runtime_error that names the step where the device refuses one. What fails only once the device is
    /// at work, as a kernel that reads out of bounds, is found by a later call; where the context does not record, each
    /// step is waited for, and the failure names it.
    void run();
    /// Queues all steps one by one and waits.
    StepTimes run_timed();
    const std::vector<Step>& steps() const { return steps_; }
    /// Bytes of the arena that hold something while a step runs.
    std::int64_t live_bytes(int step) const;
    /// Bytes that a step reads and writes, of its tensors each once; scratch left out.
    std::int64_t bytes_moved(const Step& step) const;

    const std::vector<TensorSpec>& tensors() const { return tensors_; }
    const std::vector<Placement>& placements() const { return placements_; }
    const DeviceMemory& arena() const { return *arena_; }

    /// Has the next run record the steps anew: something they read by reference has moved.
    void forget_recorded();

  private:
    void run_step(const Step& step) const;
    void run_steps();

    Context& context_;
    std::vector<TensorSpec> tensors_;
    std::vector<Step> steps_;
    std::vector<Placement> placements_;
    std::vector<void*> bound_;
    std::int64_t bytes_ = 0;
    std::unique_ptr<DeviceMemory> arena_;
    RecordedWork recorded_;
    double delay_;       ///< seconds that a timed run is given to be queued in
    bool warm_ = false;  ///< has run once, so that nothing is initialised while work is recorded
};

}  // namespace iwseg
