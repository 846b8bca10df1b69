#include "tests/simt/simt_fences.h"

#include <algorithm>
#include <iterator>

namespace iwseg::simt::executor {

void Fences::begin_launch(std::size_t threads) {
    begin_block();
    all_.clear();
    at_.clear();
    threads_.resize(threads);
}

void Fences::begin_block() {
    for (const int thread : touched_) threads_[static_cast<std::size_t>(thread)] = {};
    touched_.clear();
    of_block_.clear();
}

void Fences::barrier() {
    for (const int thread : touched_) join(of_block_, threads_[static_cast<std::size_t>(thread)].known);
}

void Fences::fence(int thread, const Fence& own) {
    OfThread& one = threads_[static_cast<std::size_t>(thread)];
    touched_.push_back(thread);
    join(one.known, one.read);
    one.read.clear();
    all_.push_back(own);
    one.fenced = of_block_;
    join(one.fenced, one.known);
    one.fenced.push_back(static_cast<std::uint32_t>(all_.size() - 1));
}

void Fences::strong(int thread, std::uintptr_t at, bool write) {
    if (all_.empty()) return;
    OfThread& one = threads_[static_cast<std::size_t>(thread)];
    if (write) {
        if (!one.fenced.empty()) join(at_[at], one.fenced);
    } else if (const auto found = at_.find(at); found != at_.end()) {
        touched_.push_back(thread);
        join(one.read, found->second);
    }
}

void Fences::join(Indices& to, const Indices& more) {
    if (more.empty()) return;
    Indices all;
    std::set_union(to.begin(), to.end(), more.begin(), more.end(), std::back_inserter(all));
    to = std::move(all);
}

}  // namespace iwseg::simt::executor
