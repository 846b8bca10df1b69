#pragma once

#include <cstdint>

#include "kernels/device/backend.h"

namespace iwseg {

/// A block of the device's memory: a plan's arena, parameters, inputs.
class DeviceMemory {
  public:
    /// Throws InputError where the device has less, saying how much was asked for and how much is free.
    DeviceMemory(const Backend& device, std::int64_t bytes)
        : device_(device), bytes_(bytes), data_(static_cast<char*>(device.allocate(bytes))) {}
    ~DeviceMemory() { device_.release(data_, bytes_); }
    DeviceMemory(const DeviceMemory&) = delete;
    DeviceMemory& operator=(const DeviceMemory&) = delete;

    std::int64_t bytes() const { return bytes_; }
    char* data() const { return data_; }

  private:
    const Backend& device_;
    std::int64_t bytes_;
    char* data_;
};

}  // namespace iwseg
