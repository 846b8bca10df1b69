#include "models/grid_prediction.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>

#include "base/error.h"
#include "engine/compile.h"
#include "engine/device_copy.h"
#include "engine/graph.h"
#include "engine/plan.h"
#include "kernels/device/backend.h"
#include "kernels/device/const_view.h"
#include "kernels/patch/grid_patch.h"

namespace iwseg {
namespace {

/// The grid along one axis: the scan of `size` voxels begins at `before` in the padded one.
struct Axis {
    std::int64_t size, before, patches;

    Axis(std::int64_t voxels, const GridOptions& grid) : size(voxels) {
        const std::int64_t least = std::max(voxels, grid.patch);
        const std::int64_t padded = grid.patch + (least - grid.patch + grid.stride - 1) / grid.stride * grid.stride;
        before = (padded - voxels) / 2;
        patches = (padded - grid.patch) / grid.stride + 1;
    }
};

/// Throws where a value is not finite, naming its voxel.
void require_finite(const std::vector<float>& values, const char* what, std::int64_t h, std::int64_t w) {
    const auto bad = std::find_if(values.begin(), values.end(), [](float value) { return !std::isfinite(value); });
    if (bad == values.end()) return;
    const std::int64_t v = bad - values.begin();
    throw NotFinite(std::string("the network gives a ") + what + " of " + std::to_string(*bad) + " at voxel (" +
                    std::to_string(v / (h * w)) + ", " + std::to_string(v / w % h) + ", " + std::to_string(v % w) +
                    "), expected a finite one: its weights or the values of the scan are not usable");
}

}  // namespace

void require_usable(const GridOptions& grid, const std::string& patch_name, const std::string& stride_name) {
    const auto refuse = [](const std::string& name, std::int64_t value, const std::string& range) {
        throw InputError(name + " = " + std::to_string(value) + " is not usable: it must be from " + range);
    };
    if (grid.patch < GridOptions::kLeastPatch || grid.patch > GridOptions::kMostPatch)
        refuse(patch_name, grid.patch,
               std::to_string(GridOptions::kLeastPatch) + " to " + std::to_string(GridOptions::kMostPatch) + " voxels");
    if (grid.stride < 1 || grid.stride > grid.patch)
        refuse(stride_name, grid.stride, "1 to " + patch_name + ", which is " + std::to_string(grid.patch));
}

struct GridPredictor::State {
    State(Context& context, Parameters& network_parameters, const Network& predicted, const GridOptions& grid_options)
        : device(context),
          parameters(network_parameters),
          network(predicted),
          grid(check(grid_options)),
          padded(network.padded(grid.patch)),
          margin((padded - grid.patch) / 2) {
        Graph graph;
        const Tensor seen = graph.input("patch", {1, network.in_channels, padded, padded, padded});
        const Tensor logits = network.build(seen);
        if (logits.shape().c != 1)
            throw InputError("prediction takes networks of one output channel, not " +
                             std::to_string(logits.shape().c));
        Compiled made = compile(graph, context, parameters, {.bf16 = grid.bf16, .keep = {logits}});
        image = made[seen], logit = made[logits];
        program = std::move(made.program);
        arena_bytes = Plan::bytes_needed(program);
    }

    static GridOptions check(const GridOptions& grid) {
        require_usable(grid, "the grid's patch", "the grid's stride");
        return grid;
    }

    Context& device;
    Parameters& parameters;
    Network network;
    GridOptions grid;
    std::int64_t padded, margin;  ///< a side of what the network sees; voxels before the patch in it
    Program program;
    Buffer image, logit;
    std::int64_t arena_bytes = 0;
    std::unique_ptr<Plan> plan;
    std::unique_ptr<DeviceMemory> patch, scratch;  ///< what the network sees of a patch
    std::mutex turn;                               ///< held while a scan is predicted
    std::atomic<std::thread::id> predicting;       ///< whose turn it is
};

/// A thread's turn to predict; it waits for those of others. Throws where the thread has it already.
class GridPredictor::Turn {
  public:
    explicit Turn(State& state) : state_(state) {
        if (state.predicting == std::this_thread::get_id())
            throw std::logic_error(
                "GridPredictor::predict was called from its own progress: a scan at a time is predicted");
        state.turn.lock();
        state.predicting = std::this_thread::get_id();
    }
    ~Turn() {
        state_.predicting = std::thread::id();
        state_.turn.unlock();
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

  private:
    State& state_;
};

GridPredictor::GridPredictor(Context& context, Parameters& parameters, const Network& network, const GridOptions& grid)
    : state_(std::make_unique<State>(context, parameters, network, grid)) {}

GridPredictor::~GridPredictor() = default;

std::int64_t GridPredictor::lasting_bytes() const {
    const State& s = *state_;
    return s.arena_bytes + 4 * s.network.in_channels * s.padded * s.padded * s.padded;
}

std::int64_t GridPredictor::bytes(std::int64_t d, std::int64_t h, std::int64_t w) const {
    return lasting_bytes() + 4 * (state_->network.in_channels + 2) * d * h * w;
}

std::int64_t GridPredictor::patches(std::int64_t d, std::int64_t h, std::int64_t w) const {
    return Axis(d, state_->grid).patches * Axis(h, state_->grid).patches * Axis(w, state_->grid).patches;
}

Prediction GridPredictor::predict(const float* image, std::int64_t d, std::int64_t h, std::int64_t w,
                                  const PatchProgress& progress) {
    State& s = *state_;
    if (d < 1 || h < 1 || w < 1)
        throw InputError("a scan of " + std::to_string(d) + " x " + std::to_string(h) + " x " + std::to_string(w) +
                         " voxels is empty");
    const Turn turn(s);
    const Backend& device = s.device.backend();
    const Stream stream = s.device.stream();
    const std::int64_t channels = s.network.in_channels;
    const Shape seen_shape{1, channels, s.padded, s.padded, s.padded};
    if (!s.plan) {
        // All or nothing: where memory lacks for one, another call begins anew.
        auto plan = std::make_unique<Plan>(s.device, s.program);
        s.parameters.place(device, stream, false);
        s.patch = std::make_unique<DeviceMemory>(device, seen_shape.elements() * 4);
        s.scratch = std::make_unique<DeviceMemory>(device, device.extract_patch_scratch_bytes(channels));
        s.plan = std::move(plan);
    }
    s.plan->bind(s.image, s.patch->data());
    const std::array<Axis, 3> axes{Axis(d, s.grid), Axis(h, s.grid), Axis(w, s.grid)};
    Prediction prediction;
    prediction.logit.resize(static_cast<std::size_t>(d * h * w));
    prediction.probability.resize(static_cast<std::size_t>(d * h * w));
    const DeviceCopy scan(s.device, image, channels * d * h * w);
    const DeviceCopy logits(s.device, prediction.logit.data(), d * h * w, DeviceStart::zero);
    const DeviceCopy probabilities(s.device, prediction.probability.data(), d * h * w, DeviceStart::zero);
    GridPatch patch{{d, h, w}, {}, s.grid.patch, s.padded, s.margin};
    const std::int64_t all = patches(d, h, w);
    for (std::int64_t i = 0; i < all; ++i) {
        const std::int64_t place[] = {i / axes[2].patches / axes[1].patches, i / axes[2].patches % axes[1].patches,
                                      i % axes[2].patches};
        for (unsigned axis = 0; axis < 3; ++axis) patch.start[axis] = place[axis] * s.grid.stride - axes[axis].before;
        device.extract_patch(stream, to_read({scan.data(), {1, channels, d, h, w}}), patch,
                             {s.patch->data(), seen_shape}, s.scratch->data());
        s.plan->run();
        device.accumulate_patch(stream, (*s.plan)[s.logit], patch, logits.data(), probabilities.data());
        device.synchronise(stream);  // so that progress is true, and an interruption is heard
        if (progress) progress(i + 1, all);
    }
    GridCover cover{{d, h, w}, {}, {}, s.grid.patch, s.grid.stride};
    for (unsigned axis = 0; axis < 3; ++axis) {
        cover.before[axis] = axes[axis].before;
        cover.patches[axis] = axes[axis].patches;
    }
    device.average_patches(stream, cover, logits.data(), probabilities.data());
    logits.copy_back();
    probabilities.copy_back();
    require_finite(prediction.logit, "logit", h, w);
    require_finite(prediction.probability, "probability", h, w);
    return prediction;
}

}  // namespace iwseg
