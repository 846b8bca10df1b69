#include "engine/plan.h"

#include <algorithm>
#include <cstdint>
#include <exception>
#include <stdexcept>
#include <utility>

#include "base/error.h"
#include "kernels/device/backend.h"

namespace iwseg {
namespace {

constexpr std::uintptr_t kAccessBytes = 16;  ///< that kernels load and store at once

/// A profiler's range, which ends however the work in it does.
class Range {
  public:
    Range(const Backend& device, const std::string& name) : device_(device) { device.begin_range(name.c_str()); }
    ~Range() { device_.end_range(); }
    Range(const Range&) = delete;
    Range& operator=(const Range&) = delete;

  private:
    const Backend& device_;
};

/// What is queued while this lives is recorded. A recording that nobody ends, as a call has thrown, is dropped, so that
/// the stream can be used again.
class Recording {
  public:
    Recording(const Backend& device, Stream stream)
        : device_(device), stream_(stream), under_way_(device.begin_recording(stream)) {}
    ~Recording() {
        if (!under_way_) return;
        try {
            device_.release_recorded(end());
        } catch (const std::exception&) {
            // It was no valid recording, of which the call's exception says more.
        }
    }
    Recording(const Recording&) = delete;
    Recording& operator=(const Recording&) = delete;

    /// False where the device records nothing: work is done as ever.
    bool under_way() const { return under_way_; }
    RecordedWork end() {
        under_way_ = false;
        return device_.end_recording(stream_);
    }

  private:
    const Backend& device_;
    Stream stream_;
    bool under_way_;
};

}  // namespace

std::int64_t Plan::bytes_needed(const Program& program) {
    return place(program.buffers(), program.calls()).bytes;
}

Plan::Plan(const Context& context, const Program& program)
    : context_(context), buffers_(program.buffers()), calls_(program.calls()) {
    Arena placed = place(buffers_, calls_);
    placements_ = std::move(placed.placements);
    bytes_ = placed.bytes;
    for (std::size_t i = 0; i < calls_.size(); ++i)
        if (placed.idle[i]) calls_[i].run = nullptr;
    constexpr double kSecondsToQueue = 50e-6;  // a call of one to four launches, each some microseconds
    delay_ = kSecondsToQueue * static_cast<double>(calls_.size());
    bound_.resize(buffers_.size());
    for (int b = 0; b < static_cast<int>(buffers_.size()); ++b)
        if (buffers_[b].external && placements_[b].last >= placements_[b].first) external_reads_.push_back(b);
    arena_ = std::make_unique<DeviceMemory>(context.backend(), bytes_);
}

Plan::~Plan() {
    invalidate_capture();
}

void Plan::invalidate_capture() {
    if (recorded_.handle) context_.backend().release_recorded(recorded_);
    recorded_ = {};
}

void Plan::bind(Buffer external, void* memory) {
    if (!buffers_.at(static_cast<std::size_t>(external.id)).external)
        throw std::logic_error("only an external buffer can be bound, not " + buffers_[external.id].name);
    if (reinterpret_cast<std::uintptr_t>(memory) % kAccessBytes != 0)
        throw std::invalid_argument(buffers_[external.id].name + " is bound to memory that is not aligned to " +
                                    std::to_string(kAccessBytes) + " bytes");
    if (bound_[external.id] != memory) invalidate_capture();
    bound_[external.id] = memory;
}

View Plan::operator[](Buffer buffer) const {
    const BufferSpec& spec = buffers_[static_cast<std::size_t>(buffer.id)];
    void* data = spec.external ? bound_[buffer.id] : arena_->data() + placements_[buffer.id].offset;
    return {data, spec.shape, spec.form.type, spec.form.layout};
}

void Plan::read(Buffer kept, void* host) const {
    const BufferSpec& spec = buffers_.at(static_cast<std::size_t>(kept.id));
    if (!spec.output)
        throw std::logic_error(spec.name + " is read after a run, but it is not kept: its memory holds something else");
    const Backend& device = context_.backend();
    device.copy_to_host(context_.stream(), (*this)[kept].data, host, spec.bytes());
    device.synchronise(context_.stream());
}

void Plan::require_bound() const {
    for (const int buffer : external_reads_)
        if (!bound_[buffer])
            throw std::logic_error("a plan is run before " + buffers_[buffer].name + " is bound to memory");
}

void Plan::run_call(const Call& call) const {
    if (!call.run) return;  // a copy with nothing left to do
    const Backend& device = context_.backend();
    const Range range(device, call.name);
    try {
        call.run(*this);
        if (!context_.records()) device.synchronise(context_.stream());
    } catch (const InputError&) {
        throw;
    } catch (const std::runtime_error& error) {
        throw std::runtime_error("step " + call.name + ": " + error.what());
    }
}

void Plan::run_calls() const {
    for (const Call& call : calls_) run_call(call);
}

void Plan::run() {
    require_bound();
    const Backend& device = context_.backend();
    const Stream stream = context_.stream();
    if (!recorded_.handle) {
        if (!warm_ || !context_.records()) {
            run_calls();
            warm_ = true;
            return;
        }
        Recording recording(device, stream);
        run_calls();
        if (!recording.under_way()) return;
        recorded_ = recording.end();
    }
    device.replay(stream, recorded_);
}

std::int64_t Plan::bytes_moved(const Call& call) const {
    std::int64_t bytes = call.bytes_outside;
    for (const auto* list : {&call.reads, &call.writes})
        for (const Buffer buffer : *list) {
            const BufferSpec& spec = buffers_[static_cast<std::size_t>(buffer.id)];
            if (spec.form.type != Type::u8) bytes += spec.bytes();
        }
    return bytes;
}

StepTimes Plan::run_timed() {
    require_bound();
    constexpr double kLongestDelay = 1;
    const Backend& device = context_.backend();
    const Stream stream = context_.stream();
    device.delay(stream, delay_);
    std::vector<Event> events{device.record_event(stream, {})};
    for (const Call& call : calls_) {
        run_call(call);
        events.push_back(device.record_event(stream, {}));
    }
    StepTimes times;
    times.starved = !device.host_memory && device.completed(events.front());
    if (times.starved) delay_ = std::min(2 * delay_, kLongestDelay);
    device.wait_for(events.back());
    for (std::size_t i = 0; i < calls_.size(); ++i)
        times.seconds.push_back(device.seconds_between(events[i], events[i + 1]));
    for (const Event event : events) device.release_event(event);
    return times;
}

std::int64_t Plan::live_bytes(int call) const {
    return iwseg::live_bytes(buffers_, placements_, call);
}

}  // namespace iwseg
