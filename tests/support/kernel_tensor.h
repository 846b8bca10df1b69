#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "kernels/device/backend.h"
#include "kernels/device/bf16.h"
#include "kernels/device/view.h"
#include "tests/support/reference_operations.h"

namespace iwseg {

/// Memory of a backend's device, for tests of kernels. Where that is host memory it comes from the heap, to the byte,
/// so that AddressSanitizer sees what runs over.
class TestMemory {
  public:
    TestMemory(const Backend& device, const void* content, std::size_t bytes) : device_(&device), bytes_(bytes) {
        if (device.host_memory)
            host_ = std::make_unique<char[]>(bytes);
        else
            memory_ = device.allocate(static_cast<std::int64_t>(bytes));
        write(content);
    }
    ~TestMemory() {
        if (memory_) device_->release(memory_, static_cast<std::int64_t>(bytes_));
    }
    TestMemory(const TestMemory&) = delete;
    TestMemory& operator=(const TestMemory&) = delete;

    void* data() const { return host_ ? host_.get() : memory_; }
    std::size_t bytes() const { return bytes_; }
    void write(const void* content) {
        device_->copy_to_device({}, content, data(), static_cast<std::int64_t>(bytes_));
        device_->synchronise({});
    }
    void read(void* to) const {
        device_->synchronise({});
        device_->copy_to_host({}, data(), to, static_cast<std::int64_t>(bytes_));
        device_->synchronise({});
    }
    const Backend& device() const { return *device_; }

  private:
    const Backend* device_;
    std::size_t bytes_;
    std::unique_ptr<char[]> host_;
    void* memory_ = nullptr;
};

/// A plain array on a device.
template <class T>
class KernelArray {
  public:
    KernelArray(const Backend& device, const std::vector<T>& values)
        : count_(values.size()), memory_(device, values.data(), values.size() * sizeof(T)) {}
    KernelArray(const Backend& device, std::int64_t count, T value = {})
        : KernelArray(device, std::vector<T>(static_cast<std::size_t>(count), value)) {}

    T* data() const { return static_cast<T*>(memory_.data()); }
    std::vector<T> host() const {
        std::vector<T> values(count_);
        memory_.read(values.data());
        return values;
    }

  private:
    std::size_t count_;
    TestMemory memory_;
};

/// A stream for kernels called one by one: the device's own queue, as {} is, with the counters that sums over a launch
/// need.
class KernelStream {
  public:
    explicit KernelStream(const Backend& device) : counters_(device, device.host_memory ? 0 : kStreamCounters, 0u) {}

    operator Stream() const { return {nullptr, counters_.data()}; }
    /// What the counters hold: zeros, between kernels.
    std::vector<unsigned> counters() const { return counters_.host(); }

  private:
    KernelArray<unsigned> counters_;
};

/// Scratch of as many bytes, filled with what reads as NaN.
inline KernelArray<unsigned char> kernel_scratch(const Backend& device, std::int64_t bytes) {
    return {device, bytes + 64, 0xFF};
}

/// A tensor on a device, in any layout and real type. Padding channels start as zero, the rest as NaN, so that what a
/// kernel leaves out is seen.
class KernelTensor {
  public:
    KernelTensor(const Backend& device, const Shape& shape, Layout layout, Type type)
        : shape_(shape), layout_(layout), type_(type) {
        std::vector<char> bytes = blank();
        reference::each(shape, [&](auto n, auto c, auto d, auto h, auto w) { set(bytes, place(n, c, d, h, w), NAN); });
        memory_ = std::make_unique<TestMemory>(device, bytes.data(), bytes.size());
    }
    KernelTensor(const Backend& device, const reference::Array& array, Layout layout, Type type)
        : shape_(array.shape), layout_(layout), type_(type) {
        std::vector<char> bytes = blank();
        reference::each(shape_, [&](auto n, auto c, auto d, auto h, auto w) {
            set(bytes, place(n, c, d, h, w), static_cast<float>(array.at(n, c, d, h, w)));
        });
        memory_ = std::make_unique<TestMemory>(device, bytes.data(), bytes.size());
    }

    View view() const { return {memory_->data(), shape_, type_, layout_}; }

    reference::Array array() const {
        const std::vector<char> bytes = read();
        reference::Array array(shape_);
        reference::each(shape_, [&](auto n, auto c, auto d, auto h, auto w) {
            array.at(n, c, d, h, w) = get(bytes, place(n, c, d, h, w));
        });
        return array;
    }

    bool padding_is_zero() const {
        const std::vector<char> bytes = read();
        Shape padded = shape_;
        padded.c = padded_channels(layout_, shape_.c);
        bool zero = true;
        reference::each(padded, [&](auto n, auto c, auto d, auto h, auto w) {
            if (c >= shape_.c && get(bytes, place(n, c, d, h, w)) != 0) zero = false;
        });
        return zero;
    }

  private:
    std::vector<char> blank() const {
        return std::vector<char>(static_cast<std::size_t>(bytes_of(shape_, type_, layout_)));
    }
    std::vector<char> read() const {
        std::vector<char> bytes = blank();
        memory_->read(bytes.data());
        return bytes;
    }
    std::size_t place(std::int64_t n, std::int64_t c, std::int64_t d, std::int64_t h, std::int64_t w) const {
        const std::int64_t block = block_of(layout_, shape_.c), blocks = padded_channels(layout_, shape_.c) / block;
        return static_cast<std::size_t>(
            ((((n * blocks + c / block) * shape_.d + d) * shape_.h + h) * shape_.w + w) * block + c % block);
    }
    float get(const std::vector<char>& bytes, std::size_t at) const {
        if (type_ == Type::bf16) {
            Bf16 value;
            std::memcpy(&value, bytes.data() + 2 * at, 2);
            return to_f32(value);
        }
        float value;
        std::memcpy(&value, bytes.data() + 4 * at, 4);
        return value;
    }
    void set(std::vector<char>& bytes, std::size_t at, float value) const {
        if (type_ == Type::bf16) {
            Bf16 rounded;
            store(rounded, value);
            std::memcpy(bytes.data() + 2 * at, &rounded, 2);
        } else {
            std::memcpy(bytes.data() + 4 * at, &value, 4);
        }
    }

    Shape shape_;
    Layout layout_;
    Type type_;
    std::unique_ptr<TestMemory> memory_;
};

}  // namespace iwseg
