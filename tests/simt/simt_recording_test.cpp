// Recording on the executor: what is recorded and replayed, and each call that CUDA refuses meanwhile.
#include "tests/simt/simt_recording.h"

#include <gtest/gtest.h>

#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/simt/simt_backend.h"
#include "tests/support/kernel_tensor.h"

namespace iwseg {
namespace {

std::string error_of(const std::function<void()>& call) {
    try {
        call();
    } catch (const std::logic_error& error) {
        return error.what();
    }
    return "";
}

#define EXPECT_SAYS(text, part) EXPECT_NE((text).find(part), std::string::npos) << "it says: " << (text)

/// Two streams, and two arrays of 101 numbers of which one can be added to the other.
class SimtRecording : public testing::Test {
  protected:
    static constexpr std::int64_t kCount = 101;

    ~SimtRecording() override {
        device_.close_stream(stream_);
        device_.close_stream(other_);
    }

    static View view_of(const KernelArray<float>& array) { return {array.data(), {1, 1, 1, 1, kCount}}; }
    void add(Stream stream) { device_.add(stream, view_of(from_), view_of(to_)); }
    float sum() const {
        const std::vector<float> values = to_.host();
        EXPECT_EQ(values, std::vector<float>(kCount, values[0]));
        return values[0];
    }
    /// That nothing of a recording is left over.
    void expect_usable() {
        const float before = sum();
        add(stream_);
        ASSERT_TRUE(device_.begin_recording(stream_));
        add(stream_);
        const RecordedWork work = device_.end_recording(stream_);
        device_.replay(stream_, work);
        device_.replay(stream_, work);
        device_.release_recorded(work);
        EXPECT_EQ(sum(), before + 3);
    }

    const Backend& device_ = simt::backend();
    Stream stream_ = device_.open_stream(nullptr), other_ = device_.open_stream(nullptr);
    KernelArray<float> from_{device_, kCount, 1.0f}, to_{device_, kCount, 0.0f};
};

TEST_F(SimtRecording, WorkIsDoneByEachReplayAndNotBefore) {
    const simt::executor::RecordingCount before = simt::executor::recording_count();
    ASSERT_TRUE(device_.begin_recording(stream_));
    add(stream_);
    add(stream_);
    device_.set_zero(stream_, from_.data(), 4);
    const RecordedWork work = device_.end_recording(stream_);
    EXPECT_EQ(sum(), 0);
    device_.replay(stream_, work);
    std::vector<float> expected(kCount, 2.0f);
    EXPECT_EQ(to_.host(), expected);
    EXPECT_EQ(from_.host()[0], 0);
    EXPECT_EQ(from_.host()[1], 1);
    device_.replay(stream_, work);  // reads the zero that the first left
    expected.assign(kCount, 4.0f);
    expected[0] = 2.0f;
    EXPECT_EQ(to_.host(), expected);
    device_.release_recorded(work);
    EXPECT_EQ(simt::executor::recording_count().recordings - before.recordings, 1);
    EXPECT_EQ(simt::executor::recording_count().replays - before.replays, 2);
}

TEST_F(SimtRecording, ReplaysReadWhatMemoryHoldsByThen) {
    ASSERT_TRUE(device_.begin_recording(stream_));
    add(stream_);
    const RecordedWork work = device_.end_recording(stream_);
    const std::vector<float> tens(kCount, 10.0f);
    device_.copy_to_device(stream_, tens.data(), from_.data(), kCount * 4);
    device_.replay(stream_, work);
    device_.synchronise(stream_);
    EXPECT_EQ(sum(), 10);
    device_.release_recorded(work);
}

TEST_F(SimtRecording, EachCallThatCudaRefusesIsAnErrorAndMakesTheRecordingInvalid) {
    ASSERT_TRUE(device_.begin_recording(other_));
    const RecordedWork earlier = device_.end_recording(other_);
    const Event event = device_.record_event(other_, {});
    std::vector<float> host(kCount);
    const struct {
        const char* says;
        std::function<void()> call;
    } calls[] = {
        {"an allocation", [&] { device_.allocate(4); }},
        {"an allocation of pinned memory", [&] { device_.allocate_host(4); }},
        {"a copy from the host", [&] { device_.copy_to_device(stream_, host.data(), to_.data(), kCount * 4); }},
        {"a copy to the host", [&] { device_.copy_to_host(stream_, to_.data(), host.data(), kCount * 4); }},
        {"waiting for a stream", [&] { device_.synchronise(stream_); }},
        {"waiting for a stream", [&] { device_.synchronise(other_); }},
        {"an event", [&] { device_.record_event(stream_, {}); }},
        {"waiting for an event", [&] { device_.wait_for(event); }},
        {"another recording", [&] { device_.begin_recording(stream_); }},
        {"another recording", [&] { device_.begin_recording(other_); }},
        {"a replay", [&] { device_.replay(stream_, earlier); }},
        {"work of another stream", [&] { add(other_); }},
        {"work of another stream", [&] { add({}); }},
        {"work of another stream", [&] { device_.set_zero(other_, to_.data(), 4); }},
    };
    for (const auto& [says, call] : calls) {
        SCOPED_TRACE(says);
        ASSERT_TRUE(device_.begin_recording(stream_));
        add(stream_);
        EXPECT_SAYS(error_of(call), std::string(says) + " while a stream is recorded");
        EXPECT_SAYS(error_of([&] { add(stream_); }), "the recording is invalid");
        EXPECT_SAYS(error_of([&] { device_.end_recording(stream_); }), std::string("invalid: ") + says);
        expect_usable();
    }
    device_.release_recorded(earlier);
    device_.release_event(event);
}

TEST_F(SimtRecording, CallsThatReportNothingMakeItInvalidToo) {
    const Stream third = device_.open_stream(nullptr);
    void* const memory = device_.allocate(4);
    void* const pinned = device_.allocate_host(4);
    const struct {
        const char* says;
        Stream recorded;
        std::function<void()> call;
    } calls[] = {
        {"a release of memory", stream_, [&] { device_.release(memory, 4); }},
        {"a release of pinned memory", stream_, [&] { device_.release_host(pinned, 4); }},
        {"the end of that stream", third, [&] { device_.close_stream(third); }},
    };
    for (const auto& one : calls) {
        SCOPED_TRACE(one.says);
        ASSERT_TRUE(device_.begin_recording(one.recorded));
        one.call();
        EXPECT_SAYS(error_of([&] { device_.end_recording(one.recorded); }), std::string("invalid: ") + one.says);
        expect_usable();
    }
}

TEST_F(SimtRecording, OnlyAStreamThatIsRecordedCanBeEnded) {
    EXPECT_SAYS(error_of([&] { device_.end_recording(stream_); }), "not being recorded");
    EXPECT_SAYS(error_of([&] { device_.begin_recording({}); }), "the default stream");
    ASSERT_TRUE(device_.begin_recording(stream_));
    EXPECT_SAYS(error_of([&] { device_.end_recording(other_); }), "not being recorded");
    add(stream_);
    device_.release_recorded(device_.end_recording(stream_));
    EXPECT_EQ(sum(), 0);
}

}  // namespace
}  // namespace iwseg
