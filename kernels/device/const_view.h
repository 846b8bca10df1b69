#pragma once

#include "kernels/device/view.h"

namespace iwseg {

/// Memory that is only read, seen as a tensor: what an interface takes that writes nothing. A View is one; the other
/// way round there is nothing but to_read.
struct ConstView {
    const void* data = nullptr;
    Shape shape;
    Type type = Type::f32;
    Layout layout = Layout::ncdhw;

    ConstView() = default;
    ConstView(const void* memory, const Shape& of_shape, Type of_type = Type::f32, Layout of_layout = Layout::ncdhw)
        : data(memory), shape(of_shape), type(of_type), layout(of_layout) {}
    ConstView(const View& view) : ConstView(view.data, view.shape, view.type, view.layout) {}

    template <class T>
    const T* as() const {
        return static_cast<const T*>(data);
    }
};

/// For an operand that a kernel, by its description, only reads: the table of kernels has one type for what is read and
/// what is written.
inline View to_read(const ConstView& view) {
    return {const_cast<void*>(view.data), view.shape, view.type, view.layout};
}

}  // namespace iwseg
