#pragma once

#include "kernels/device/backend.h"

namespace iwseg {

/// Another queue of a device's work, beside the context's own.
class DeviceStream {
  public:
    explicit DeviceStream(const Backend& device) : device_(device), stream_(device.open_stream(nullptr)) {}
    ~DeviceStream() { device_.close_stream(stream_); }
    DeviceStream(const DeviceStream&) = delete;
    DeviceStream& operator=(const DeviceStream&) = delete;

    Stream get() const { return stream_; }

  private:
    const Backend& device_;
    Stream stream_;
};

}  // namespace iwseg
