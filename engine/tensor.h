#pragma once

#include <string>

#include "kernels/device/view.h"

namespace iwseg {

class Graph;

/// What an operation of a graph gives, or an input of it: a shape and where it comes from. It has values in plans alone
/// (engine/compile.h). Copying it copies no data; the graph must outlive it.
struct Tensor {
    Graph* graph = nullptr;
    int id = -1;

    /// (N, C, D, H, W)
    Shape shape() const;
    bool operator==(const Tensor&) const = default;
};

/// For messages: (2, 1, 64, 64, 64).
std::string text_of(const Shape& shape);

}  // namespace iwseg
