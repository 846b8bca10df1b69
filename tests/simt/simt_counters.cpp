#include "tests/simt/simt_counters.h"

#include <algorithm>
#include <array>
#include <iterator>

#include "tests/simt/simt_source.h"

namespace iwseg::simt::executor {
namespace {

constexpr std::uintptr_t kSector = 32, kBank = 4, kBanks = 32;
constexpr std::size_t kLanes = 32;

struct LaneAccess {
    std::size_t lane;
    std::uintptr_t at;
    unsigned bytes;
};
using Request = std::vector<LaneAccess>;  ///< by lane

template <class T>
std::int64_t distinct(std::vector<T>& values) {
    std::sort(values.begin(), values.end());
    return std::distance(values.begin(), std::unique(values.begin(), values.end()));
}

/// Sectors touched, and as few as the distinct bytes fill.
void count_sectors(const Request& request, AccessCount& count) {
    std::vector<std::uintptr_t> sectors;
    std::vector<std::pair<std::uintptr_t, std::uintptr_t>> parts;
    for (const LaneAccess& one : request) {
        for (std::uintptr_t s = one.at / kSector; s <= (one.at + one.bytes - 1) / kSector; ++s) sectors.push_back(s);
        parts.emplace_back(one.at, one.at + one.bytes);
    }
    count.sectors += distinct(sectors);
    std::sort(parts.begin(), parts.end());
    std::uintptr_t bytes = 0, end = 0;
    for (const auto& [first, last] : parts) {
        if (last <= end) continue;
        bytes += last - std::max(first, end);
        end = last;
    }
    count.fewest += static_cast<std::int64_t>((bytes + kSector - 1) / kSector);
}

/// Cycles of shared memory: 32, 16 or 8 lanes go at once, for each of which the fullest bank counts.
void count_cycles(const Request& request, AccessCount& count) {
    unsigned widest = 0;
    for (const LaneAccess& one : request) widest = std::max(widest, one.bytes);
    const std::size_t at_once = widest > 8 ? 8 : widest > 4 ? 16 : kLanes;
    for (std::size_t first = 0; first < kLanes; first += at_once) {
        std::array<std::vector<std::uintptr_t>, kBanks> words;
        for (const LaneAccess& one : request)
            if (one.lane / at_once == first / at_once)
                for (std::uintptr_t w = one.at / kBank; w <= (one.at + one.bytes - 1) / kBank; ++w)
                    words[w % kBanks].push_back(w);
        std::int64_t most = 0;
        for (auto& of_bank : words) most = std::max(most, distinct(of_bank));
        count.cycles += most;
        count.least += most > 0;
    }
}

void count_atomics(const Request& request, AccessCount& count) {
    std::map<std::uintptr_t, std::int64_t> lanes;
    std::int64_t most = 0;
    for (const LaneAccess& one : request) most = std::max(most, ++lanes[one.at]);
    ++count.atomics;
    count.in_turn += most;
}

/// The innermost line in a .cu file or, without one, in a header of kernels.
std::string line_of(const std::vector<SourceLine>& lines) {
    const auto text = [](const SourceLine& line) { return line.file + ":" + std::to_string(line.line); };
    for (const SourceLine& line : lines)
        if (line.file.ends_with(".cu") || line.file.ends_with("_test.cpp")) return text(line);
    for (const SourceLine& line : lines)
        if (!line.file.empty() && !line.file.starts_with("simt")) return text(line);
    return "elsewhere";
}

bool is_pack(const std::vector<SourceLine>& lines) {
    return std::any_of(lines.begin(), lines.end(), [](const SourceLine& line) { return line.file == "pack.cuh"; });
}

}  // namespace

void AccessCount::add(const AccessCount& more) {
    requests += more.requests, lanes += more.lanes;
    sectors += more.sectors, fewest += more.fewest;
    cycles += more.cycles, least += more.least;
    atomics += more.atomics, in_turn += more.in_turn;
}

void Counters::begin_launch(const LaunchNote& launch) {
    kernel_ = function_name(launch.kernel);
    events_.assign((launch.threads + kLanes - 1) / kLanes * kLanes, {});
    read_.clear();
    written_.clear();
    const auto same = [&](const KernelCount& one) { return one.kernel == kernel_; };
    auto at = std::find_if(kernels_.begin(), kernels_.end(), same);
    if (at == kernels_.end()) at = kernels_.insert(at, KernelCount{kernel_, {}, {}, 0, 0, 0});
    now_ = &*at;
    ++now_->launches;
}

void Counters::see(const Access& access, int thread, Space space) {
    const bool atomic = access.strength == Strength::atomic;
    if (atomic && !access.write) return;  // reads and writes in one
    events_[static_cast<std::size_t>(thread)].push_back({access.at, code_offset(access.site) - 1,
                                                         static_cast<std::uint16_t>(access.bytes), access.write, atomic,
                                                         space});
}

void Counters::name_sites() {
    std::vector<std::uint32_t> unknown;
    for (const std::vector<Event>& events : events_)
        for (const Event& event : events)
            if (sites_.try_emplace(event.site).second) unknown.push_back(event.site);
    const std::vector<std::vector<SourceLine>> lines = source_lines(unknown);
    for (std::size_t i = 0; i < unknown.size(); ++i) sites_[unknown[i]] = {line_of(lines[i]), is_pack(lines[i])};
}

void Counters::join_packs(std::vector<Event>& events) const {
    constexpr std::size_t kBack = 16;  // numbers of two packs may alternate
    std::vector<Event> joined;
    for (const Event& event : events) {
        const Site& site = sites_.at(event.site);
        bool taken = false;
        for (std::size_t back = 1; site.pack && !taken && back <= std::min(kBack, joined.size()); ++back) {
            Event& before = joined[joined.size() - back];
            const bool next_to =
                before.at + before.bytes == event.at && before.at % 16 + before.bytes + event.bytes <= 16;
            if (!next_to || before.write != event.write || before.space != event.space || event.atomic) continue;
            if (sites_.at(before.site).line != site.line) continue;
            before.bytes = static_cast<std::uint16_t>(before.bytes + event.bytes);
            taken = true;
        }
        if (!taken) joined.push_back(event);
    }
    events = std::move(joined);
}

void Counters::count_warp(std::size_t first_thread) {
    struct Group {
        const Event* event;
        Request request;
    };
    std::map<std::pair<std::uint32_t, int>, Group> groups;
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
        std::unordered_map<std::uint32_t, int> times;
        for (const Event& event : events_[first_thread + lane]) {
            Group& group = groups[{event.site, times[event.site]++}];
            group.event = &event;
            group.request.push_back({lane, event.at, event.bytes});
        }
    }
    for (const auto& [key, group] : groups) {
        const Event& event = *group.event;
        AccessCount count;
        count.requests = 1;
        count.lanes = static_cast<std::int64_t>(group.request.size());
        if (event.atomic) count_atomics(group.request, count);
        if (event.space == Space::shared)
            count_cycles(group.request, count);
        else
            count_sectors(group.request, count);
        counts_[{kernel_, sites_.at(event.site).line, event.write, event.space}].add(count);
        (event.space == Space::shared ? now_->shared : now_->device).add(count);
    }
}

void Counters::end_block() {
    name_sites();
    for (std::vector<Event>& events : events_) join_packs(events);
    for (const std::vector<Event>& events : events_)
        for (const Event& event : events)
            if (event.space == Space::device)
                for (std::uintptr_t s = event.at / kSector; s <= (event.at + event.bytes - 1) / kSector; ++s) {
                    if (event.write && written_.insert(s).second) now_->bytes_written += kSector;
                    if ((!event.write || event.atomic) && read_.insert(s).second) now_->bytes_read += kSector;
                }
    for (std::size_t first = 0; first < events_.size(); first += kLanes) count_warp(first);
    for (std::vector<Event>& events : events_) events.clear();
}

std::vector<LineCount> Counters::lines() const {
    std::vector<LineCount> all;
    for (const KernelCount& kernel : kernels_)
        for (const auto& [key, count] : counts_)
            if (const auto& [name, line, write, space] = key; name == kernel.kernel)
                all.push_back({name, line, write, space, count});
    return all;
}

std::vector<KernelCount> Counters::kernels() const {
    return kernels_;
}

}  // namespace iwseg::simt::executor
