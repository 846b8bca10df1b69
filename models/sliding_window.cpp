#include "models/sliding_window.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "base/error.h"
#include "engine/compile.h"
#include "engine/device_memory.h"
#include "engine/graph.h"
#include "engine/plan.h"
#include "kernels/cpu/parallel.h"
#include "kernels/device/backend.h"

namespace iwseg {
namespace {

constexpr double kLeastStep = 0.01;
constexpr double kSigma = 1.0 / 8;     ///< of a patch's side
constexpr double kTruncate = 4;        ///< SciPy's Gaussian ends at so many sigmas
constexpr double kLargestWeight = 10;  ///< nnU-Net's value_scaling_factor

std::int64_t voxels_of(const Extent& extent) {
    return extent[0] * extent[1] * extent[2];
}

Extent extent_of(const Sides& sides) {
    return {sides.d, sides.h, sides.w};
}

/// What a value becomes in half precision, rounded to the nearest, ties to even; subnormal ones too.
double in_half(double value) {
    if (value == 0) return 0;
    constexpr int kLeastExponent = -14, kFraction = 10;
    const int exponent = std::max(std::ilogb(value), kLeastExponent);
    const double unit = std::ldexp(1.0, exponent - kFraction);
    return std::nearbyint(value / unit) * unit;
}

/// A Gaussian around side / 2, as SciPy's gaussian_filter makes it of a single 1.
std::vector<double> gaussian(int side) {
    const double sigma = side * kSigma;
    const double radius = std::floor(kTruncate * sigma + 0.5);
    const int middle = side / 2;
    std::vector<double> weights(static_cast<std::size_t>(side));
    for (int i = 0; i < side; ++i) {
        const double away = i - middle;
        if (std::abs(away) <= radius)
            weights[static_cast<std::size_t>(i)] = std::exp(-0.5 * away * away / (sigma * sigma));
    }
    return weights;
}

/// Sets of axes as Python's itertools.combinations lists them, the empty one first; a bit an axis.
std::vector<unsigned> mirrored_sets(const std::vector<int>& axes) {
    std::vector<unsigned> sets;
    for (unsigned bits = 0; bits < 1u << axes.size(); ++bits) sets.push_back(bits);
    const auto places = [&](unsigned bits) {
        std::vector<std::size_t> list;
        for (std::size_t i = 0; i < axes.size(); ++i)
            if (bits >> i & 1) list.push_back(i);
        return list;
    };
    std::stable_sort(sets.begin(), sets.end(), [&](unsigned a, unsigned b) {
        const auto of_a = places(a), of_b = places(b);
        return of_a.size() != of_b.size() ? of_a.size() < of_b.size() : of_a < of_b;
    });
    std::vector<unsigned> named;
    for (const unsigned bits : sets) {
        unsigned named_bits = 0;
        for (const std::size_t i : places(bits)) named_bits |= 1u << static_cast<unsigned>(axes[i]);
        named.push_back(named_bits);
    }
    return named;
}

/// A row of a patch and the same of its mirror image.
struct MirroredRows {
    Extent patch;
    unsigned mirrored;

    std::int64_t along(unsigned axis, std::int64_t place) const {
        return mirrored >> axis & 1 ? patch[axis] - 1 - place : place;
    }
    /// Where the row (d, h) lies in the mirror image.
    std::int64_t row(std::int64_t d, std::int64_t h) const { return (along(0, d) * patch[1] + along(1, h)) * patch[2]; }
};

}  // namespace

SlidingWindowOptions windows_of(const Network& network, const GridOptions& grid) {
    require_usable(grid, "patch", "stride");
    return {.patch = static_cast<int>(network.padded(grid.patch)),
            .step = std::max(kLeastStep, static_cast<double>(grid.stride) / static_cast<double>(grid.patch)),
            .bf16 = grid.bf16};
}

std::vector<std::int64_t> window_starts(std::int64_t size, std::int64_t patch, double step) {
    if (patch > size) throw std::invalid_argument("window_starts: a patch larger than the axis");
    const auto rest = static_cast<double>(size - patch);
    const auto count = static_cast<std::int64_t>(std::ceil(rest / (static_cast<double>(patch) * step))) + 1;
    std::vector<std::int64_t> starts;
    for (std::int64_t i = 0; i < count; ++i)
        starts.push_back(count == 1 ? 0
                                    : static_cast<std::int64_t>(std::nearbyint(rest / static_cast<double>(count - 1) *
                                                                               static_cast<double>(i))));
    return starts;
}

std::vector<float> gaussian_importance(const Sides& patch) {
    const std::vector<double> d = gaussian(patch.d), h = gaussian(patch.h), w = gaussian(patch.w);
    std::vector<float> weights;
    weights.reserve(d.size() * h.size() * w.size());
    float least = std::numeric_limits<float>::infinity();
    for (const double of_d : d)
        for (const double of_h : h)
            for (const double of_w : w) {
                weights.push_back(static_cast<float>(in_half(kLargestWeight * of_d * of_h * of_w)));
                if (weights.back() > 0) least = std::min(least, weights.back());
            }
    for (float& weight : weights)
        if (weight == 0) weight = least;
    return weights;
}

struct SlidingWindow::State {
    State(const Context& given, const Network& predicted, const SlidingWindowOptions& chosen)
        : context(given), network(predicted), options(check(chosen)), patch(extent_of(options.patch)) {
        Graph graph;
        const Tensor input = graph.input("patch", {1, network.in_channels, patch[0], patch[1], patch[2]});
        const Tensor logits = network.build(input);
        outputs = logits.shape().c;
        if (Extent{logits.shape().d, logits.shape().h, logits.shape().w} != patch)
            throw InputError("prediction takes networks whose results have the size of their patch");
        Compiled made = compile(graph, context, parameters, {.bf16 = options.bf16, .keep = {logits}});
        image = made[input], logit = made[logits];
        program = std::move(made.program);
        arena_bytes = Plan::bytes_needed(program);
        importance = options.gaussian ? gaussian_importance(options.patch)
                                      : std::vector<float>(static_cast<std::size_t>(voxels_of(patch)), 1.0f);
        mirrored = mirrored_sets(options.mirror);
    }

    static SlidingWindowOptions check(const SlidingWindowOptions& options) {
        for (const std::int64_t side : extent_of(options.patch))
            if (side < 1 || side > GridOptions::kMostPatch)
                throw InputError("a patch with a side of " + std::to_string(side) +
                                 " voxels is not usable: expected 1 to " + std::to_string(GridOptions::kMostPatch));
        if (!(options.step >= kLeastStep && options.step <= 1))
            throw InputError("a step of " + std::to_string(options.step) +
                             " of the patch is not usable: expected 0.01 to 1");
        for (const int axis : options.mirror)
            if (axis < 0 || axis > 2 || std::count(options.mirror.begin(), options.mirror.end(), axis) != 1)
                throw InputError("mirroring takes the axes 0, 1 and 2, each once");
        return options;
    }

    Extent padded(const Extent& extent) const {
        Extent sides{};
        for (std::size_t a = 0; a < 3; ++a) sides[a] = std::max(extent[a], patch[a]);
        return sides;
    }
    std::array<std::vector<std::int64_t>, 3> starts(const Extent& extent) const {
        const Extent sides = padded(extent);
        std::array<std::vector<std::int64_t>, 3> all;
        for (std::size_t a = 0; a < 3; ++a) all[a] = window_starts(sides[a], patch[a], options.step);
        return all;
    }

    void keep_weights() { weights.push_back({parameters.values(), parameters.statistics()}); }
    void use_network(int number);
    bool mirrors() const { return mirrored.size() > 1; }
    void prepare();
    void extract(const float* scan, const Extent& extent, const Extent& start, unsigned mirror);
    void predict_patch(const float* scan, const Extent& extent, const Extent& start);
    void add_weights_of_row(const std::array<std::vector<std::int64_t>, 3>& all, std::int64_t z, std::int64_t y,
                            std::vector<float>& row) const;

    Context context;
    Network network;
    SlidingWindowOptions options;
    Extent patch;
    std::int64_t outputs = 1;
    Parameters parameters;
    /// Of each network to be averaged: the parameters' values, and what batch normalisations have learned of
    /// statistics. None of a single one, which is what parameters hold.
    struct Weights {
        std::vector<float> values, statistics;
    };
    int networks = 0;
    std::vector<Weights> weights;
    Program program;
    Buffer image, logit;
    std::int64_t arena_bytes = 0;
    std::vector<float> importance;
    std::vector<unsigned> mirrored;
    std::unique_ptr<Plan> plan;
    std::unique_ptr<DeviceMemory> on_device;
    std::vector<float> seen;         ///< one patch's image, where the device does not read the host's memory
    std::vector<float> result, sum;  ///< its logits, where it is mirrored, and added up over its mirror images
};

void SlidingWindow::State::use_network(int number) {
    if (!weights.empty()) {
        const Weights& held = weights[static_cast<std::size_t>(number)];
        std::copy(held.values.begin(), held.values.end(), parameters.values().begin());
        std::copy(held.statistics.begin(), held.statistics.end(), parameters.statistics().begin());
    }
    parameters.upload();
}

void SlidingWindow::State::prepare() {
    if (plan) return;
    auto made = std::make_unique<Plan>(context, program);
    parameters.place(context.backend(), context.stream(), false);
    const std::int64_t values = network.in_channels * voxels_of(patch);
    on_device = std::make_unique<DeviceMemory>(context.backend(), 4 * values);
    made->bind(image, on_device->data());
    if (!context.backend().host_memory) seen.resize(static_cast<std::size_t>(values));
    sum.resize(static_cast<std::size_t>(outputs * voxels_of(patch)));
    if (mirrors()) result.resize(sum.size());
    plan = std::move(made);
}

/// The patch that begins at a place of the scan, which may lie before it; mirrored.
void SlidingWindow::State::extract(const float* scan, const Extent& extent, const Extent& start, unsigned mirror) {
    const MirroredRows rows{patch, mirror};
    auto* const values = seen.empty() ? reinterpret_cast<float*>(on_device->data()) : seen.data();
    cpu::parallel_for(context.host(), network.in_channels * patch[0] * patch[1], [&](std::int64_t i) {
        const std::int64_t c = i / (patch[0] * patch[1]), d = i / patch[1] % patch[0], h = i % patch[1];
        float* const to = values + c * voxels_of(patch) + rows.row(d, h);
        const std::int64_t z = start[0] + d, y = start[1] + h;
        const bool inside = z >= 0 && z < extent[0] && y >= 0 && y < extent[1];
        const float* const from = scan + ((c * extent[0] + z) * extent[1] + y) * extent[2];
        for (std::int64_t w = 0; w < patch[2]; ++w) {
            const std::int64_t x = start[2] + w;
            to[rows.along(2, w)] = inside && x >= 0 && x < extent[2] ? from[x] : 0;
        }
    });
    if (!seen.empty())
        context.backend().copy_to_device(context.stream(), seen.data(), on_device->data(),
                                         static_cast<std::int64_t>(seen.size()) * 4);
}

/// Leaves the mean over mirror images in sum.
void SlidingWindow::State::predict_patch(const float* scan, const Extent& extent, const Extent& start) {
    const std::int64_t voxels = voxels_of(patch);
    for (const unsigned mirror : mirrored) {
        extract(scan, extent, start, mirror);
        plan->run();
        plan->read(logit, (mirrors() ? result : sum).data());
        if (!mirrors()) return;
        const MirroredRows rows{patch, mirror};
        const auto count = static_cast<float>(mirrored.size());
        const bool first = mirror == mirrored.front(), last = mirror == mirrored.back();
        cpu::parallel_for(context.host(), outputs * patch[0] * patch[1], [&](std::int64_t i) {
            const std::int64_t k = i / (patch[0] * patch[1]), d = i / patch[1] % patch[0], h = i % patch[1];
            const float* const from = result.data() + k * voxels + rows.row(d, h);
            float* const to = sum.data() + i * patch[2];
            for (std::int64_t w = 0; w < patch[2]; ++w) {
                const float value = (first ? 0 : to[w]) + from[rows.along(2, w)];
                to[w] = last ? value / count : value;
            }
        });
    }
}

/// The patches' weights along a row (z, y) of the padded scan, added up in the order in which the patches are. They are
/// the same for every class and cost what it costs to add them patch by patch, but no volume.
void SlidingWindow::State::add_weights_of_row(const std::array<std::vector<std::int64_t>, 3>& all, std::int64_t z,
                                              std::int64_t y, std::vector<float>& row) const {
    for (const std::int64_t d : all[0]) {
        if (z < d || z >= d + patch[0]) continue;
        for (int nth = 0; nth < networks; ++nth)
            for (const std::int64_t h : all[1]) {
                if (y < h || y >= h + patch[1]) continue;
                const float* const of_patch = importance.data() + ((z - d) * patch[1] + y - h) * patch[2];
                for (const std::int64_t w : all[2])
                    for (std::int64_t i = 0; i < patch[2]; ++i) row[static_cast<std::size_t>(w + i)] += of_patch[i];
            }
    }
}

SlidingWindow::SlidingWindow(const Context& context, const Network& network, const SlidingWindowOptions& options)
    : state_(std::make_unique<State>(context, network, options)) {}

SlidingWindow::~SlidingWindow() = default;

Parameters& SlidingWindow::parameters() {
    return state_->parameters;
}

void SlidingWindow::add_weights(const std::function<void(Parameters&)>& load) {
    State& s = *state_;
    if (s.networks == 1 && s.weights.empty()) s.keep_weights();
    load(s.parameters);
    if (s.networks > 0) s.keep_weights();
    ++s.networks;
}

void SlidingWindow::use_weights() {
    state_->weights.clear();
    state_->networks = 1;
}

int SlidingWindow::outputs() const {
    return static_cast<int>(state_->outputs);
}

std::int64_t SlidingWindow::patches(const Extent& extent) const {
    const auto starts = state_->starts(extent);
    return static_cast<std::int64_t>(starts[0].size() * starts[1].size() * starts[2].size() * state_->mirrored.size() *
                                     static_cast<std::size_t>(std::max(1, state_->networks)));
}

std::int64_t SlidingWindow::lasting_bytes() const {
    const State& s = *state_;
    // The patch as the host has it and as the device does, its logits and their sum over mirror images, its weights.
    const std::int64_t images = s.context.backend().host_memory ? 1 : 2, logits = s.mirrors() ? 2 : 1;
    return s.arena_bytes + 4 * (images * s.network.in_channels + logits * s.outputs + 1) * voxels_of(s.patch);
}

std::int64_t SlidingWindow::bytes(const Extent& extent) const {
    const State& s = *state_;
    const Extent padded = s.padded(extent);
    // In floating point, as headers may lie about the extent.
    const double plane = static_cast<double>(padded[1]) * static_cast<double>(padded[2]);
    const double planes = 4.0 * static_cast<double>(s.patch[0] * s.outputs + s.outputs) * plane;
    return static_cast<std::int64_t>(std::min(static_cast<double>(lasting_bytes()) + planes, 1e18));
}

void SlidingWindow::predict(const float* image, const Extent& extent, const PlaneSink& sink,
                            const PatchProgress& progress) {
    State& s = *state_;
    if (s.networks == 0) throw std::logic_error("SlidingWindow: there are no weights to predict with");
    if (*std::min_element(extent.begin(), extent.end()) < 1)
        throw InputError("a scan without voxels cannot be predicted");
    s.prepare();
    const auto starts = s.starts(extent);
    const Extent padded = s.padded(extent), &patch = s.patch;
    Extent before{};  // voxels of padding
    for (std::size_t a = 0; a < 3; ++a) before[a] = (padded[a] - extent[a]) / 2;
    const Stream host = s.context.host();
    // patch[0] planes (K, H, W) from the start of the patches that are being added.
    const std::int64_t plane = padded[1] * padded[2];
    std::vector<float> sums(static_cast<std::size_t>(patch[0] * plane * s.outputs));
    std::vector<float> out(static_cast<std::size_t>(s.outputs * extent[1] * extent[2]));
    const std::int64_t all = patches(extent);
    std::int64_t done = 0;
    for (std::size_t step = 0; step < starts[0].size(); ++step) {
        const std::int64_t z = starts[0][step];
        for (int network = 0; network < s.networks; ++network) {
            s.use_network(network);
            for (const std::int64_t y : starts[1])
                for (const std::int64_t x : starts[2]) {
                    s.predict_patch(image, extent, {z - before[0], y - before[1], x - before[2]});
                    cpu::parallel_for(host, patch[0] * patch[1], [&](std::int64_t row) {
                        const std::int64_t d = row / patch[1], h = row % patch[1], at = (y + h) * padded[2] + x;
                        const float* const importance = s.importance.data() + row * patch[2];
                        for (std::int64_t k = 0; k < s.outputs; ++k) {
                            const float* const logits = s.sum.data() + ((k * patch[0] + d) * patch[1] + h) * patch[2];
                            float* const to = sums.data() + (d * s.outputs + k) * plane + at;
                            for (std::int64_t w = 0; w < patch[2]; ++w) to[w] += logits[w] * importance[w];
                        }
                    });
                    done += static_cast<std::int64_t>(s.mirrored.size());
                    if (progress) progress(done, all);
                }
        }
        // Planes that no later patch covers.
        const std::int64_t next = step + 1 < starts[0].size() ? starts[0][step + 1] : z + patch[0];
        for (std::int64_t d = 0; d < next - z; ++d) {
            const std::int64_t of_scan = z + d - before[0];
            if (of_scan < 0 || of_scan >= extent[0]) continue;
            cpu::parallel_for(host, extent[1], [&](std::int64_t h) {
                std::vector<float> weights(static_cast<std::size_t>(padded[2]));
                s.add_weights_of_row(starts, z + d, h + before[1], weights);
                const float* const weight = weights.data() + before[2];
                for (std::int64_t k = 0; k < s.outputs; ++k) {
                    const float* const sum =
                        sums.data() + (d * s.outputs + k) * plane + (h + before[1]) * padded[2] + before[2];
                    float* const to = out.data() + (k * extent[1] + h) * extent[2];
                    for (std::int64_t w = 0; w < extent[2]; ++w) to[w] = sum[w] / weight[w];
                }
            });
            const auto bad = std::find_if(out.begin(), out.end(), [](float x) { return !std::isfinite(x); });
            if (bad != out.end())
                throw NotFinite("the network gives a logit of " + std::to_string(*bad) + " in plane " +
                                std::to_string(of_scan) +
                                ", expected a finite one: its weights or the values of the scan are not usable");
            sink(of_scan, out.data());
        }
        const std::int64_t kept = patch[0] - (next - z);
        std::copy(sums.end() - kept * plane * s.outputs, sums.end(), sums.begin());
        std::fill(sums.begin() + kept * plane * s.outputs, sums.end(), 0.0f);
    }
}

}  // namespace iwseg
