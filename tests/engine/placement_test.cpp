// Which buffers of a program lie in whose memory: drawn programs are run in it and without any sharing.
#include "engine/placement.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "engine/plan.h"
#include "tests/support/apart.h"

namespace iwseg {
namespace {

using Elements = std::vector<float>;

Elements elements_of(const Plan& plan, Buffer buffer) {
    const float* const data = plan.data<float>(buffer);
    return {data, data + plan[buffer].shape.elements()};
}

/// What each buffer should hold, and how often one held something else when it was read.
struct Expected {
    std::map<Buffer, Elements> of;
    int wrong = 0;

    void read(const Plan& plan, Buffer buffer) { wrong += elements_of(plan, buffer) != of.at(buffer); }
};

/// A program of calls that read some buffers and write one, element by element or all of some parts side by side.
class DrawnProgram {
  public:
    explicit DrawnProgram(unsigned seed) : random_(seed) {
        const int steps = 6 + below(40);
        for (int i = 0; i < steps; ++i)
            if (made_.size() > 3 && below(3) == 0)
                join();
            else
                compute(i);
        for (int k = 0; k < 2; ++k) program.keep(drawn());
    }

    Program program;
    std::shared_ptr<Expected> expected = std::make_shared<Expected>();

  private:
    int below(int n) { return std::uniform_int_distribution<int>(0, n - 1)(random_); }
    Buffer drawn() {  // of the last ones as a rule, so that many are read no more
        const int count = static_cast<int>(made_.size()), back = below(below(3) == 0 ? count : std::min(count, 5));
        return made_[static_cast<std::size_t>(count - 1 - back)];
    }
    std::int64_t size_of(Buffer buffer) const { return program[buffer].shape.elements(); }
    Buffer made(std::int64_t elements) {
        made_.push_back(program.add(BufferSpec{"t" + std::to_string(made_.size()), {1, 1, 1, 1, elements}}));
        return made_.back();
    }

    void compute(int number) {
        std::vector<Buffer> reads;
        for (int k = 0; k < 2 && !made_.empty(); ++k) reads.push_back(drawn());
        const bool in_place = !reads.empty() && below(2), over = !reads.empty() && !in_place && below(2);
        const Buffer to = made(in_place ? size_of(reads[0])
                               : over   ? std::max<std::int64_t>(16, size_of(reads[0]) / (16 << below(2)) * 16)
                                        : 16 * (1 + below(4)));
        Elements values(static_cast<std::size_t>(size_of(to)));
        for (std::size_t i = 0; i < values.size(); ++i)
            values[i] = static_cast<float>(1000 * number) + static_cast<float>(i);
        expected->of[to] = values;
        Call call{"compute", "", reads, {to}, [=, seen = expected](const Plan& plan) {
                      for (const Buffer read : reads) seen->read(plan, read);
                      std::copy(values.begin(), values.end(), plan.data<float>(to));
                  }};
        if (in_place) call.in_place = {reads[0], to};
        if (over) call.over = {reads[0], to};
        program.add(std::move(call));
    }

    void join() {
        std::vector<Buffer> parts;
        for (int k = 0; k < 2 + below(2); ++k) parts.push_back(drawn());  // one of them twice, here and there
        std::int64_t size = 0;
        for (const Buffer part : parts) size += size_of(part);
        const Buffer to = made(size);
        Call call{"join", "", parts, {to}, {}};
        std::vector<std::int64_t> offsets;
        std::int64_t offset = 0;
        for (const Buffer part : parts) {
            offsets.push_back(offset);
            call.shares.push_back({part, to, offset});
            offset += program[part].bytes();
            const Elements& values = expected->of[part];
            expected->of[to].insert(expected->of[to].end(), values.begin(), values.end());
        }
        call.run = [=, seen = expected](const Plan& plan) {
            for (std::size_t k = 0; k < parts.size(); ++k) {
                seen->read(plan, parts[k]);
                const Elements values = elements_of(plan, parts[k]);
                char* const place = plan.data<char>(to) + offsets[k];
                if (plan.data<char>(parts[k]) != place)
                    std::copy(values.begin(), values.end(), reinterpret_cast<float*>(place));
            }
            seen->read(plan, to);
        };
        program.add(std::move(call));
    }

    std::mt19937 random_;
    std::vector<Buffer> made_;
};

/// Roots that are needed at the same time lie apart, but for one that is a part of the other.
void expect_apart(const std::vector<BufferSpec>& buffers, const std::vector<Placement>& placements) {
    const auto is_part = [&](int a, int b) {
        for (; a >= 0; a = placements[static_cast<std::size_t>(a)].whole)
            if (a == b) return true;
        return false;
    };
    for (int a = 0; a < static_cast<int>(buffers.size()); ++a)
        for (int b = 0; b < a; ++b) {
            const Placement &p = placements[static_cast<std::size_t>(a)], &q = placements[static_cast<std::size_t>(b)];
            if (p.root != a || q.root != b || p.last < q.first || q.last < p.first || p.last < p.first ||
                q.last < q.first)
                continue;
            const bool meet = p.offset < q.offset + buffers[static_cast<std::size_t>(b)].bytes() &&
                              q.offset < p.offset + buffers[static_cast<std::size_t>(a)].bytes();
            EXPECT_TRUE(!meet || is_part(a, b) || is_part(b, a)) << buffers[a].name << " and " << buffers[b].name;
        }
}

TEST(Placement, NothingIsOverwrittenThatIsStillRead) {
    const unsigned seed = std::random_device{}();
    int parts = 0, aliases = 0, over = 0;
    std::int64_t alone = 0, together = 0;
    for (unsigned i = 0; i < 300; ++i) {
        SCOPED_TRACE("program " + std::to_string(seed + i));
        const DrawnProgram drawn(seed + i);
        Context context({"cpu"});
        Plan plan(context, drawn.program);
        plan.run();
        // A join whose parts all lie in it does not run: what it should leave is seen by those who read it.
        EXPECT_EQ(drawn.expected->wrong, 0);
        expect_apart(plan.buffers(), plan.placements());
        EXPECT_EQ(plan.bytes(), Plan::bytes_needed(drawn.program));
        // Of parts that lie beside each other and copies of them the smaller is taken.
        EXPECT_LE(plan.bytes(), Plan::bytes_needed(apart(drawn.program, {.in_place = true})));
        for (int b = 0; b < static_cast<int>(plan.buffers().size()); ++b) {
            const bool kept = plan.buffers()[static_cast<std::size_t>(b)].output;
            EXPECT_TRUE(!kept || elements_of(plan, {b}) == drawn.expected->of.at({b}));
            const Placement& p = plan.placements()[static_cast<std::size_t>(b)];
            parts += p.whole >= 0, aliases += p.root != b;
        }
        for (const Call& call : drawn.program.calls())
            over += call.over && plan[call.over->first].data == plan[call.over->second].data;
        alone += Plan::bytes_needed(apart(drawn.program)), together += plan.bytes();
    }
    EXPECT_GT(parts, 100);
    EXPECT_GT(aliases, 100);
    EXPECT_GT(over, 20);
    EXPECT_LT(together, alone);
}

/// Two tensors that are joined, the first computed long before: while `between`, larger ones, come and go.
struct EarlyPart {
    explicit EarlyPart(std::int64_t between) {
        const auto call = [&](std::vector<Buffer> reads, std::vector<Buffer> writes) {
            program.add(Call{"call", "", std::move(reads), std::move(writes), [](const Plan&) {}});
        };
        const auto buffer = [&](std::int64_t kilobytes) {
            return program.add(BufferSpec{"t", {1, 1, 1, 1, kilobytes * 256}});
        };
        early = buffer(64);
        call({}, {early});
        const Buffer in = buffer(between), out = buffer(between);
        call({}, {in});
        call({in}, {out});
        late = buffer(64);
        call({out}, {late});
        both = buffer(128);
        Call join{"join", "", {early, late}, {both}, [](const Plan&) {}};
        join.shares = {{early, both, 0}, {late, both, 64 * 1024}};
        program.add(std::move(join));
        const Buffer last = buffer(32);
        call({both}, {last});
        program.keep(last);
    }
    Program program;
    Buffer early, late, both;
};

TEST(Placement, WhatLiesBesideAPartThatIsThereEarlierIsFreeUntilThen) {
    const EarlyPart drawn(512);
    const Arena arena = place(drawn.program.buffers(), drawn.program.calls());
    EXPECT_EQ(arena.placements[drawn.early.id].whole, drawn.both.id);
    EXPECT_EQ(arena.placements[drawn.late.id].whole, drawn.both.id);
    EXPECT_EQ(arena.placements[drawn.late.id].offset, arena.placements[drawn.both.id].offset + 64 * 1024);
    EXPECT_TRUE(arena.idle[4]);
    EXPECT_EQ(arena.bytes, 1024 * (64 + 2 * 512));  // as much as lives while the larger ones do
    // Of what lives in a call, a part of what lives too is not counted again.
    EXPECT_EQ(live_bytes(drawn.program.buffers(), arena.placements, 4), 1024 * 128);
}

TEST(Placement, WhatTheCallerKeepsOrGivesIsNoPartOfAnother) {
    for (const bool external : {false, true}) {
        Program program;
        BufferSpec spec{"part", {1, 1, 1, 1, 256}};
        spec.external = external;
        const Buffer part = program.add(spec), whole = program.add(BufferSpec{"whole", {1, 1, 1, 1, 256}});
        if (!external) program.add(Call{"make", "", {}, {part}, [](const Plan&) {}});
        Call join{"join", "", {part}, {whole}, [](const Plan&) {}};
        join.shares = {{part, whole, 0}};
        program.add(std::move(join));
        program.keep(whole);
        if (!external) program.keep(part);
        const Arena arena = place(program.buffers(), program.calls());
        EXPECT_LT(arena.placements[part.id].whole, 0);
        EXPECT_FALSE(arena.idle.back());
    }
}

/// A large tensor, then one of half of it that may be written over its start, then `after` that.
struct WrittenOver {
    explicit WrittenOver(std::int64_t after) {
        const auto call = [&](std::vector<Buffer> reads, Buffer to) {
            return Call{"call", "", std::move(reads), {to}, [](const Plan&) {}};
        };
        const auto buffer = [&](std::int64_t elements) { return program.add(BufferSpec{"t", {1, 1, 1, 1, elements}}); };
        large = buffer(512), half = buffer(256), next = buffer(256), last = buffer(after);
        program.add(call({}, large));
        Call shrinks = call({large}, half), in_place = call({half}, next);
        shrinks.over = {large, half};
        in_place.over = {half, next};
        program.add(std::move(shrinks));
        program.add(std::move(in_place));
        program.add(call({next}, last));
        program.keep(last);
    }
    Program program;
    Buffer large, half, next, last;
};

TEST(Placement, WhatIsWrittenOverALargerTensorLeavesTheRestFree) {
    const WrittenOver drawn(256);
    const Arena arena = place(drawn.program.buffers(), drawn.program.calls());
    EXPECT_EQ(arena.bytes, 4 * 512);
    EXPECT_EQ(arena.placements[drawn.half.id].offset, arena.placements[drawn.large.id].offset);
    EXPECT_EQ(arena.placements[drawn.next.id].offset, arena.placements[drawn.large.id].offset);
    EXPECT_EQ(arena.placements[drawn.last.id].offset, arena.placements[drawn.large.id].offset + 4 * 256);
}

TEST(Placement, PartsAreNotCopiedBecauseSomethingElseIsWrittenOver) {
    // Two parts of no weight beside tensors that set the arena's size.
    WrittenOver drawn(256);
    Buffer parts[2];
    for (Buffer& part : parts) {
        part = drawn.program.add(BufferSpec{"part", {1, 1, 1, 1, 16}});
        drawn.program.add(Call{"call", "", {drawn.last}, {part}, [](const Plan&) {}});
    }
    const Buffer both = drawn.program.add(BufferSpec{"both", {1, 1, 1, 1, 32}});
    Call join{"join", "", {parts[0], parts[1]}, {both}, [](const Plan&) {}};
    join.shares = {{parts[0], both, 0}, {parts[1], both, 64}};
    drawn.program.add(std::move(join));
    drawn.program.keep(both);
    const Arena arena = place(drawn.program.buffers(), drawn.program.calls());
    EXPECT_EQ(arena.placements[drawn.half.id].whole, drawn.large.id);
    EXPECT_TRUE(arena.idle.back());
}

TEST(Placement, NothingIsWrittenOverAnotherForNothing) {
    const WrittenOver drawn(1024);  // more than all before, with what it is made of
    const Arena arena = place(drawn.program.buffers(), drawn.program.calls());
    EXPECT_EQ(arena.bytes, 4 * (1024 + 256));
    EXPECT_EQ(arena.placements[drawn.half.id].whole, -1);
    EXPECT_NE(arena.placements[drawn.half.id].offset, arena.placements[drawn.large.id].offset);
}

TEST(Placement, APartThatIsNotAlignedIsCopied) {
    Program program;
    const Buffer a = program.add(BufferSpec{"a", {1, 1, 1, 1, 5}}), b = program.add(BufferSpec{"b", {1, 1, 1, 1, 5}}),
                 both = program.add(BufferSpec{"both", {1, 1, 1, 1, 10}});
    for (const Buffer one : {a, b}) program.add(Call{"make", "", {}, {one}, [](const Plan&) {}});
    Call join{"join", "", {a, b}, {both}, [](const Plan&) {}};
    join.shares = {{a, both, 0}, {b, both, 20}};
    program.add(std::move(join));
    program.keep(both);
    const Arena arena = place(program.buffers(), program.calls());
    EXPECT_LT(arena.placements[b.id].whole, 0);
    EXPECT_FALSE(arena.idle.back());
}

}  // namespace
}  // namespace iwseg
