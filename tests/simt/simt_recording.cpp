#include "tests/simt/simt_recording.h"

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "kernels/device/memory.h"

namespace iwseg::simt {
namespace {

using WorkList = std::vector<std::function<void()>>;

struct Recording {
    const void* stream;
    std::unique_ptr<WorkList> work;
    const char* refused = nullptr;  ///< the first call that made it invalid
};
std::unique_ptr<Recording> recording;  ///< that is under way
executor::RecordingCount counted;

/// What a stream's handle points to: as on a GPU, no two are the same, and none is the default stream's null.
struct Queue {};

void require_valid(const Recording& one) {
    if (one.refused)
        throw std::logic_error(std::string("the recording is invalid: ") + one.refused + " while a stream is recorded");
}

}  // namespace

namespace executor {

const RecordingCount& recording_count() {
    return counted;
}

void submit(Stream stream, std::function<void()> work) {
    if (!recording) return work();
    require_valid(*recording);
    if (stream.handle != recording->stream) require_not_recording("work of another stream");
    recording->work->push_back(std::move(work));
}

void require_not_recording(const char* call) {
    if (!recording) return;
    note_while_recording(call);
    throw std::logic_error(std::string(call) + " while a stream is recorded, which CUDA refuses");
}

void note_while_recording(const char* call) noexcept {
    if (recording && !recording->refused) recording->refused = call;
}

}  // namespace executor

Stream open_stream(ThreadPool*) {
    const Stream stream{new Queue, static_cast<unsigned*>(allocate(kStreamCounterBytes))};
    set_zero(stream, stream.counters, kStreamCounterBytes);
    return stream;
}

void close_stream(Stream stream) noexcept {
    if (recording && recording->stream == stream.handle) executor::note_while_recording("the end of that stream");
    delete static_cast<Queue*>(stream.handle);
    release(stream.counters, kStreamCounterBytes);
}

bool begin_recording(Stream stream) {
    executor::require_not_recording("another recording");
    if (!stream.handle) throw std::logic_error("the default stream cannot be recorded");
    recording = std::make_unique<Recording>(Recording{stream.handle, std::make_unique<WorkList>()});
    return true;
}

RecordedWork end_recording(Stream stream) {
    if (!recording || recording->stream != stream.handle) throw std::logic_error("the stream is not being recorded");
    const std::unique_ptr<Recording> ended = std::exchange(recording, nullptr);
    require_valid(*ended);
    ++counted.recordings;
    return {ended->work.release()};
}

void replay(Stream stream, RecordedWork work) {
    executor::require_not_recording("a replay");
    ++counted.replays;
    for (const auto& one : *static_cast<const WorkList*>(work.handle)) executor::submit(stream, one);
}

void release_recorded(RecordedWork work) noexcept {
    delete static_cast<WorkList*>(work.handle);
}

}  // namespace iwseg::simt
