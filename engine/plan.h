#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/arena.h"
#include "engine/program.h"

namespace iwseg {

/// Where each tensor lies and from which step to which it is needed.
struct Placement {
    Tensor root = -1;           ///< the tensor whose memory this one took over, or itself
    int first = 0, last = -1;   ///< steps; last < first: never used
    std::int64_t offset = 0;    ///< bytes from the arena's start
};

/// A program made ready to run: every tensor placed in one arena, so that a run allocates nothing.
class Plan {
  public:
    /// Throws InputError where the device has less memory than the plan needs.
    explicit Plan(Program program);

    /// Bytes of the arena; what tensors alive at the same time need, up to the packing.
    std::int64_t bytes() const { return bytes_; }
    /// What the plan would take, without allocating it.
    static std::int64_t bytes_needed(const Program& program);

    void bind(Tensor external, void* memory);
    View operator[](Tensor tensor) const;
    template <class T>
    T* data(Tensor tensor) const {
        return static_cast<T*>((*this)[tensor].data);
    }

    void run();
    /// The same, calling after(step, seconds) after each step.
    void run_timed(const std::function<void(const Step&, double)>& after);
    /// Bytes of the tensors a step reads and writes, each once; scratch left out.
    std::int64_t bytes_moved(const Step& step) const;

    const std::vector<TensorSpec>& tensors() const { return tensors_; }
    const std::vector<Placement>& placements() const { return placements_; }
    const Arena& arena() const { return *arena_; }

  private:
    std::vector<TensorSpec> tensors_;
    std::vector<Step> steps_;
    std::vector<Placement> placements_;
    std::vector<void*> bound_;
    std::int64_t bytes_ = 0;
    std::unique_ptr<Arena> arena_;
};

}  // namespace iwseg
