#pragma once

#include <any>
#include <cstdint>
#include <optional>
#include <string>

#include "engine/context.h"
#include "engine/operation.h"
#include "engine/packed_weights.h"
#include "engine/parameters.h"
#include "engine/program.h"
#include "kernels/device/backend.h"

namespace iwseg {

class Compiler;

/// Where a gradient goes: the first to write a tensor's gradient overwrites, the others add.
struct GradientDestination {
    Buffer buffer;
    Write write = Write::overwrite;
};

/// One operation's view of the graph that is compiled: the memory of its tensors, its parameters, their gradients.
class Lowering {
  public:
    Lowering(Compiler& compiler, int node) : compiler_(compiler), node_(node) {}

    Context& context() const;
    const Backend& device() const { return context().backend(); }
    Program& program() const;
    bool training() const;
    const std::string& name() const;  ///< the operation's
    Parameters& parameters() const;
    /// The operation's parameter of that number.
    ParameterId parameter(int number) const;
    PackedWeights& packed_weights() const;
    /// What the operation leaves for its later passes in this plan.
    std::any& state() const;

    /// Whether an operation that trains reads statistics of the only output.
    bool statistics_wanted() const;
    /// Sums over an input that its operation leaves, where it does; for forward passes.
    std::optional<ChannelSums> sums_of(int input) const;

    /// What an input is the normalisation of, where nobody else reads it.
    std::optional<Normalisation> normalisation_of(int input) const;
    /// Whether an input is kept, the caller's, or read by an operation after this one.
    bool wanted_later(int input) const;
    /// In prediction: how an input can be made some planes at a time, where nobody else reads it.
    std::optional<PlaneMaker> planes_of(int input) const;
    /// Before forward passes: the operation's own does not read the input, of which it has the normalisation.
    void leave_out(int input) const;
    /// The same of what it makes some planes at a time.
    void leave_out(const PlaneMaker& made) const;
    /// False where the only reader of the output has left it out.
    bool output_wanted() const;

    /// In prediction: what the next operation makes of the output, which a convolution may do on the way.
    std::optional<EpilogueForm> epilogue() const;
    /// The convolution does: the next operation has no forward calls of its own.
    void take_epilogue() const;
    /// Where it has been taken: adds the calls that it needs before the convolution's.
    EpilogueOperands epilogue_operands() const;
    Buffer epilogue_output() const;

    Buffer input(int number) const;
    Buffer output(int number = 0) const;
    /// Memory for one call, or between some.
    Buffer scratch(std::int64_t bytes) const { return program().add_bytes(name() + " scratch", bytes); }
    void add(Call call) const { program().add(std::move(call)); }

    // For backward passes.

    /// False where no parameter has a part in the input, and in plans without training.
    bool wants_gradient(int input) const;
    /// Complete by now; none where nothing that is minimised depends on the output.
    Buffer output_gradient(int number = 0) const;
    GradientDestination input_gradient(int number) const;
    /// An input as the forward pass left it: kept, or rebuilt here.
    Buffer value(int input) const;

  private:
    /// The node that computes an input which nobody but this one reads; -1: there is none.
    int only_for(int input) const;

    Compiler& compiler_;
    int node_;
};

}  // namespace iwseg
