#include "engine/plan.h"

#include <algorithm>
#include <cstdint>
#include <exception>
#include <numeric>
#include <stdexcept>

#include "kernels/bytes.h"
#include "kernels/error.h"

namespace iwseg {
namespace {

constexpr std::uintptr_t kAccessBytes = 16;  ///< that kernels load and store at once

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

/// A profiler's range, which ends however the work in it does.
class Range {
  public:
    Range(const Kernels& device, const std::string& name) : device_(device) { device.begin_range(name.c_str()); }
    ~Range() { device_.end_range(); }
    Range(const Range&) = delete;
    Range& operator=(const Range&) = delete;

  private:
    const Kernels& device_;
};

/// What is queued while this lives is recorded. A recording that nobody ends, as a step has thrown, is dropped, so that
/// the stream can be used again.
class Recording {
  public:
    Recording(const Kernels& device, Stream stream)
        : device_(device), stream_(stream), under_way_(device.begin_recording(stream)) {}
    ~Recording() {
        if (!under_way_) return;
        try {
            device_.release_recorded(end());
        } catch (const std::exception&) {
            // It was no valid recording, of which the step's exception says more.
        }
    }
    Recording(const Recording&) = delete;
    Recording& operator=(const Recording&) = delete;

    /// False where the device records nothing: work is done as ever.
    bool under_way() const { return under_way_; }
    RecordedWork end() {
        under_way_ = false;
        return device_.end_recording(stream_);
    }

  private:
    const Kernels& device_;
    Stream stream_;
    bool under_way_;
};

}  // namespace

std::int64_t Plan::bytes_needed(const Program& program) {
    std::vector<Placement> placements = lifetimes(program.tensors(), program.steps());
    take_over(program.tensors(), program.steps(), placements);
    return place(program.tensors(), placements);
}

Plan::Plan(Context& context, Program program)
    : context_(context), tensors_(program.tensors()), steps_(program.take_steps()) {
    placements_ = lifetimes(tensors_, steps_);
    const std::vector<bool> idle = take_over(tensors_, steps_, placements_);
    bytes_ = place(tensors_, placements_);
    for (std::size_t t = 0; t < tensors_.size(); ++t)
        placements_[t].offset = placements_[root_of(placements_, static_cast<Tensor>(t))].offset;
    for (std::size_t i = 0; i < steps_.size(); ++i)
        if (idle[i]) steps_[i].run = nullptr;
    constexpr double kSecondsToQueue = 50e-6;  // a step of one to four launches, each some microseconds
    delay_ = kSecondsToQueue * static_cast<double>(steps_.size());
    bound_.resize(tensors_.size());
    arena_ = std::make_unique<DeviceMemory>(context.kernels(), bytes_);
}

Plan::~Plan() { forget_recorded(); }

void Plan::forget_recorded() {
    if (recorded_.handle) context_.kernels().release_recorded(recorded_);
    recorded_ = {};
}

void Plan::bind(Tensor external, void* memory) {
    if (!tensors_.at(static_cast<std::size_t>(external)).external)
        throw std::logic_error("only an external tensor can be bound, not " + tensors_[external].name);
    if (reinterpret_cast<std::uintptr_t>(memory) % kAccessBytes != 0)
        throw std::invalid_argument(tensors_[external].name + " is bound to memory that is not aligned to " +
                                    std::to_string(kAccessBytes) + " bytes");
    if (bound_[external] != memory) forget_recorded();
    bound_[external] = memory;
}

View Plan::operator[](Tensor tensor) const {
    const TensorSpec& spec = tensors_[static_cast<std::size_t>(tensor)];
    void* data = spec.external ? bound_[tensor] : arena_->data() + placements_[tensor].offset;
    return {data, spec.shape, spec.type, spec.layout};
}

void Plan::run_step(const Step& step) const {
    if (!step.run) return;  // a copy with nothing left to do
    const Kernels& device = context_.kernels();
    const Range range(device, step.name);
    try {
        step.run(*this);
        if (!context_.records()) device.synchronise(context_.stream());
    } catch (const InputError&) {
        throw;
    } catch (const std::runtime_error& error) {
        throw std::runtime_error("step " + step.name + ": " + error.what());
    }
}

void Plan::run_steps() {
    for (const Step& step : steps_) run_step(step);
}

void Plan::run() {
    const Kernels& device = context_.kernels();
    const Stream stream = context_.stream();
    if (!recorded_.handle) {
        if (!warm_ || !context_.records()) {
            run_steps();
            warm_ = true;
            return;
        }
        Recording recording(device, stream);
        run_steps();
        if (!recording.under_way()) return;
        recorded_ = recording.end();
    }
    device.replay(stream, recorded_);
}

std::int64_t Plan::bytes_moved(const Step& step) const {
    std::int64_t bytes = step.bytes_outside;
    for (const auto* list : {&step.reads, &step.writes})
        for (const Tensor t : *list)
            if (tensors_[t].type != Type::u8) bytes += tensors_[t].bytes();
    return bytes;
}

StepTimes Plan::run_timed() {
    constexpr double kLongestDelay = 1;
    const Kernels& device = context_.kernels();
    const Stream stream = context_.stream();
    device.delay(stream, delay_);
    std::vector<Mark> marks{device.set_mark(stream, {})};
    for (const Step& step : steps_) {
        run_step(step);
        marks.push_back(device.set_mark(stream, {}));
    }
    StepTimes times;
    times.starved = !device.host_memory && device.reached(marks.front());
    if (times.starved) delay_ = std::min(2 * delay_, kLongestDelay);
    device.wait_for(marks.back());
    for (std::size_t i = 0; i < steps_.size(); ++i)
        times.seconds.push_back(device.seconds_between(marks[i], marks[i + 1]));
    for (const Mark mark : marks) device.release_mark(mark);
    return times;
}

std::int64_t Plan::live_bytes(int step) const {
    std::int64_t bytes = 0;
    for (Tensor t = 0; t < static_cast<Tensor>(tensors_.size()); ++t) {
        const Placement& placement = placements_[t];
        if (!tensors_[t].external && placement.root == t && placement.first <= step && step <= placement.last)
            bytes += tensors_[t].bytes();
    }
    return bytes;
}

}  // namespace iwseg
