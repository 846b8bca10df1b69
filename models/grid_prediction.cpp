#include "models/grid_prediction.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "engine/plan.h"
#include "kernels/error.h"

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

    /// How many patches cover voxel v of the scan.
    std::int64_t cover(std::int64_t v, const GridOptions& grid) const {
        const std::int64_t at = v + before;
        const std::int64_t last = std::min(at / grid.stride, patches - 1);
        const std::int64_t first = at < grid.patch ? 0 : (at - grid.patch) / grid.stride + 1;
        return last - first + 1;
    }
};

/// The part of one patch that lies inside the scan: patch voxels [low, high) are scan voxels from `start + low`.
struct Range {
    std::int64_t start, low, high;

    Range(const Axis& axis, std::int64_t patch, const GridOptions& grid)
        : start(patch * grid.stride - axis.before),
          low(std::clamp<std::int64_t>(-start, 0, grid.patch)),
          high(std::clamp<std::int64_t>(axis.size - start, 0, grid.patch)) {}
};

float sigmoid(float z) { return static_cast<float>(1.0 / (1.0 + std::exp(-static_cast<double>(z)))); }

}  // namespace

struct GridPredictor::State {
    State(Context& context, Parameters& parameters, const UnetOptions& options, const GridOptions& grid_options)
        : network(options),
          grid(check(grid_options)),
          padded((grid.patch + 7) / 8 * 8),
          margin((padded - grid.patch) / 2),
          graph(context, parameters, {false, grid.bf16, context.kernels().preferred_layout(options.narrowest())}) {
        image = graph.input("patch", {1, network.in_channels, padded, padded, padded});
        logit = add_unet(graph, network, graph.image());
        graph.program().keep(logit);
        graph.forward();
        arena_bytes = Plan::bytes_needed(graph.program());
    }

    static GridOptions check(const GridOptions& grid) {
        if (grid.patch < 1 || grid.stride < 1 || grid.stride > grid.patch)
            throw InputError("a grid of patch " + std::to_string(grid.patch) + " and stride " +
                             std::to_string(grid.stride) + " is not usable: expected 1 <= stride <= patch");
        return grid;
    }

    void extract(const float* scan, const std::array<Axis, 3>& axes, const std::array<Range, 3>& ranges);
    void accumulate(const std::array<Axis, 3>& axes, const std::array<Range, 3>& ranges, Prediction& prediction);

    UnetOptions network;
    GridOptions grid;
    std::int64_t padded, margin;  ///< a side of what the network sees; voxels before the patch in it
    Graph graph;
    Tensor image = -1, logit = -1;
    std::int64_t arena_bytes = 0;
    std::unique_ptr<Plan> plan;
    std::vector<float> patch;
};

/// Copies a patch out of the scan, 0 outside of it, then pads each channel with the patch's minimum.
void GridPredictor::State::extract(const float* scan, const std::array<Axis, 3>& axes, const std::array<Range, 3>& ranges) {
    const std::int64_t p = padded, volume = axes[0].size * axes[1].size * axes[2].size;
    const auto& [rd, rh, rw] = ranges;
    const auto inside = [](const Range& range, std::int64_t v) { return v >= range.low && v < range.high; };
    const auto outside = [&](std::int64_t v) { return v < margin || v >= margin + grid.patch; };
    for (std::int64_t c = 0; c < network.in_channels; ++c) {
        float lowest = INFINITY;
        for (std::int64_t d = 0; d < grid.patch; ++d)
            for (std::int64_t h = 0; h < grid.patch; ++h) {
                float* row = patch.data() + (((c * p + margin + d) * p + margin + h) * p) + margin;
                std::fill_n(row, grid.patch, 0.0f);
                if (inside(rd, d) && inside(rh, h) && rw.high > rw.low)
                    std::copy_n(scan + c * volume + ((rd.start + d) * axes[1].size + rh.start + h) * axes[2].size +
                                    rw.start + rw.low,
                                rw.high - rw.low, row + rw.low);
                lowest = std::min(lowest, *std::min_element(row, row + grid.patch));
            }
        for (std::int64_t d = 0; p > grid.patch && d < p; ++d)
            for (std::int64_t h = 0; h < p; ++h)
                for (std::int64_t w = 0; w < p; ++w)
                    if (outside(d) || outside(h) || outside(w)) patch[((c * p + d) * p + h) * p + w] = lowest;
    }
}

void GridPredictor::State::accumulate(const std::array<Axis, 3>& axes, const std::array<Range, 3>& ranges,
                                      Prediction& prediction) {
    const auto& [rd, rh, rw] = ranges;
    const float* logits = plan->data<const float>(logit);
#pragma omp parallel for schedule(static)
    for (std::int64_t d = rd.low; d < rd.high; ++d)
        for (std::int64_t h = rh.low; h < rh.high; ++h) {
            const float* row = logits + ((margin + d) * padded + margin + h) * padded + margin;
            const std::int64_t to = ((rd.start + d) * axes[1].size + rh.start + h) * axes[2].size + rw.start;
            for (std::int64_t w = rw.low; w < rw.high; ++w) {
                prediction.logit[to + w] += row[w];
                prediction.probability[to + w] += sigmoid(row[w]);
            }
        }
}

GridPredictor::GridPredictor(Context& context, Parameters& parameters, const UnetOptions& network, const GridOptions& grid)
    : state_(std::make_unique<State>(context, parameters, network, grid)) {
    if (network.out_channels != 1)
        throw InputError("prediction takes networks of one output channel, not " + std::to_string(network.out_channels));
}

GridPredictor::~GridPredictor() = default;

std::int64_t GridPredictor::bytes(std::int64_t d, std::int64_t h, std::int64_t w) const {
    const State& s = *state_;
    const std::int64_t patch = s.network.in_channels * s.padded * s.padded * s.padded;
    return s.arena_bytes + 4 * (patch + (s.network.in_channels + 2) * d * h * w);
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
    if (!s.plan) {
        s.plan = std::make_unique<Plan>(s.graph.program());
        s.patch.resize(static_cast<std::size_t>(s.network.in_channels * s.padded * s.padded * s.padded));
    }
    s.plan->bind(s.image, s.patch.data());
    const std::array<Axis, 3> axes{Axis(d, s.grid), Axis(h, s.grid), Axis(w, s.grid)};
    Prediction prediction;
    prediction.logit.resize(static_cast<std::size_t>(d * h * w));
    prediction.probability.resize(static_cast<std::size_t>(d * h * w));
    const std::int64_t all = patches(d, h, w);
    for (std::int64_t i = 0; i < all; ++i) {
        const std::int64_t x = i % axes[2].patches, y = i / axes[2].patches % axes[1].patches;
        const std::array<Range, 3> ranges{Range(axes[0], i / axes[2].patches / axes[1].patches, s.grid),
                                          Range(axes[1], y, s.grid), Range(axes[2], x, s.grid)};
        s.extract(image, axes, ranges);
        s.plan->run();
        s.accumulate(axes, ranges, prediction);
        if (progress) progress(i + 1, all);
    }
#pragma omp parallel for schedule(static)
    for (std::int64_t i = 0; i < d; ++i)
        for (std::int64_t j = 0; j < h; ++j)
            for (std::int64_t k = 0; k < w; ++k) {
                const auto share = 1.0f / static_cast<float>(axes[0].cover(i, s.grid) * axes[1].cover(j, s.grid) *
                                                             axes[2].cover(k, s.grid));
                prediction.logit[(i * h + j) * w + k] *= share;
                prediction.probability[(i * h + j) * w + k] *= share;
            }
    return prediction;
}

}  // namespace iwseg
