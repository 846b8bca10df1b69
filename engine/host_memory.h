#pragma once

#include <cstdint>

#include "kernels/device/backend.h"

namespace iwseg {

/// A block of the host's memory that a device copies from and to by itself.
class HostMemory {
  public:
    HostMemory(const Backend& device, std::int64_t bytes)
        : device_(device), bytes_(bytes), data_(static_cast<char*>(device.allocate_host(bytes))) {}
    ~HostMemory() { device_.release_host(data_, bytes_); }
    HostMemory(const HostMemory&) = delete;
    HostMemory& operator=(const HostMemory&) = delete;

    std::int64_t bytes() const { return bytes_; }
    char* data() const { return data_; }

  private:
    const Backend& device_;
    std::int64_t bytes_;
    char* data_;
};

}  // namespace iwseg
