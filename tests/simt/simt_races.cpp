#include "tests/simt/simt_races.h"

#include <algorithm>
#include <bit>

#include "tests/simt/simt_source.h"

namespace iwseg::simt::executor {

void Races::begin_launch(const LaunchNote& launch) {
    launch_ = launch;
    order_.assign(launch.order, launch.order + std::size_t{launch.grid[0]} * launch.grid[1] * launch.grid[2]);
    first_run_ = run_ + 1;
    pages_used_ = 0;
    page_at_.clear();
    found_.fill({});
    fences_.begin_launch(launch.threads);
    step_.assign(launch.threads, 1);
    waited_.assign((launch.threads + 31) / 32 * 32, {});
    warps_met_ = false;
}

void Races::begin_block() {
    ++run_;
    barrier_ = 0;
    fences_.begin_block();
    if (!warps_met_) return;
    std::fill(step_.begin(), step_.end(), std::uint16_t{1});
    std::fill(waited_.begin(), waited_.end(), std::array<std::uint16_t, 32>{});
    warps_met_ = false;
}

void Races::barrier() {
    ++barrier_;
    fences_.barrier();
}

void Races::fence(int thread) {
    warps_met_ = true;
    std::uint16_t& step = step_[static_cast<std::size_t>(thread)];
    Fence own{run_, barrier_, static_cast<std::uint16_t>(thread / 32), waited_[static_cast<std::size_t>(thread)]};
    own.steps[static_cast<std::size_t>(thread % 32)] = step++;
    fences_.fence(thread, own);
}

void Races::warp_barrier(int first_thread, unsigned mask) {
    warps_met_ = true;
    std::array<std::uint16_t, 32> all{};
    const auto each = [&](auto&& body) {
        for (int lane = 0; lane < 32; ++lane)
            if (mask >> lane & 1u) body(static_cast<std::size_t>(lane), static_cast<std::size_t>(first_thread + lane));
    };
    each([&](std::size_t lane, std::size_t thread) {
        for (std::size_t l = 0; l < 32; ++l) all[l] = std::max(all[l], waited_[thread][l]);
        all[lane] = std::max(all[lane], step_[thread]);
    });
    each([&](std::size_t, std::size_t thread) {
        waited_[thread] = all;
        ++step_[thread];
    });
}

Races::Page& Races::find_page(std::uintptr_t number) {
    Page*& page = page_at_[number];
    if (!page) {
        if (pages_used_ == pages_.size()) pages_.push_back(std::make_unique<Page>());
        page = pages_[pages_used_++].get();
    }
    found_[number % found_.size()] = {number, page};
    return *page;
}

std::string Races::look(const Access& access, int thread, bool shared) {
    Seen now;
    now.run = run_;
    now.site = code_offset(access.site);
    now.barrier = barrier_;
    now.step = step_[static_cast<std::size_t>(thread)];
    now.thread = static_cast<std::uint16_t>(thread);
    now.write = access.write;
    now.strong = access.strength != Strength::plain;
    const std::uint32_t oldest = shared ? run_ : first_run_;
    for (std::uintptr_t at = access.at, end = access.at + access.bytes; at < end;) {
        const unsigned from = at % 4, count = static_cast<unsigned>(std::min<std::uintptr_t>(4 - from, end - at));
        now.bytes = static_cast<std::uint8_t>(((1u << count) - 1) << from);
        Page& page = page_of(at / kPage);
        const std::size_t i = at % kPage / 4;
        if (const Seen* before = meet(page.words[i], now, oldest)) return sentence(*before, now, shared);
        note_quiet(page.quiet[i], page.words[i], now, shared);
        at += count;
    }
    if (now.strong && !shared) fences_.strong(thread, access.at, access.write);
    return "";
}

void Races::note_quiet(Quiet& quiet, const Word& word, const Seen& now, bool shared) const {
    if (now.write) quiet = {};
    if (now.write || now.strong) return;
    bool other_warps = false, other_blocks = false;
    for (const Seen& one : word) {
        if (one.run < (shared ? run_ : first_run_)) continue;
        if (one.write) return;
        if (one.strong || (now.bytes & ~one.bytes)) continue;
        if (one.run != now.run)
            other_blocks = true;
        else if (one.barrier == now.barrier)
            other_warps |= launch_.threads > 32 ? one.thread / 32 != now.thread / 32 : one.thread != now.thread;
    }
    other_blocks &= fences_.empty();
    if (!other_warps && !other_blocks) return;
    if (quiet.run != now.run || quiet.barrier != now.barrier || quiet.whole_launch != other_blocks)
        quiet = {now.run, now.barrier, 0, other_blocks};
    quiet.bytes |= now.bytes;
}

bool Races::are_ordered(const Seen& before, const Seen& now) const {
    const std::size_t lane = before.thread % 32;
    if (before.run == now.run) {
        if (before.barrier != now.barrier || before.thread == now.thread) return true;
        if (before.thread / 32 == now.thread / 32 && waited_[now.thread][lane] >= before.step) return true;
    }
    return fences_.knows(now.thread, [&](const Fence& fence) {
        if (fence.run != before.run || fence.barrier < before.barrier) return false;
        return fence.barrier > before.barrier || (fence.warp == before.thread / 32 && fence.steps[lane] >= before.step);
    });
}

const Races::Seen* Races::meet(Word& word, const Seen& now, std::uint32_t oldest) {
    for (const Seen& before : word)
        if (before.run == now.run && before.thread == now.thread && before.barrier == now.barrier &&
            before.step == now.step && before.write == now.write && before.strong == now.strong &&
            (now.bytes & ~before.bytes) == 0)
            return nullptr;  // again, as in a loop
    Seen* to = nullptr;
    int least = 100;
    for (Seen& before : word) {
        int worth = -1;  // of an earlier launch, or of another block's shared memory
        if (before.run >= oldest) {
            const bool overlap = (before.bytes & now.bytes) != 0, both_strong = before.strong && now.strong;
            if (overlap && (before.write || now.write) && !both_strong && !are_ordered(before, now)) return &before;
            worth = worth_beside(before, now);
        }
        if (worth < least) least = worth, to = &before;
    }
    *to = now;
    return nullptr;
}

int Races::worth_beside(const Seen& before, const Seen& now) {
    const bool covered = (before.bytes & ~now.bytes) == 0 && before.write <= now.write && before.strong >= now.strong;
    const bool same_block = before.run == now.run, settled = !same_block || before.barrier != now.barrier;
    if (covered && same_block && before.thread == now.thread) return 0;
    if (covered && settled) return 1;
    if (covered && before.write == now.write && before.strong == now.strong) return 2;  // the like by one thread more
    return (settled ? 3 : 8) + 2 * before.write + !before.strong;
}

std::string Races::describe(const Seen& one) const {
    const std::size_t i = order_[one.run - first_run_], x = launch_.grid[0], y = launch_.grid[1];
    return std::string(one.strong ? "an atomic " : "a plain ") + (one.write ? "write" : "read") + " at " +
           source_place(one.site - 1) + " by thread " + std::to_string(one.thread) + " of block " +
           std::to_string(i % x) + ", " + std::to_string(i / x % y) + ", " + std::to_string(i / x / y);
}

std::string Races::sentence(const Seen& before, const Seen& now, bool shared) const {
    return std::string("a race in ") + (shared ? "shared" : "device") + " memory: " + describe(before) + " and " +
           describe(now) + ", with nothing between that orders them";
}

}  // namespace iwseg::simt::executor
