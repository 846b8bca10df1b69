#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/device_memory.h"
#include "kernels/device/backend.h"

namespace iwseg {

/// An f32 array of the host with its copy on a device, where that has memory of its own.
class FlatArray {
  public:
    std::vector<float> host;

    std::int64_t bytes() const { return static_cast<std::int64_t>(host.size() * sizeof(float)); }
    /// Memory that the device's calls read and write: the copy, or the host's where that is the device's.
    float* on_device() { return copy_ ? reinterpret_cast<float*>(copy_->data()) : host.data(); }
    bool has_copy() const { return copy_ != nullptr; }

    /// Makes the copy where the device has memory of its own and there is none yet, and queues its upload. One that is
    /// there stays as it is: it may be newer than the host's.
    void place(const Backend& device, Stream stream) {
        if (device.host_memory || copy_ || bytes() == 0) return;
        copy_ = std::make_unique<DeviceMemory>(device, bytes());
        upload(device, stream);
    }
    /// Queue copies; nothing to do where there is no copy.
    void upload(const Backend& device, Stream stream) const {
        if (copy_) device.copy_to_device(stream, host.data(), copy_->data(), bytes());
    }
    void download(const Backend& device, Stream stream) {
        if (copy_) device.copy_to_host(stream, copy_->data(), host.data(), bytes());
    }

  private:
    std::unique_ptr<DeviceMemory> copy_;
};

}  // namespace iwseg
