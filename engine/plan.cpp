#include "engine/plan.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <stdexcept>

namespace iwseg {
namespace {

constexpr std::int64_t kAlignment = 64;  ///< a cache line, and the widest vector

std::int64_t aligned(std::int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

std::vector<Placement> lifetimes(const std::vector<TensorSpec>& tensors, const std::vector<Step>& steps) {
    std::vector<Placement> placements(tensors.size());
    for (std::size_t t = 0; t < tensors.size(); ++t)
        placements[t] = {static_cast<Tensor>(t), static_cast<int>(steps.size()), -1, 0};
    for (int i = 0; i < static_cast<int>(steps.size()); ++i) {
        for (const auto* list : {&steps[i].reads, &steps[i].writes})
            for (const Tensor t : *list) {
                placements[t].first = std::min(placements[t].first, i);
                placements[t].last = i;
            }
    }
    for (std::size_t t = 0; t < tensors.size(); ++t)
        if (tensors[t].output) placements[t].last = static_cast<int>(steps.size());
    return placements;
}

Tensor root_of(const std::vector<Placement>& placements, Tensor tensor) {
    while (placements[tensor].root != tensor) tensor = placements[tensor].root;
    return tensor;
}

/// Lets results take over memory that nothing reads any more. Returns which steps have nothing left to do.
std::vector<bool> take_over(const std::vector<TensorSpec>& tensors, const std::vector<Step>& steps,
                            std::vector<Placement>& placements) {
    std::vector<bool> idle(steps.size(), false);
    for (int i = 0; i < static_cast<int>(steps.size()); ++i) {
        if (!steps[i].in_place) continue;
        const Tensor from = root_of(placements, steps[i].in_place->first), to = steps[i].in_place->second;
        const bool free = placements[from].last == i && placements[to].first == i && !tensors[from].external &&
                          !tensors[to].external && tensors[from].bytes() == tensors[to].bytes();
        if (!free || from == to) continue;
        placements[to].root = from;
        placements[from].last = placements[to].last;
        idle[i] = steps[i].copies_only;
    }
    return idle;
}

/// The largest first, each at the lowest place where nothing that lives at the same time lies. Returns the bytes used.
std::int64_t place(const std::vector<TensorSpec>& tensors, std::vector<Placement>& placements) {
    std::vector<Tensor> order;
    for (Tensor t = 0; t < static_cast<Tensor>(tensors.size()); ++t)
        if (!tensors[t].external && placements[t].root == t && placements[t].last >= placements[t].first) order.push_back(t);
    std::stable_sort(order.begin(), order.end(), [&](Tensor a, Tensor b) { return tensors[a].bytes() > tensors[b].bytes(); });
    std::vector<Tensor> placed;  // by offset
    std::int64_t end = 0;
    for (const Tensor t : order) {
        std::int64_t at = 0;
        const std::int64_t size = aligned(tensors[t].bytes());
        for (const Tensor other : placed) {
            if (placements[other].last < placements[t].first || placements[t].last < placements[other].first) continue;
            if (placements[other].offset >= at + size) break;
            at = std::max(at, placements[other].offset + aligned(tensors[other].bytes()));
        }
        placements[t].offset = at;
        end = std::max(end, at + size);
        placed.insert(std::upper_bound(placed.begin(), placed.end(), t,
                                       [&](Tensor a, Tensor b) { return placements[a].offset < placements[b].offset; }),
                      t);
    }
    return end;
}

}  // namespace

std::int64_t Plan::bytes_needed(const Program& program) {
    std::vector<Placement> placements = lifetimes(program.tensors(), program.steps());
    take_over(program.tensors(), program.steps(), placements);
    return place(program.tensors(), placements);
}

Plan::Plan(Program program) : tensors_(program.tensors()), steps_(program.take_steps()) {
    placements_ = lifetimes(tensors_, steps_);
    const std::vector<bool> idle = take_over(tensors_, steps_, placements_);
    bytes_ = place(tensors_, placements_);
    for (std::size_t t = 0; t < tensors_.size(); ++t)
        placements_[t].offset = placements_[root_of(placements_, static_cast<Tensor>(t))].offset;
    for (std::size_t i = 0; i < steps_.size(); ++i)
        if (idle[i]) steps_[i].run = nullptr;
    std::erase_if(steps_, [](const Step& step) { return !step.run; });
    bound_.resize(tensors_.size());
    arena_ = std::make_unique<Arena>(bytes_);
}

void Plan::bind(Tensor external, void* memory) {
    if (!tensors_.at(static_cast<std::size_t>(external)).external)
        throw std::logic_error("only an external tensor can be bound, not " + tensors_[external].name);
    bound_[external] = memory;
}

View Plan::operator[](Tensor tensor) const {
    const TensorSpec& spec = tensors_[static_cast<std::size_t>(tensor)];
    void* data = spec.external ? bound_[tensor] : arena_->data() + placements_[tensor].offset;
    return {data, spec.shape, spec.type, spec.layout};
}

void Plan::run() {
    for (const Step& step : steps_) step.run(*this);
}

std::int64_t Plan::bytes_moved(const Step& step) const {
    std::int64_t bytes = 0;
    for (const auto* list : {&step.reads, &step.writes})
        for (const Tensor t : *list)
            if (tensors_[t].type != Type::u8) bytes += tensors_[t].bytes();
    return bytes;
}

void Plan::run_timed(const std::function<void(const Step&, double)>& after) {
    for (const Step& step : steps_) {
        const auto begin = std::chrono::steady_clock::now();
        step.run(*this);
        after(step, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
}

}  // namespace iwseg
