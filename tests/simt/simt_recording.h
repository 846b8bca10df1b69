#pragma once

#include <cstdint>
#include <functional>

#include "kernels/device/declare.h"

// CUDA's stream capture on the executor, with its rules as errors. The recording that is under way belongs to one
// stream; a call that CUDA refuses meanwhile is refused here too and makes the recording invalid, as on a GPU: whatever
// is queued after it is refused, and end_recording throws and leaves the stream as it was before.
namespace iwseg::simt::executor {

/// For tests: what has been recorded and replayed so far.
struct RecordingCount {
    std::int64_t recordings = 0, replays = 0;
};
const RecordingCount& recording_count();

/// Does work of a stream, or keeps it where that stream is recorded. Throws std::logic_error where another stream is
/// recorded: on a GPU such work would be done once, now, and be missing in every replay.
void submit(Stream stream, std::function<void()> work);

/// For what CUDA refuses while a stream is recorded; `call` is its name in the sentence of the std::logic_error.
void require_not_recording(const char* call);

/// The same for calls that report no error: the end of the recording does.
void note_while_recording(const char* call) noexcept;

}  // namespace iwseg::simt::executor
