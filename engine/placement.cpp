#include "engine/placement.h"

#include <algorithm>

#include "base/bytes.h"

namespace iwseg {
namespace {

std::vector<Placement> lifetimes(const std::vector<BufferSpec>& buffers, const std::vector<Call>& calls) {
    std::vector<Placement> placements(buffers.size());
    for (std::size_t t = 0; t < buffers.size(); ++t) {
        placements[t].root = static_cast<int>(t);
        placements[t].first = static_cast<int>(calls.size());
    }
    for (int i = 0; i < static_cast<int>(calls.size()); ++i) {
        for (const auto* list : {&calls[i].reads, &calls[i].writes})
            for (const auto [t] : *list) {
                placements[t].first = std::min(placements[t].first, i);
                placements[t].last = i;
            }
    }
    for (std::size_t t = 0; t < buffers.size(); ++t)
        if (buffers[t].output) placements[t].last = static_cast<int>(calls.size());
    return placements;
}

int root_of(const std::vector<Placement>& placements, int buffer) {
    while (placements[buffer].root != buffer) buffer = placements[buffer].root;
    return buffer;
}

/// The plan while memory is shared out, before anything has a place.
class Sharing {
  public:
    Sharing(const std::vector<BufferSpec>& buffers, const std::vector<Call>& calls, Arena& arena)
        : buffers_(buffers), calls_(calls), placements_(arena.placements), idle_(arena.idle) {}

    void run(bool parts, bool over) {
        for (int i = 0; i < static_cast<int>(calls_.size()); ++i) {
            if (calls_[i].in_place) alias(i);
            if (over && calls_[i].over) lay_over(i);
            if (parts && !calls_[i].shares.empty()) share(i);
        }
    }

  private:
    /// What is read nowhere after the call and of no caller.
    bool ends_at(int root, int call) const { return placements_[root].last == call && !buffers_[root].external; }
    /// Whether what is computed later may have the memory, and so live on there: not that of a part for what is put
    /// together, which is in use by then.
    bool gives_place(int root) const {
        const int whole = placements_[root].whole;
        return whole < 0 || placements_[whole].last <= placements_[root].first;
    }
    bool begins_at(int buffer, int call) const {
        return placements_[buffer].first == call && !buffers_[buffer].external;
    }

    void alias(int i) {
        const int from = root_of(placements_, calls_[i].in_place->first.id), to = calls_[i].in_place->second.id;
        if (from == to || !ends_at(from, i) || !begins_at(to, i) || buffers_[from].bytes() != buffers_[to].bytes())
            return;
        if (!gives_place(from)) return;
        placements_[to].root = from;
        placements_[from].last = placements_[to].last;
        idle_[i] = calls_[i].copies_only;
    }

    /// Where both are of the same size the second is the first's memory from here on, else a part of it.
    void lay_over(int i) {
        const int from = root_of(placements_, calls_[i].over->first.id), to = calls_[i].over->second.id;
        if (from == to || !ends_at(from, i) || !begins_at(to, i) || !gives_place(from)) return;
        if (buffers_[from].bytes() == buffers_[to].bytes()) {
            placements_[to].root = from;
            placements_[from].last = placements_[to].last;
        } else if (buffers_[from].bytes() > buffers_[to].bytes()) {
            placements_[to].whole = from;  // of which the rest is free from here on
        }
    }

    void share(int i) {
        std::size_t shared = 0;
        for (const Share& one : calls_[i].shares) {
            const int part = root_of(placements_, one.part.id), whole = one.whole.id;
            if (part == whole || !ends_at(part, i) || !begins_at(whole, i) || one.offset % kCacheLine != 0) continue;
            if (placements_[part].whole >= 0) continue;
            placements_[part].whole = whole;
            placements_[part].share = one.offset;
            ++shared;
        }
        idle_[i] = shared == calls_[i].reads.size();
    }

    const std::vector<BufferSpec>& buffers_;
    const std::vector<Call>& calls_;
    std::vector<Placement>& placements_;
    std::vector<bool>& idle_;
};

/// A buffer and where it lies.
struct Placed {
    int buffer;
    std::int64_t begin, end;
};

/// Buffers that lie within one, each at a distance from its start that is given; most are of one buffer.
class Group {
  public:
    explicit Group(std::vector<Placed> members) : members_(std::move(members)) {}

    const std::vector<Placed>& members() const { return members_; }  ///< from the group's start
    std::int64_t bytes() const { return aligned(members_.front().end); }

    /// The lowest place where nothing that lives at the same time lies. placed: by where they begin.
    std::int64_t lowest(const std::vector<Placed>& placed, const std::vector<Placement>& placements) const {
        std::int64_t at = 0;
        for (std::int64_t before = -1; before != at;) {
            before = at;
            for (const Placed& member : members_) at = above(member, at, placed, placements);
        }
        return at;
    }

  private:
    static std::int64_t above(const Placed& member, std::int64_t at, const std::vector<Placed>& placed,
                              const std::vector<Placement>& placements) {
        const Placement& own = placements[static_cast<std::size_t>(member.buffer)];
        for (const Placed& other : placed) {
            const Placement& lived = placements[static_cast<std::size_t>(other.buffer)];
            if (lived.last < own.first || own.last < lived.first) continue;
            if (other.begin >= at + member.end) break;
            if (other.end > at + member.begin) at = aligned(other.end - member.begin);
        }
        return at;
    }

    std::vector<Placed> members_;
};

/// Those that take memory of the arena.
std::vector<Group> groups_of(const std::vector<BufferSpec>& buffers, const std::vector<Placement>& placements) {
    std::vector<std::vector<Placed>> members(buffers.size());
    for (int pass = 0; pass < 2; ++pass)  // what parts lie in is the first of its group
        for (int t = 0; t < static_cast<int>(buffers.size()); ++t) {
            const Placement& p = placements[static_cast<std::size_t>(t)];
            if (buffers[t].external || p.root != t || p.last < p.first || (p.whole >= 0) != (pass == 1)) continue;
            std::int64_t begin = 0;
            int outermost = t;
            for (; placements[outermost].whole >= 0; outermost = placements[outermost].whole)
                begin += placements[outermost].share;
            members[outermost].push_back({t, begin, begin + buffers[t].bytes()});
        }
    std::vector<Group> groups;
    for (std::vector<Placed>& list : members)
        if (!list.empty()) groups.emplace_back(std::move(list));
    return groups;
}

/// Places groups in this order. Returns the bytes used.
std::int64_t place_in_order(const std::vector<const Group*>& order, std::vector<Placement>& placements) {
    std::vector<Placed> placed;  // by begin
    std::int64_t end = 0;
    for (const Group* group : order) {
        const std::int64_t at = group->lowest(placed, placements);
        end = std::max(end, at + group->bytes());
        for (const Placed& member : group->members()) {
            placements[static_cast<std::size_t>(member.buffer)].offset = at + member.begin;
            const Placed one{member.buffer, at + member.begin, at + member.end};
            placed.insert(std::upper_bound(placed.begin(), placed.end(), one,
                                           [](const Placed& a, const Placed& b) { return a.begin < b.begin; }),
                          one);
        }
    }
    return end;
}

std::int64_t bytes_alive(const std::vector<BufferSpec>& buffers, const std::vector<Placement>& placements, int call,
                         std::int64_t alignment) {
    const auto lives = [&](const Placement& p) { return p.first <= call && call <= p.last; };
    std::int64_t bytes = 0;
    for (std::size_t t = 0; t < buffers.size(); ++t) {
        const Placement& p = placements[t];
        if (buffers[t].external || p.root != static_cast<int>(t) || !lives(p)) continue;
        const bool within = p.whole >= 0 && lives(placements[static_cast<std::size_t>(p.whole)]);
        if (!within) bytes += aligned(buffers[t].bytes(), alignment);
    }
    return bytes;
}

/// The most that lives at once: no placement uses less.
std::int64_t most_alive(const std::vector<BufferSpec>& buffers, const std::vector<Placement>& placements, int calls) {
    std::int64_t most = 0;
    for (int call = 0; call < calls; ++call)
        most = std::max(most, bytes_alive(buffers, placements, call, kMemoryAlignment));
    return most;
}

/// The largest first. A gap that is too small by a few bytes can cost a whole tensor then: while more is used than
/// lives at once, what lies at the end goes first, a few times, and the least is taken. Returns the bytes used.
std::int64_t find_places(const std::vector<BufferSpec>& buffers, int calls, std::vector<Placement>& placements) {
    const std::vector<Group> groups = groups_of(buffers, placements);
    std::vector<const Group*> order;
    for (const Group& group : groups) order.push_back(&group);
    std::stable_sort(order.begin(), order.end(),
                     [](const Group* a, const Group* b) { return a->bytes() > b->bytes(); });
    const auto end_of = [&](const Group* group) {
        return placements[static_cast<std::size_t>(group->members().front().buffer)].offset + group->bytes();
    };
    const std::int64_t least = most_alive(buffers, placements, calls);
    std::int64_t end = place_in_order(order, placements);
    std::vector<const Group*> best = order;
    constexpr int kTries = 16;
    for (int i = 0; i < kTries && end > least; ++i) {
        const auto highest = std::max_element(order.begin(), order.end(),
                                              [&](const Group* a, const Group* b) { return end_of(a) < end_of(b); });
        std::rotate(order.begin(), highest, highest + 1);
        const std::int64_t other = place_in_order(order, placements);
        if (other < end) end = other, best = order;
    }
    return place_in_order(best, placements);
}

Arena arena_of(const std::vector<BufferSpec>& buffers, const std::vector<Call>& calls, bool parts, bool over) {
    Arena arena{lifetimes(buffers, calls), std::vector<bool>(calls.size(), false)};
    Sharing(buffers, calls, arena).run(parts, over);
    arena.bytes = find_places(buffers, static_cast<int>(calls.size()), arena.placements);
    for (std::size_t t = 0; t < buffers.size(); ++t)
        arena.placements[t].offset = arena.placements[root_of(arena.placements, static_cast<int>(t))].offset;
    return arena;
}

}  // namespace

Arena place(const std::vector<BufferSpec>& buffers, const std::vector<Call>& calls) {
    const bool parts = std::any_of(calls.begin(), calls.end(), [](const Call& call) { return !call.shares.empty(); });
    const bool over = std::any_of(calls.begin(), calls.end(), [](const Call& call) { return call.over.has_value(); });
    Arena best = arena_of(buffers, calls, false, false);
    const auto try_with = [&](bool with_parts, bool with_over) {
        Arena other = arena_of(buffers, calls, with_parts, with_over);
        if (other.bytes < best.bytes || (other.bytes == best.bytes && !with_over)) best = std::move(other);
    };
    if (parts) try_with(true, false);
    if (parts && over) try_with(true, true);
    if (over) try_with(false, true);
    return best;
}

std::int64_t live_bytes(const std::vector<BufferSpec>& buffers, const std::vector<Placement>& placements, int call) {
    return bytes_alive(buffers, placements, call, 1);
}

}  // namespace iwseg
