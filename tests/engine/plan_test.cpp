#include "engine/plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "models/unet.h"
#include "training/session.h"

namespace iwseg {
namespace {

void fill(const Plan& plan, Buffer buffer, float value) {
    const std::int64_t count = plan[buffer].shape.elements();
    std::fill_n(plan.data<float>(buffer), count, value);
}

bool holds(const Plan& plan, Buffer buffer, float value) {
    const std::int64_t count = plan[buffer].shape.elements();
    const float* data = plan.data<float>(buffer);
    return std::all_of(data, data + count, [&](float v) { return v == value; });
}

TEST(Plan, NoTensorIsOverwrittenBeforeItsLastReader) {
    const unsigned seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    const auto below = [&](int n) { return std::uniform_int_distribution<int>(0, n - 1)(random); };
    for (int round = 0; round < 50; ++round) {
        Program program;
        auto expected = std::make_shared<std::map<Buffer, float>>();
        auto wrong = std::make_shared<int>(0);
        std::vector<Buffer> made;
        const int steps = 5 + below(40);
        for (int i = 0; i < steps; ++i) {
            const Buffer to = program.add(BufferSpec{"t", {1, 1, 1, 1, 100 * (1 + below(3))}});
            std::vector<Buffer> reads;
            for (int k = 0; k < 3 && !made.empty(); ++k)
                reads.push_back(made[static_cast<std::size_t>(below(static_cast<int>(made.size())))]);
            Call call{"call", "", reads, {to}, [=](const Plan& plan) {
                          for (const Buffer t : reads) *wrong += !holds(plan, t, expected->at(t));
                          (*expected)[to] = static_cast<float>(i);
                          fill(plan, to, static_cast<float>(i));
                      }};
            if (!reads.empty() && below(2)) call.in_place = {reads[0], to};
            program.add(std::move(call));
            made.push_back(to);
        }
        program.keep(made[static_cast<std::size_t>(below(steps))]);
        Context context({"cpu"});
        Plan plan(context, program);
        plan.run();
        EXPECT_EQ(*wrong, 0);
        for (int b = 0; b < static_cast<int>(plan.buffers().size()); ++b) {
            const bool kept = plan.buffers()[static_cast<std::size_t>(b)].output;
            EXPECT_TRUE(!kept || holds(plan, {b}, expected->at({b})));
        }
        EXPECT_EQ(plan.bytes(), Plan::bytes_needed(program));
    }
}

// The largest first leaves a gap of 192 kB here where 256 are wanted: scratch of two calls differs by 64.
TEST(Plan, TakesNoMoreThanLivesAtOnceWhereScratchDiffersALittle) {
    Program program;
    const auto buffer = [&](std::int64_t kilobytes) {
        return program.add(BufferSpec{"t", {1, 1, 1, 1, kilobytes * 256}});
    };
    const Buffer a = buffer(256), b = buffer(256), c = buffer(256), d = buffer(256), scratch = buffer(1024),
                 larger = buffer(1088);
    const auto call = [&](std::vector<Buffer> reads, std::vector<Buffer> writes) {
        program.add(Call{"call", "", std::move(reads), std::move(writes), [](const Plan&) {}});
    };
    call({}, {a});
    call({a}, {b, scratch});
    call({}, {c});
    call({c}, {d, larger});
    call({b, d}, {});
    EXPECT_EQ(Plan::bytes_needed(program), 1024 * (3 * 256 + 1088));
}

/// a -> b -> c, each the size of the one before.
Program chain(bool in_place, int* runs) {
    Program program;
    const Buffer a = program.add(BufferSpec{"a", {1, 1, 1, 1, 1000}}),
                 b = program.add(BufferSpec{"b", {1, 1, 1, 1, 1000}});
    program.add({"make", "", {}, {a}, [=](const Plan& plan) { fill(plan, a, 3); }});
    Call copy{"copy", "", {a}, {b}, [=](const Plan& plan) {
                  ++*runs;
                  fill(plan, b, *plan.data<float>(a));
              }};
    if (in_place) copy.in_place = {a, b};
    copy.copies_only = true;
    program.add(std::move(copy));
    program.keep(b);
    return program;
}

TEST(Plan, ACopyWhoseSourceIsDoneWithTakesItsMemoryAndDoesNothing) {
    int runs = 0;
    Context context({"cpu"});
    Plan apart(context, chain(false, &runs)), together(context, chain(true, &runs));
    apart.run();
    EXPECT_EQ(runs, 1);
    together.run();
    EXPECT_EQ(runs, 1);
    EXPECT_TRUE(holds(together, {1}, 3));
    EXPECT_EQ(apart.bytes(), 2 * together.bytes());
}

/// What a run of a plan throws whose second step does `work`.
std::string error_of_step(const Backend& backend, bool record, const std::function<void()>& work) {
    Program program;
    const Buffer a = program.add(BufferSpec{"a", {1, 1, 1, 1, 10}});
    program.add({"first", "", {}, {a}, [](const Plan&) {}});
    program.add({"second", "", {a}, {a}, [&](const Plan&) { work(); }});
    Context context(backend, {.threads = 1, .record = record});
    Plan plan(context, program);
    try {
        plan.run();
    } catch (const std::runtime_error& error) {
        return error.what();
    }
    return "";
}

TEST(Plan, AFailureOfTheDeviceNamesItsStep) {
    for (const bool record : {false, true}) {
        EXPECT_EQ(error_of_step(cpu::backend(), record, [] { throw std::runtime_error("CUDA failed"); }),
                  "step second: CUDA failed");
        EXPECT_EQ(error_of_step(cpu::backend(), record, [] { throw InputError("key: what is wrong"); }),
                  "key: what is wrong");
    }
}

TEST(Plan, WhatFailsLateNamesItsStepWhereNothingIsRecorded) {
    static bool failed = false;  // as a kernel out of bounds, which the next wait reports
    Backend late = cpu::backend();
    late.synchronise = [](Stream) {
        if (std::exchange(failed, false)) throw std::runtime_error("an illegal memory access");
    };
    EXPECT_EQ(error_of_step(late, false, [] { failed = true; }), "step second: an illegal memory access");
    EXPECT_EQ(error_of_step(late, true, [] { failed = true; }), "");
}

TEST(Plan, MemoryThatIsNotAlignedIsNotBound) {
    Context context({"cpu"});
    Program program;
    const Buffer image = program.add(BufferSpec{.name = "image", .shape = {1, 1, 1, 1, 8}, .external = true});
    program.add({"read", "", {image}, {}, [](const Plan&) {}});
    Plan plan(context, program);
    alignas(16) std::array<float, 12> memory{};
    plan.bind(image, memory.data());
    plan.bind(image, memory.data() + 4);
    EXPECT_EQ(plan.data<float>(image), memory.data() + 4);
    for (const std::size_t off : {1, 2, 3}) EXPECT_THROW(plan.bind(image, memory.data() + off), std::invalid_argument);
    EXPECT_EQ(plan.data<float>(image), memory.data() + 4);
}

TEST(Plan, BytesAreTheArenaThatIsAllocatedAndHoldEveryTensor) {
    Context context({"cpu"});
    Parameters parameters;
    TrainingOptions options;
    options.network = unet({.widths = {4, 6, 8, 10}});
    options.loss = loss_from_name("iwdl");
    options.input = {1, 1, 16, 16, 16};
    TrainingSession session(context, parameters, options);
    const Plan& plan = session.plan();
    EXPECT_EQ(plan.bytes(), plan.arena().bytes());
    std::int64_t end = 0;
    for (std::size_t t = 0; t < plan.buffers().size(); ++t) {
        const Placement& p = plan.placements()[t];
        if (plan.buffers()[t].external || p.last < p.first) continue;
        EXPECT_EQ(p.offset % 256, 0);
        end = std::max(end, p.offset + plan.buffers()[t].bytes());
    }
    EXPECT_LE(end, plan.bytes());
    EXPECT_GT(end, plan.bytes() - 256);
}

TEST(Plan, MoreMemoryThanThereIsIsRefusedInASentence) {
    Context context({"cpu"});
    Program program;
    const Buffer huge = program.add(BufferSpec{"huge", {1, 1, 1 << 20, 1 << 15, 1 << 10}});
    program.add({"never", "", {}, {huge}, [](const Plan&) {}});
    try {
        Plan plan(context, program);
        FAIL() << "131072 GB were given";
    } catch (const InputError& error) {
        EXPECT_NE(std::string(error.what()).find("the plan needs"), std::string::npos) << error.what();
    }
}

TEST(Plan, AStepThatDoesNotFitNamesAPatchThatDoes) {
    Backend small = cpu::backend();
    small.free_memory = [] { return std::int64_t{40'000'000}; };
    Context context(small, {});
    const auto session = [&](std::int64_t side) {
        Parameters parameters;
        TrainingOptions options;
        options.network = unet({.widths = {4, 4, 8, 8}});
        options.loss = loss_from_name("dl");
        options.input = {1, 1, side, side, side};
        return TrainingSession(context, parameters, options).arena_bytes();
    };
    try {
        session(96);
        FAIL() << "it fits in 40 MB";
    } catch (const InputError& error) {
        const std::string text = error.what(), before = "patch = [";
        ASSERT_NE(text.find(before), std::string::npos) << text;
        EXPECT_NE(text.find("0.04 GB are free"), std::string::npos) << text;
        const std::int64_t named = std::stoll(text.substr(text.find(before) + before.size()));
        EXPECT_GE(named, 8);
        EXPECT_LE(session(named), 40'000'000);
    }
}

TEST(Plan, ASmallerPatchNeedsLessAndAPatchThatIsNotAMultipleOfEightIsRefused) {
    Context context({"cpu"});
    const auto bytes = [&](std::int64_t side) {
        Parameters parameters;
        TrainingOptions options;
        options.network = unet({.widths = {4, 4, 8, 8}});
        options.loss = loss_from_name("dl");
        options.input = {1, 1, side, 16, 16};
        return TrainingSession(context, parameters, options).arena_bytes();
    };
    EXPECT_LT(bytes(8), bytes(16));
    EXPECT_THROW(bytes(12), InputError);
}

}  // namespace
}  // namespace iwseg
