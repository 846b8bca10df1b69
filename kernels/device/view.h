#pragma once

#include <cstddef>
#include <cstdint>

namespace iwseg {

/// f64 holds losses' values alone: no kernel takes it for a tensor.
enum class Type : std::uint8_t { f32, bf16, i32, u8, f64 };

/// How a tensor of logical order (N, C, D, H, W) lies in memory.
///   ncdhw      channels outermost; what files and callers use
///   ndhwc      channels innermost; CUDA
///   blocked8   (N, C/8, D, H, W, 8), channels padded with zeros to a multiple of 8; AVX2
///   blocked16  the same by 16; AVX-512
enum class Layout : std::uint8_t { ncdhw, ndhwc, blocked8, blocked16 };

struct Shape {
    std::int64_t n = 1, c = 1, d = 1, h = 1, w = 1;

    constexpr std::int64_t voxels() const { return d * h * w; }
    constexpr std::int64_t elements() const { return n * c * voxels(); }
    bool operator==(const Shape&) const = default;
};

/// A number for each axis: of a kernel or a stride, in voxels.
struct Sides {
    int d = 1, h = 1, w = 1;

    constexpr Sides(int all = 1) : d(all), h(all), w(all) {}
    constexpr Sides(int of_d, int of_h, int of_w) : d(of_d), h(of_h), w(of_w) {}
    constexpr int product() const { return d * h * w; }
    constexpr bool operator==(const Sides&) const = default;
};

/// Memory owned by someone else, seen as a tensor. Copying a view copies no data.
struct View {
    void* data = nullptr;
    Shape shape;
    Type type = Type::f32;
    Layout layout = Layout::ncdhw;

    template <class T>
    T* as() const {
        return static_cast<T*>(data);
    }
};

constexpr std::int64_t bytes_of(Type type) {
    return type == Type::u8 ? 1 : type == Type::bf16 ? 2 : type == Type::f64 ? 8 : 4;
}

/// Channels that lie next to each other for one voxel: 1 for ncdhw, C for ndhwc, else 8 or 16.
constexpr std::int64_t block_of(Layout layout, std::int64_t channels) {
    switch (layout) {
        case Layout::ncdhw:
            return 1;
        case Layout::ndhwc:
            return channels;
        case Layout::blocked8:
            return 8;
        case Layout::blocked16:
            return 16;
    }
    return 1;
}

/// Channels including the zeros that fill the last block.
constexpr std::int64_t padded_channels(Layout layout, std::int64_t channels) {
    const std::int64_t block = block_of(layout, channels);
    return (channels + block - 1) / block * block;
}

/// Bytes the tensor takes, padding included.
constexpr std::int64_t bytes_of(const Shape& shape, Type type, Layout layout) {
    return shape.n * padded_channels(layout, shape.c) * shape.voxels() * bytes_of(type);
}

}  // namespace iwseg
