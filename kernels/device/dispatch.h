#pragma once

#include <stdexcept>
#include <string>

#include "kernels/device/bf16.h"
#include "kernels/device/view.h"

/// What launchers of every backend share: from a type known when the program runs to one known when it is compiled, and
/// checks of operands.
namespace iwseg {

/// Calls body(T{}) with float or Bf16.
template <class Body>
void with_real(Type type, Body&& body) {
    if (type == Type::f32) return body(float{});
    if (type == Type::bf16) return body(Bf16{});
    throw std::invalid_argument("expected a tensor of f32 or bf16");
}

inline void require_same(const View& a, const View& b, const char* operation) {
    if (!(a.shape == b.shape) || a.layout != b.layout)
        throw std::invalid_argument(std::string(operation) + ": tensors of different shape or layout");
}

/// As require_same, and of one type.
inline void require_same_form(const View& a, const View& b, const char* operation) {
    require_same(a, b, operation);
    if (a.type != b.type) throw std::invalid_argument(std::string(operation) + ": tensors of different type");
}

/// Numbers a tensor holds, padding included.
inline std::int64_t elements_of(const View& view) {
    return view.shape.n * padded_channels(view.layout, view.shape.c) * view.shape.voxels();
}

}  // namespace iwseg
