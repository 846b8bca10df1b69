#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels/bf16.h"
#include "kernels/view.h"
#include "tests/reference_operations.h"

namespace iwseg {

/// A tensor with its own memory, in any layout and real type, for tests of kernels. Padding channels start as zero, the
/// rest as NaN, so that what a kernel leaves out is seen.
class KernelTensor {
  public:
    KernelTensor(const Shape& shape, Layout layout, Type type)
        : shape_(shape), layout_(layout), type_(type), bytes_(static_cast<std::size_t>(bytes_of(shape, type, layout))) {
        reference::each(shape, [&](auto n, auto c, auto d, auto h, auto w) { set(place(n, c, d, h, w), NAN); });
    }
    KernelTensor(const reference::Array& array, Layout layout, Type type) : KernelTensor(array.shape, layout, type) {
        reference::each(shape_, [&](auto n, auto c, auto d, auto h, auto w) {
            set(place(n, c, d, h, w), static_cast<float>(array.at(n, c, d, h, w)));
        });
    }

    View view() { return {bytes_.data(), shape_, type_, layout_}; }

    reference::Array array() const {
        reference::Array array(shape_);
        reference::each(shape_, [&](auto n, auto c, auto d, auto h, auto w) {
            array.at(n, c, d, h, w) = get(place(n, c, d, h, w));
        });
        return array;
    }

    bool padding_is_zero() const {
        Shape padded = shape_;
        padded.c = padded_channels(layout_, shape_.c);
        bool zero = true;
        reference::each(padded, [&](auto n, auto c, auto d, auto h, auto w) {
            if (c >= shape_.c && get(place(n, c, d, h, w)) != 0) zero = false;
        });
        return zero;
    }

  private:
    std::size_t place(std::int64_t n, std::int64_t c, std::int64_t d, std::int64_t h, std::int64_t w) const {
        const std::int64_t block = block_of(layout_, shape_.c), blocks = padded_channels(layout_, shape_.c) / block;
        return static_cast<std::size_t>(
            ((((n * blocks + c / block) * shape_.d + d) * shape_.h + h) * shape_.w + w) * block + c % block);
    }
    float get(std::size_t at) const {
        if (type_ == Type::bf16) {
            Bf16 value;
            std::memcpy(&value, bytes_.data() + 2 * at, 2);
            return to_f32(value);
        }
        float value;
        std::memcpy(&value, bytes_.data() + 4 * at, 4);
        return value;
    }
    void set(std::size_t at, float value) {
        if (type_ == Type::bf16) {
            Bf16 rounded;
            store(rounded, value);
            std::memcpy(bytes_.data() + 2 * at, &rounded, 2);
        } else {
            std::memcpy(bytes_.data() + 4 * at, &value, 4);
        }
    }

    Shape shape_;
    Layout layout_;
    Type type_;
    std::vector<char> bytes_;
};

}  // namespace iwseg
