// kernels/device/memory_cuda.cu, timing_cuda.cu and backend_cuda.cu on a card that does everything as late as it
// may.
#include <cmath>
#include <functional>
#include <numeric>
#include <random>
#include <vector>

#include "base/error.h"
#include "engine/device_memory.h"
#include "tests/cuda_host/cuda_host.h"

namespace iwseg {
namespace {

/// A stream for a scope.
class OpenStream {
  public:
    OpenStream() : stream_(cuda::open_stream(nullptr)) {}
    ~OpenStream() { cuda::close_stream(stream_); }
    Stream get() const { return stream_; }

  private:
    Stream stream_;
};

/// Pinned memory for a scope.
struct Pinned {
    explicit Pinned(std::int64_t count) : floats(static_cast<float*>(cuda::allocate_host(count * 4))) {}
    ~Pinned() { cuda::release_host(floats, 0); }
    float* floats;
};

void over_schedules(const standin::CardOptions& options, const std::function<void()>& body) {
    for (std::uint64_t seed = 0; seed < 10; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        standin::CardOptions seeded = options;
        seeded.seed = seed;
        standin::insert_card(seeded);
        body();
        EXPECT_EQ(standin::alive().text(), "nothing");
        for (const std::string& problem : standin::take_problems()) ADD_FAILURE() << problem;
    }
}

TEST_F(CudaHost, CopiesGoUpAndDownInTheStreamsOrder) {
    over_schedules({}, [] {
        const std::int64_t count = 1 + static_cast<std::int64_t>(std::random_device{}() % 5000);
        const DeviceMemory memory(cuda::backend(), count * 4);
        const OpenStream stream;
        std::vector<float> up(static_cast<std::size_t>(count)), down(up.size());
        std::iota(up.begin(), up.end(), 1.0f);
        cuda::copy_to_device(stream.get(), up.data(), memory.data(), count * 4);
        cuda::copy_to_host(stream.get(), memory.data(), down.data(), count * 4);
        cuda::set_zero(stream.get(), memory.data(), count * 4);
        cuda::synchronise(stream.get());
        EXPECT_EQ(up, down);
        const Pinned pinned(count);
        cuda::copy_to_host(stream.get(), memory.data(), pinned.floats, count * 4);
        cuda::synchronise(stream.get());
        EXPECT_EQ(std::accumulate(pinned.floats, pinned.floats + count, 0.0f), 0.0f);
    });
}

TEST_F(CudaHost, PinnedMemoryArrivesWhenItIsWaitedForAndNotBefore) {
    const DeviceMemory memory(cuda::backend(), 4);
    const OpenStream stream;
    const Pinned pinned(1);
    cuda::set_zero(stream.get(), memory.data(), 4);
    cuda::copy_to_host(stream.get(), memory.data(), pinned.floats, 4);
    EXPECT_TRUE(std::isnan(*pinned.floats)) << "seed 0 is as late as it may be";
    cuda::synchronise(stream.get());
    EXPECT_EQ(*pinned.floats, 0.0f);
}

TEST_F(CudaHost, ReleasingPinnedMemoryWaitsForCopiesIntoIt) {
    const DeviceMemory memory(cuda::backend(), 4);
    const OpenStream stream;
    {
        const Pinned pinned(1);
        cuda::copy_to_host(stream.get(), memory.data(), pinned.floats, 4);
    }
    cuda::synchronise(stream.get());
}

TEST_F(CudaHost, KernelsRunInTheStreamsOrder) {
    over_schedules({}, [] {
        const std::int64_t count = 1 + static_cast<std::int64_t>(std::random_device{}() % 3000);
        const DeviceMemory a(cuda::backend(), count * 4), b(cuda::backend(), count * 4);
        const OpenStream stream;
        std::vector<float> host(static_cast<std::size_t>(count), 1.5f);
        const View va{a.data(), {1, 1, 1, 1, count}}, vb{b.data(), {1, 1, 1, 1, count}};
        cuda::copy_to_device(stream.get(), host.data(), a.data(), count * 4);
        cuda::copy(stream.get(), va, vb);
        cuda::add(stream.get(), va, vb);
        cuda::copy_to_host(stream.get(), b.data(), host.data(), count * 4);
        cuda::synchronise(stream.get());
        EXPECT_EQ(host, std::vector<float>(host.size(), 3.0f));
    });
}

TEST_F(CudaHost, RecordedWorkIsDoneAtEachReplayAndNotWhenItIsRecorded) {
    over_schedules({}, [] {
        const DeviceMemory a(cuda::backend(), 400), b(cuda::backend(), 400);
        const OpenStream stream;
        const View va{a.data(), {1, 1, 1, 1, 100}}, vb{b.data(), {1, 1, 1, 1, 100}};
        std::vector<float> ones(100, 1.0f);
        cuda::copy_to_device(stream.get(), ones.data(), a.data(), 400);
        cuda::set_zero(stream.get(), b.data(), 400);
        ASSERT_TRUE(cuda::begin_recording(stream.get()));
        cuda::add(stream.get(), va, vb);
        const RecordedWork work = cuda::end_recording(stream.get());
        for (int i = 0; i < 3; ++i) cuda::replay(stream.get(), work);
        std::vector<float> sums(100);
        cuda::copy_to_host(stream.get(), b.data(), sums.data(), 400);
        cuda::synchronise(stream.get());
        EXPECT_EQ(sums, std::vector<float>(100, 3.0f));
        cuda::release_recorded(work);
    });
}

TEST_F(CudaHost, WhatARecordingForbidsEndsItInASentence) {
    const OpenStream stream;
    const Pinned pinned(1);
    const DeviceMemory memory(cuda::backend(), 4);
    const std::function<void()> forbidden[] = {[] { cuda::allocate(4); }, [&] { cuda::synchronise(stream.get()); },
                                               [] { cuda::allocate_host(4); },
                                               [&] {
                                                   float pageable = 0;
                                                   cuda::copy_to_host(stream.get(), memory.data(), &pageable, 4);
                                               }};
    for (const auto& one : forbidden) {
        cuda::begin_recording(stream.get());
        EXPECT_THROW(one(), std::runtime_error);
        EXPECT_THROW(cuda::end_recording(stream.get()), std::runtime_error);
        EXPECT_EQ(standin::alive().captures, 0);
        cuda::copy_to_host(stream.get(), memory.data(), pinned.floats, 4);
        cuda::synchronise(stream.get());
    }
}

TEST_F(CudaHost, MarksTellTheCardsTime) {
    const OpenStream stream;
    Event begin = cuda::record_event(stream.get(), {});
    const double peak = cuda::arithmetic_peak(stream.get(), true);
    EXPECT_NEAR(peak, 1e14, 1e12) << "the card's clock runs by what work takes";
    const Event end = cuda::record_event(stream.get(), {});
    EXPECT_THROW(cuda::seconds_between(begin, end), std::runtime_error) << "not waited for";
    EXPECT_FALSE(cuda::completed(end));
    cuda::wait_for(end);
    EXPECT_TRUE(cuda::completed(end));
    EXPECT_GT(cuda::seconds_between(begin, end), 10 * 2.0 * 8192 * 8192 * 8192 / 1e14);
    const Event reused = cuda::record_event(stream.get(), begin);
    EXPECT_EQ(reused.handle, begin.handle);
    cuda::wait_for(reused);
    cuda::wait_for({});
    cuda::release_event(reused);
    cuda::release_event(end);
}

TEST_F(CudaHost, MemoryThatIsNotThereIsRefusedInASentence) {
    standin::insert_card({.memory = 1'000'000});
    try {
        cuda::allocate(2'000'000'000);
        FAIL() << "was given";
    } catch (const InputError& error) {
        EXPECT_NE(std::string(error.what()).find("needs 2.00 GB of GPU memory"), std::string::npos) << error.what();
    }
    EXPECT_EQ(cuda::allocate(0), nullptr);
}

TEST_F(CudaHost, HalfAGigabyteIsNotCountedAsFree) {
    standin::insert_card({.memory = std::int64_t{1} << 30});
    EXPECT_EQ(cuda::free_memory(), std::int64_t{512} << 20) << "for kernels, which are loaded when first launched";
    standin::insert_card({.memory = 1 << 20});
    EXPECT_EQ(cuda::free_memory(), 0);
}

TEST_F(CudaHost, AFailureIsNotToldAgainByTheNextCall) {
    const DeviceMemory a(cuda::backend(), 4), b(cuda::backend(), 4);
    const OpenStream stream;
    standin::fail_call(1);
    EXPECT_THROW(cuda::set_zero(stream.get(), a.data(), 4), std::runtime_error);
    EXPECT_NO_THROW(cuda::copy(stream.get(), {a.data(), {1, 1, 1, 1, 1}}, {b.data(), {1, 1, 1, 1, 1}}));
    cuda::synchronise(stream.get());
}

TEST_F(CudaHost, AMarkThatCannotBeSetLeavesNoEvent) {
    const OpenStream stream;
    standin::fail_call(2);  // the first makes the event
    EXPECT_THROW(cuda::record_event(stream.get(), {}), std::runtime_error);
    EXPECT_EQ(standin::alive().events, 0);
}

TEST_F(CudaHost, CountersOfAnOpenedStreamAreZero) {
    const OpenStream stream;
    std::vector<unsigned char> counters(kStreamCounterBytes, 1);
    cuda::copy_to_host(stream.get(), stream.get().counters, counters.data(), kStreamCounterBytes);
    cuda::synchronise(stream.get());
    EXPECT_EQ(counters, std::vector<unsigned char>(kStreamCounterBytes, 0));
}

std::string why(const standin::CardOptions& options) {
    standin::insert_card(options);
    EXPECT_EQ(cuda::available(), cuda::why_unavailable().empty());
    return cuda::why_unavailable();
}

TEST_F(CudaHost, ACardIsTakenWhereItsDriverAndItselfAreNewEnough) {
    EXPECT_EQ(why({}), "");
    EXPECT_EQ(why({.driver = 0}), "this machine has no NVIDIA driver");
    EXPECT_EQ(why({.driver = 11040}), "the NVIDIA driver supports CUDA 11.4, but this build needs 13.0");
    EXPECT_NE(why({.cards = 0}).find("there is no usable GPU"), std::string::npos);
    EXPECT_EQ(why({.name = "Old", .major = 7, .minor = 0}),
              "Old is of compute capability 7.0, but 7.5 is the oldest supported");
    EXPECT_THROW(cuda::backend(), InputError);
    EXPECT_EQ(why({.name = "A100", .holds_kernels = false}),
              "this build has no code for A100, which is of compute capability 8.0");
}

}  // namespace
}  // namespace iwseg
