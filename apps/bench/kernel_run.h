#pragma once

#include <memory>
#include <string>
#include <vector>

#include "apps/bench/kernel_case.h"
#include "engine/context.h"

namespace iwseg {

/// How far what a kernel wrote is from the CPU's result in f32.
struct KernelDifference {
    std::string operand;
    double largest = 0;  ///< as a share of the largest value; infinity where one is a NaN and the other is not
    double allowed = 0;
    bool right() const { return largest <= allowed; }
};

/// A kernel call placed on a context's device.
class KernelRun {
  public:
    KernelRun(Context& context, const KernelCaseOptions& options);
    ~KernelRun();
    KernelRun(const KernelRun&) = delete;
    KernelRun& operator=(const KernelRun&) = delete;

    /// Puts every operand back to what it was before the first call.
    void reset();
    /// Queues the call once.
    void launch();
    /// Bytes of the operands, each once.
    double bytes() const;
    double operations() const;
    /// Of a convolution, what computes it; else empty.
    const std::string& engine() const;
    /// Compares what is written after one call from the first state with the same call on the CPU, in f32.
    std::vector<KernelDifference> check();

  private:
    struct Placed;
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace iwseg
