#pragma once

#include <map>
#include <optional>
#include <vector>

#include "engine/context.h"
#include "engine/graph.h"
#include "engine/parameters.h"
#include "engine/program.h"

namespace iwseg {

struct CompileOptions {
    bool training = false;              ///< batch statistics and gradients, else running statistics and none
    bool bf16 = false;                  ///< activations and convolution operands
    std::optional<Layout> layout = {};  ///< of activations, where it is not to be the device's preferred one
    std::vector<Tensor> keep = {};      ///< to be read after a run, as (N, C, D, H, W) f32
    std::vector<Tensor> minimise = {};  ///< losses: their values are kept, and their gradients added up
};

/// A graph as a program: forward, backward, in order. More calls may be added before it is planned.
struct Compiled {
    Program program;
    std::map<int, Buffer> buffers;  ///< of the graph's inputs, and of what is kept and minimised

    /// Throws std::logic_error for a tensor that is neither an input nor kept.
    Buffer operator[](Tensor tensor) const;
};

/// Declares the graph's parameters where they are new, chooses the activations' layout, fuses what can be, makes
/// convolutions ready and adds all calls. What nothing kept or minimised needs is left out. The context and the
/// parameters must outlive the plan; the graph need not.
/// Throws std::invalid_argument on a tensor of another graph, and where parameters have other shapes.
Compiled compile(const Graph& graph, Context& context, Parameters& parameters, const CompileOptions& options);

}  // namespace iwseg
