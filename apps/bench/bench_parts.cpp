#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/bench/bench_options.h"
#include "apps/config/config.h"
#include "base/error.h"
#include "base/random.h"
#include "base/seconds_since.h"
#include "data/volume/volume.h"
#include "engine/device_copy.h"
#include "engine/device_memory.h"
#include "engine/initialisation.h"
#include "engine/parameters.h"
#include "kernels/components/component_weights.h"
#include "kernels/components/components.h"
#include "kernels/device/backend.h"
#include "losses/loss.h"
#include "losses/loss_program.h"
#include "models/grid_prediction.h"

namespace iwseg {
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

struct Mask {
    Shape shape;
    std::vector<std::uint8_t> voxels;
};

/// A cube of noise.
Mask noise_mask(std::int64_t size, double density) {
    Mask mask{{1, 1, size, size, size}, std::vector<std::uint8_t>(static_cast<std::size_t>(size * size * size))};
    Random random(0, 0, 0, Purpose::phantom);
    for (std::uint8_t& voxel : mask.voxels) voxel = random.uniform() < density;
    return mask;
}

/// Balls of 1 to 8 voxels in radius, 40 a patch of 128 voxels, as lesions are: few voxels, in lumps.
Mask lesion_mask(std::int64_t samples, std::int64_t size) {
    Mask mask{{samples, 1, size, size, size},
              std::vector<std::uint8_t>(static_cast<std::size_t>(samples * size * size * size))};
    Random random(0, 0, 0, Purpose::phantom);
    const auto balls = std::max<std::int64_t>(1, 40 * size * size * size / (std::int64_t{128} * 128 * 128));
    for (std::int64_t i = 0; i < samples * balls; ++i) {
        const std::int64_t radius = 1 + static_cast<std::int64_t>(random.below(8));
        const auto place = [&] { return static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(size))); };
        const std::int64_t d = place(), h = place(), w = place();
        const auto from = [&](std::int64_t at) { return std::max<std::int64_t>(0, at - radius); };
        const auto to = [&](std::int64_t at) { return std::min(size - 1, at + radius); };
        for (std::int64_t z = from(d); z <= to(d); ++z)
            for (std::int64_t y = from(h); y <= to(h); ++y)
                for (std::int64_t x = from(w); x <= to(w); ++x)
                    if ((z - d) * (z - d) + (y - h) * (y - h) + (x - w) * (x - w) <= radius * radius)
                        mask.voxels[static_cast<std::size_t>(((i / balls * size + z) * size + y) * size + x)] = 1;
    }
    return mask;
}

Mask read_mask(const std::string& file) {
    const Volume<std::int32_t> labels = read_labels(file);
    const auto& s = labels.geometry.shape;
    Mask mask{{1, 1, s[0], s[1], s[2]}, std::vector<std::uint8_t>(labels.voxels.size())};
    std::transform(labels.voxels.begin(), labels.voxels.end(), mask.voxels.begin(),
                   [](std::int32_t v) { return v > 0; });
    return mask;
}

std::vector<float> noise_image(std::int64_t voxels) {
    std::vector<float> image(static_cast<std::size_t>(voxels));
    Random random(0, 0, 0, Purpose::phantom);
    for (float& value : image) value = static_cast<float>(random.normal());
    return image;
}

/// Labels and weights of a mask, on the device.
class WeightedMask {
  public:
    WeightedMask(const Context& context, Mask& mask, int connectivity)
        : context_(context),
          shape_(mask.shape),
          connectivity_(connectivity),
          stride_(component_label_bound(shape_, connectivity)),
          mask_(context, mask.voxels.data(), shape_.elements()),
          labels_(context.backend(), shape_.elements() * bytes_of(Type::i32)),
          table_(context.backend(), shape_.n * stride_ * bytes_of(Type::f32)),
          scratch_(context.backend(), context.backend().component_weights_scratch_bytes(shape_, connectivity)) {}

    void compute_weights() const {
        context_.backend().component_weights(context_.stream(), {mask_.data(), shape_, Type::u8}, connectivity_, {},
                                             {labels_.data(), shape_, Type::i32},
                                             reinterpret_cast<float*>(table_.data()), scratch_.data());
    }
    LossInput loss_input(View logit) const {
        LossInput input{logit, mask_.data()};
        input.labels = reinterpret_cast<const std::int32_t*>(labels_.data());
        input.weights = reinterpret_cast<const float*>(table_.data());
        input.stride = stride_;
        return input;
    }

  private:
    const Context& context_;
    Shape shape_;
    int connectivity_;
    std::int64_t stride_;
    DeviceCopy<std::uint8_t> mask_;
    DeviceMemory labels_, table_, scratch_;
};

}  // namespace

void bench_label(const BenchOptions& options) {
    const Context context({options.device, options.threads, true});
    Mask mask = options.mask.empty() ? noise_mask(options.size, options.density) : read_mask(options.mask);
    const Shape& shape = mask.shape;
    std::vector<std::int32_t> labels(mask.voxels.size());
    std::int32_t count = 0;
    const Backend& device = context.backend();
    const DeviceCopy masks(context, mask.voxels.data(), shape.voxels());
    const DeviceCopy labelled(context, labels.data(), shape.voxels());
    const DeviceCopy counts(context, &count, 1);
    const DeviceMemory scratch(device, device.components_scratch_bytes(shape, options.connectivity));
    const double seconds = median_seconds(context, options, [&] {
        device.label_components(context.stream(), {masks.data(), shape, Type::u8}, {labelled.data(), shape, Type::i32},
                                counts.data(), options.connectivity, scratch.data());
    });
    counts.copy_back();
    if (options.json)
        fmt::print("{}\n", Json{{"device", context.description()},
                                {"voxels", shape.voxels()},
                                {"components", count},
                                {"label_seconds_median", seconds},
                                {"peak_bytes", peak_bytes()}}
                               .dump());
    else
        fmt::print("{}\n{} voxels, {} components: {:.2f} ms (median of {})\n", context.description(), shape.voxels(),
                   count, seconds * 1e3, options.steps);
}

void bench_weights(const BenchOptions& options) {
    const Context context({options.device, options.threads, true});
    Mask mask = lesion_mask(options.batch, options.patch);
    const WeightedMask weighted_mask(context, mask, options.connectivity);
    const double seconds = median_seconds(context, options, [&] { weighted_mask.compute_weights(); });
    if (options.json)
        fmt::print("{}\n", Json{{"device", context.description()},
                                {"patch", options.patch},
                                {"batch", options.batch},
                                {"weights_seconds_median", seconds}}
                               .dump());
    else
        fmt::print("{}\n{} patches of {}: components and weights in {:.3f} ms (median of {})\n", context.description(),
                   options.batch, options.patch, seconds * 1e3, options.steps);
}

void bench_loss(const BenchOptions& options) {
    const Context context({options.device, options.threads, true});
    const Backend& device = context.backend();
    const Peaks peaks = measure_peaks(context, false);
    Mask mask = lesion_mask(options.batch, options.patch);
    const WeightedMask weighted_mask(context, mask, options.connectivity);
    weighted_mask.compute_weights();
    const Shape& shape = mask.shape;
    std::vector<float> logits = noise_image(shape.elements());
    const DeviceCopy logit_copy(context, logits.data(), shape.elements());
    const DeviceMemory gradients(device, shape.elements() * bytes_of(Type::f32)), value(device, sizeof(double));
    const View logit{logit_copy.data(), shape}, gradient{gradients.data(), shape};
    // Each pass reads logits and targets, and one writes gradients; labels are read of lesion voxels alone.
    const double bytes = static_cast<double>(shape.elements()) * (4 + 1 + 4 + 1 + 4);
    Json rows = Json::array();
    if (!options.json)
        fmt::print("{}\nmeasured here: copying {:.1f} GB/s\n{:>9} {:>7} {:>7}  loss and its gradient\n",
                   context.description(), peaks.gigabytes_per_second, "ms", "GB/s", "of peak");
    std::vector<std::string> names = loss_names();
    for (const char* sum :
         {"dice + ce", "iwdice + iwce", "dice + iwce", "tversky", "focal_tversky", "unified_focal", "topk", "cat",
          "mil", "ici", "dice + ce + 0.1*cat + 0.2*mil", "blob(dice + ce)", "cc(dice + ce)"})
        names.emplace_back(sum);
    for (const std::string& name : names) {
        const Loss loss = loss_from_name(name);
        const LossInput input = weighted_mask.loss_input(logit);
        const LossProgram program(loss, device, shape, input.stride);
        const DeviceMemory scratch(device, program.scratch_bytes());
        const double seconds = median_seconds(context, options, [&] {
            program.value(context.stream(), input, scratch.data(), reinterpret_cast<double*>(value.data()));
            program.gradient(context.stream(), input, scratch.data(), gradient, Write::overwrite);
        });
        const double rate = bytes / seconds / 1e9, share = rate / peaks.gigabytes_per_second;
        rows.push_back(
            {{"loss", name}, {"seconds", seconds}, {"gigabytes_per_second", rate}, {"share_of_peak", share}});
        if (!options.json) fmt::print("{:9.3f} {:7.1f} {:6.0f}%  {}\n", seconds * 1e3, rate, 100 * share, name);
    }
    if (options.json)
        fmt::print("{}\n", Json{{"device", context.description()},
                                {"patch", options.patch},
                                {"batch", options.batch},
                                {"copy_gigabytes_per_second", peaks.gigabytes_per_second},
                                {"losses", rows}}
                               .dump());
}

void bench_predict(const BenchOptions& options) {
    Context context({.device = options.device, .threads = options.threads, .tf32 = Config{}.tf32});
    Parameters parameters;
    const std::int64_t stride = options.stride > 0 ? options.stride : std::max<std::int64_t>(1, options.patch * 9 / 10);
    GridPredictor predictor(context, parameters, network_of(options), {options.patch, stride, is_bf16(options)});
    initialise(context, parameters, 0);
    if (!options.shape.empty() && options.shape.size() != 3) throw InputError("--shape takes three numbers");
    const std::vector<std::int64_t> s =
        options.shape.empty() ? std::vector<std::int64_t>(3, options.size) : options.shape;
    const std::vector<float> image = noise_image(s[0] * s[1] * s[2]);
    const std::int64_t patches = predictor.patches(s[0], s[1], s[2]), bytes = predictor.bytes(s[0], s[1], s[2]);
    const auto begin = Clock::now();
    predictor.predict(image.data(), s[0], s[1], s[2]);
    const double seconds = seconds_since(begin);
    const auto voxels = static_cast<double>(image.size());
    if (options.json)
        fmt::print("{}\n", Json{{"device", context.description()},
                                {"shape", s},
                                {"patch", options.patch},
                                {"stride", stride},
                                {"patches", patches},
                                {"precision", options.precision},
                                {"predict_seconds", seconds},
                                {"voxels_per_second", voxels / seconds},
                                {"estimated_bytes", bytes},
                                {"peak_bytes", peak_bytes()}}
                               .dump());
    else
        fmt::print(
            "{}\n{} x {} x {} voxels, {} patches of {}: {:.2f} s, {:.2f} million voxels/s, estimated {:.3f} GB, whole "
            "process {:.3f} GB\n",
            context.description(), s[0], s[1], s[2], patches, options.patch, seconds, voxels / seconds / 1e6,
            static_cast<double>(bytes) / 1e9, static_cast<double>(peak_bytes()) / 1e9);
}

void bench_read(const BenchOptions& options) {
    if (options.image.empty()) throw InputError("bench read: --image is missing: a .nii or .nii.gz file");
    std::vector<double> seconds;
    std::int64_t voxels = 0;
    for (int i = 0; i <= options.steps; ++i) {
        const auto begin = Clock::now();
        voxels = read_image(options.image).geometry.voxels();
        if (i > 0) seconds.push_back(seconds_since(begin));
    }
    if (options.json)
        fmt::print(
            "{}\n",
            Json{{"voxels", voxels}, {"read_seconds_median", median(seconds)}, {"peak_bytes", peak_bytes()}}.dump());
    else
        fmt::print("{} voxels as f32: {:.1f} ms (median of {})\n", voxels, median(seconds) * 1e3, options.steps);
}

}  // namespace iwseg
