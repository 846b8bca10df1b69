#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <dnnl.hpp>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "engine/context.h"
#include "engine/initialisation.h"
#include "kernels/convolution/onednn/imported_symbols.h"
#include "kernels/convolution/onednn/onednn_threads.h"
#include "models/unet.h"
#include "training/session.h"

extern "C" void GOMP_parallel(void (*region)(void*), void* data, unsigned count, unsigned flags);
extern "C" void GOMP_barrier();

// A program with OpenMP of its own, beside which contexts compute on their threads; oneDNN's OpenMP is served by them.
namespace iwseg {
namespace {

using Bytes = std::vector<float>;

Batch noise(const Shape& shape) {
    std::mt19937 random(7);
    std::normal_distribution<float> normal;
    Batch batch;
    batch.shape = shape;
    batch.stride = 2;
    for (std::int64_t i = 0; i < shape.elements(); ++i) batch.image.push_back(normal(random));
    for (std::int64_t i = 0; i < shape.n * shape.voxels(); ++i) {
        batch.labels.push_back(normal(random) > 1.5f ? 1 : 0);
        batch.target.push_back(static_cast<std::uint8_t>(batch.labels.back()));
    }
    batch.weights = {1.0f, 20.0f, 1.0f, 20.0f};
    return batch;
}

/// The loss and all weights after two steps.
Bytes train(Context& context, bool bf16) {
    TrainingOptions options;
    options.network = unet({.widths = {16, 16, 32, 48}});
    options.loss = loss_from_name("iwbce");
    options.bf16 = bf16;
    options.input = {2, 1, 16, 24, 16};
    Parameters parameters;
    TrainingSession session(context, parameters, options);
    initialise(context, parameters, 5);
    const Batch batch = noise(options.input);
    Bytes result;
    for (int step = 0; step < 2; ++step) result.push_back(static_cast<float>(session.step(batch, 1e-2f)));
    result.insert(result.end(), parameters.values().begin(), parameters.values().end());
    return result;
}

Bytes train_with(int threads, bool bf16) {
    Context context({.device = "cpu", .threads = threads});
    EXPECT_EQ(context.threads(), threads);
    return train(context, bf16);
}

/// A parallel region as oneDNN has it, whatever compiles this: what gcc makes of "omp parallel num_threads(count)".
template <class Body>
void region(unsigned count, Body body) {
    GOMP_parallel([](void* data) { (*static_cast<Body*>(data))(); }, &body, count, 0);
}

class HostOpenMp : public testing::Test {
  protected:
    HostOpenMp() : before_(omp_get_max_threads()) { omp_set_num_threads(5); }
    ~HostOpenMp() override { omp_set_num_threads(before_); }

    /// Threads that a region of the host's own gets.
    static int team() {
        std::atomic<int> count = 0;
#pragma omp parallel
        ++count;
        return count;
    }

  private:
    int before_;
};

TEST_F(HostOpenMp, KeepsItsSettingsAndItsThreads) {
    for (const bool bf16 : {false, true}) {
        train_with(2, bf16);
        EXPECT_EQ(omp_get_max_threads(), 5);
        EXPECT_EQ(team(), 5);
    }
}

// Of bf16 that is so but for oneDNN's gradients of weights, where each thread has a sum of its own.
TEST_F(HostOpenMp, TrainingLeavesTheSameBytesWithAnyNumberOfThreads) {
    const Bytes expected = train_with(1, false);
    for (const int threads : {2, 3, 7}) EXPECT_TRUE(train_with(threads, false) == expected) << threads;
    EXPECT_TRUE(train_with(3, true) == train_with(3, true));
}

TEST_F(HostOpenMp, ContextsOfTwoThreadsHaveTheirOwnNumbers) {
    const Bytes expected = train_with(1, false);
    const std::array<int, 2> threads{2, 3};
    std::array<Bytes, 2> found;
    std::vector<std::thread> hosts;
    for (std::size_t i = 0; i < 2; ++i) hosts.emplace_back([&, i] { found[i] = train_with(threads[i], false); });
    for (std::thread& host : hosts) host.join();
    EXPECT_TRUE(found[0] == expected);
    EXPECT_TRUE(found[1] == expected);
}

TEST_F(HostOpenMp, AContextIsUsedByAnotherThreadThanTheOneThatMadeIt) {
    Context context({.device = "cpu", .threads = 3});
    Bytes found;
    std::thread([&] { found = train(context, true); }).join();
    EXPECT_TRUE(found == train_with(3, true));
}

TEST_F(HostOpenMp, RegionsOfOneDnnRunOnTheThreadsOfThePool) {
    ASSERT_TRUE(cpu::OneDnnThreads::in_effect());
    ThreadPool pool(3);
    for (const auto work : {cpu::OneDnnWork::independent, cpu::OneDnnWork::together}) {
        const cpu::OneDnnThreads on(&pool, work);
        EXPECT_EQ(omp_get_max_threads(), 3);
        EXPECT_FALSE(omp_in_parallel());
        std::array<std::thread::id, 3> ids;
        std::array<int, 3> times{};
        region(0, [&] {
            const int thread = omp_get_thread_num();
            ++times[thread];
            ids[thread] = std::this_thread::get_id();
            if (!omp_in_parallel() || omp_get_num_threads() != 3) times[thread] = -9;
            if (work == cpu::OneDnnWork::together) GOMP_barrier();
        });
        EXPECT_EQ(times, (std::array<int, 3>{1, 1, 1}));
        if (work == cpu::OneDnnWork::together) {
            EXPECT_EQ(std::set<std::thread::id>(ids.begin(), ids.end()).size(), 3u);
        }
    }
    EXPECT_EQ(omp_get_max_threads(), 5);
}

TEST_F(HostOpenMp, ABarrierInIndependentWorkIsAnError) {
    ThreadPool pool(3);
    for (ThreadPool* threads : {&pool, static_cast<ThreadPool*>(nullptr)}) {
        const cpu::OneDnnThreads on(threads, cpu::OneDnnWork::independent);
        region(3, [] {});
        on.require_independent();
        region(1, GOMP_barrier);
        on.require_independent();  // one thread has nobody to wait for
        region(3, GOMP_barrier);
        EXPECT_THROW(on.require_independent(), std::logic_error);
    }
    const cpu::OneDnnThreads on(&pool, cpu::OneDnnWork::together);
    region(3, GOMP_barrier);
    on.require_independent();
}

TEST_F(HostOpenMp, ARegionThatThrowsLeavesNothingBehind) {
    ThreadPool pool(2);
    const auto fails = [](void*) { throw std::runtime_error("no"); };
    for (const auto work : {cpu::OneDnnWork::independent, cpu::OneDnnWork::together})
        for (const unsigned count : {1u, 2u}) {
            const cpu::OneDnnThreads on(&pool, work);
            EXPECT_THROW(GOMP_parallel(fails, nullptr, count, 0), std::runtime_error);
            EXPECT_FALSE(omp_in_parallel()) << count << " threads";
            EXPECT_EQ(omp_get_num_threads(), 1);
            EXPECT_EQ(omp_get_max_threads(), 2);
        }
    EXPECT_EQ(omp_get_max_threads(), 5);
}

TEST(OneDnnImports, OnlyTheSixFunctionsAreServed) {
    using Names = std::vector<std::string>;
    EXPECT_TRUE(cpu::forks_by_gomp_parallel({"malloc", "GOMP_parallel", "GOMP_barrier", "omp_get_max_threads",
                                             "omp_get_num_threads", "omp_get_thread_num", "omp_in_parallel"}));
    for (const Names& others :
         {Names{},                                               // no OpenMP
          Names{"__kmpc_fork_call", "omp_get_num_threads"},      // clang's
          Names{"GOMP_parallel", "__kmpc_fork_call"},            // both
          Names{"GOMP_parallel", "GOMP_parallel_loop_dynamic"},  // gcc's of loops
          Names{"GOMP_parallel", "GOMP_loop_dynamic_next"}, Names{"GOMP_parallel", "omp_get_team_num"}})
        EXPECT_FALSE(cpu::forks_by_gomp_parallel(others));
}

TEST(OneDnnImports, AreThoseOfTheLibraryThatIsLoaded) {
    const auto imports = [](const void* address, const std::string& name) {
        const std::vector<std::string> all = imported_symbols(address);
        return std::count(all.begin(), all.end(), name) > 0;
    };
    const auto* const onednn = reinterpret_cast<const void*>(&dnnl_version);
    EXPECT_TRUE(imports(onednn, "GOMP_parallel") && imports(onednn, "omp_get_max_threads"));
    EXPECT_FALSE(imports(onednn, "dnnl_version")) << "its own";
    // This program has a loop that threads take from, of which oneDNN has none.
    std::atomic<int> sum = 0;
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < 100; ++i) sum += i;
    EXPECT_EQ(sum, 4950);
    static const int here = 0;
    EXPECT_TRUE(imports(&here, "dnnl_version"));
    std::vector<std::string> own = imported_symbols(&here);
    own.emplace_back("GOMP_parallel");  // which this program defines
    EXPECT_FALSE(cpu::forks_by_gomp_parallel(own));
    EXPECT_TRUE(imported_symbols(nullptr).empty());
}

TEST_F(HostOpenMp, WithoutThreadsOfItsOwnOneDnnComputesAlone) {
    const cpu::OneDnnThreads on(nullptr, cpu::OneDnnWork::independent);
    EXPECT_EQ(omp_get_max_threads(), 1);
    const std::thread::id self = std::this_thread::get_id();
    int regions = 0;
    region(4, [&] { regions += std::this_thread::get_id() == self; });  // one after the other
    EXPECT_EQ(regions, 4);
    // A host's other threads are not ours.
    std::thread([] { EXPECT_EQ(team(), omp_get_max_threads()); }).join();
}

TEST_F(HostOpenMp, RegionsTogetherRunOnTheRuntimeWhereThePoolIsAtWork) {
    ThreadPool pool(2);
    std::atomic<int> members = 0;
    pool.run(2, [&](std::int64_t part) {
        if (part > 0) return;
        const cpu::OneDnnThreads on(&pool, cpu::OneDnnWork::together);
        region(2, [&] {
            ++members;
            GOMP_barrier();
            if (omp_get_num_threads() != 2) members = -9;
        });
    });
    EXPECT_EQ(members, 2);
}

}  // namespace
}  // namespace iwseg
