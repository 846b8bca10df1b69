#include "tests/simt/simt_copies.h"

#include <algorithm>
#include <cstring>

#include "tests/simt/simt_hooks.h"

namespace iwseg::simt::executor {
namespace {

void land(const AsyncCopies::Copy& copy) {
    if (copy.bytes > 0) std::memcpy(copy.to, copy.from, static_cast<std::size_t>(copy.bytes));  // else from nowhere
    std::memset(static_cast<char*>(copy.to) + copy.bytes, 0,
                static_cast<std::size_t>(AsyncCopies::kBytes - copy.bytes));
}

}  // namespace

void AsyncCopies::reset(std::size_t threads) {
    queues_.assign(threads, {});
    under_way_ = 0;
}

void AsyncCopies::begin(int thread, Copy copy) {
    Queue& queue = queues_[static_cast<std::size_t>(thread)];
    copy.group = queue.groups;
    queue.copies.push_back(copy);
    queue.uncommitted = true;
    ++under_way_;
}

void AsyncCopies::commit(int thread) {
    Queue& queue = queues_[static_cast<std::size_t>(thread)];
    ++queue.groups;
    queue.uncommitted = false;
}

void AsyncCopies::wait(int thread, int left) {
    Queue& queue = queues_[static_cast<std::size_t>(thread)];
    queue.waited = std::max(queue.waited, queue.groups - left);
    const auto landed = std::stable_partition(queue.copies.begin(), queue.copies.end(),
                                              [&](const Copy& copy) { return copy.group >= queue.waited; });
    std::for_each(landed, queue.copies.end(), [](const Copy& copy) {
        land(copy);
        // Until now it could: what others read there since the last barrier is a race.
        note_access({reinterpret_cast<std::uintptr_t>(copy.to), kBytes, true, Strength::plain, copy.site});
    });
    under_way_ -= static_cast<std::size_t>(queue.copies.end() - landed);
    queue.copies.erase(landed, queue.copies.end());
}

void AsyncCopies::land_some(std::mt19937_64& random) {
    for (; under_way_ > 0 && random() % 4 == 0; --under_way_) {
        std::size_t thread = random() % queues_.size();
        while (queues_[thread].copies.empty()) thread = (thread + 1) % queues_.size();
        std::vector<Copy>& copies = queues_[thread].copies;
        std::swap(copies[random() % copies.size()], copies.back());
        land(copies.back());
        copies.pop_back();
    }
}

bool AsyncCopies::leaves_unwaited(int thread) const {
    const Queue& queue = queues_[static_cast<std::size_t>(thread)];
    return queue.uncommitted || queue.waited < queue.groups;
}

}  // namespace iwseg::simt::executor
