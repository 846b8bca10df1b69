#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

#include "engine/context.h"
#include "engine/device_memory.h"
#include "kernels/device/backend.h"

namespace iwseg {

/// What a device's copy of an array starts as: the host's values, or zeros, of which none are sent.
enum class DeviceStart : unsigned char { copied, zero };

/// An array of the host's where the device works on it: the host's own memory on the CPU, else a copy. Of const T one
/// that is only read.
template <class T>
class DeviceCopy {
  public:
    /// host: `count` elements, which must outlive this; copied to the device at once. With DeviceStart::zero they are
    /// zero by the caller's word.
    DeviceCopy(const Context& context, T* host, std::int64_t count, DeviceStart start = DeviceStart::copied)
        : context_(context), host_(host), bytes_(count * static_cast<std::int64_t>(sizeof(T))) {
        if (context.backend().host_memory) return;
        memory_ = std::make_unique<DeviceMemory>(context.backend(), bytes_);
        if (start == DeviceStart::zero)
            context.backend().set_zero(context.stream(), memory_->data(), bytes_);
        else
            context.backend().copy_to_device(context.stream(), host, memory_->data(), bytes_);
    }

    T* data() const { return memory_ ? reinterpret_cast<T*>(memory_->data()) : host_; }
    /// Waits for what is queued and makes the host's array what the device has.
    void copy_back() const requires(!std::is_const_v<T>) {
        if (memory_) context_.backend().copy_to_host(context_.stream(), memory_->data(), host_, bytes_);
        context_.backend().synchronise(context_.stream());
    }

  private:
    const Context& context_;
    T* host_;
    std::int64_t bytes_;
    std::unique_ptr<DeviceMemory> memory_;
};

}  // namespace iwseg
