#pragma once

#include "engine/context.h"
#include "kernels/device/backend.h"

namespace iwseg {

/// How long queued work takes on the device, and a way to wait for just that work.
class DeviceTimer {
  public:
    explicit DeviceTimer(const Context& context) : device_(context.backend()), stream_(context.stream()) {}
    ~DeviceTimer() {
        device_.release_event(begin_);
        device_.release_event(end_);
    }
    DeviceTimer(const DeviceTimer&) = delete;
    DeviceTimer& operator=(const DeviceTimer&) = delete;

    void start() { begin_ = device_.record_event(stream_, begin_); }
    void stop() { end_ = device_.record_event(stream_, end_); }
    /// Waits until what was queued before stop is done. Returns the seconds from start to stop.
    double wait() const {
        device_.wait_for(end_);
        return device_.seconds_between(begin_, end_);
    }

  private:
    const Backend& device_;
    Stream stream_;
    Event begin_, end_;
};

}  // namespace iwseg
