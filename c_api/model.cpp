#include <algorithm>
#include <exception>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/error.h"
#include "c_api/call.h"
#include "include/iwseg/c_api.h"
#include "kernels/device/backend.h"
#include "models/predictor.h"

using namespace iwseg;  // NOLINT: C functions have no namespace

struct iwseg_model {
    iwseg_model(const std::string& weights, ContextOptions options)
        : context(with_tf32(std::move(options), weights)),
          predictor(Predictor::from_file(context, weights)),
          device(context.description()) {
        const PredictionSettings& settings = predictor.settings();
        if (!settings.classes.values.empty())
            throw InputError(weights +
                             " holds a network of several classes, which this interface does not predict: "
                             "iwseg predict does, and Predictor::labels");
        channels = settings.channels;
        channels.resize(static_cast<std::size_t>(predictor.channels()));
        if (!settings.mask_channel.empty()) channels.back() = settings.mask_channel;
    }

    static ContextOptions with_tf32(ContextOptions options, const std::string& weights) {
        options.tf32 = settings_of_file(weights).tf32;
        return options;
    }

    Context context;
    Predictor predictor;
    std::string device;
    std::vector<std::string> channels;
};

namespace {

std::int64_t voxels_of(const Extent& shape) {
    return shape[0] * shape[1] * shape[2];
}

/// Work on GPUs takes turns, opening and closing too: it shares what is kept of convolutions' plans (engine/context.h).
std::unique_lock<std::mutex> gpu_turn() {
    static std::mutex turn;
    return std::unique_lock(turn);
}

std::unique_lock<std::mutex> turn_of(const iwseg_model& model) {
    return model.context.backend().host_memory ? std::unique_lock<std::mutex>() : gpu_turn();
}

}  // namespace

int iwseg_open(const char* weights, const char* device, int threads, iwseg_model** model) {
    return c_api::guarded("iwseg_open", [&] {
        c_api::require(model, "model");
        *model = nullptr;
        c_api::require(weights, "weights");
        if (threads < 0 || threads > kMostThreads)
            throw std::invalid_argument(std::to_string(threads) + " threads: expected 0 to " +
                                        std::to_string(kMostThreads));
        const std::string name = device ? device : "auto";
        const auto turn = name == "cpu" ? std::unique_lock<std::mutex>() : gpu_turn();
        *model = new iwseg_model(weights, {.device = name, .threads = threads});
    });
}

void iwseg_close(iwseg_model* model) {
    if (!model) return;
    const auto turn = turn_of(*model);
    delete model;
}

int iwseg_device(const iwseg_model* model, const char** description) {
    return c_api::guarded("iwseg_device", [&] {
        c_api::require(model, "model");
        c_api::require(description, "description");
        *description = model->device.c_str();
    });
}

int iwseg_channel_count(const iwseg_model* model, int* count) {
    return c_api::guarded("iwseg_channel_count", [&] {
        c_api::require(model, "model");
        c_api::require(count, "count");
        *count = model->predictor.channels();
    });
}

int iwseg_channel_name(const iwseg_model* model, int channel, const char** name) {
    return c_api::guarded("iwseg_channel_name", [&] {
        c_api::require(model, "model");
        c_api::require(name, "name");
        if (channel < 0 || channel >= model->predictor.channels())
            throw std::invalid_argument("channel " + std::to_string(channel) + ": expected 0 to " +
                                        std::to_string(model->predictor.channels() - 1));
        *name = model->channels[static_cast<std::size_t>(channel)].c_str();
    });
}

int iwseg_mask_rule(const iwseg_model* model, float* threshold, double* min_volume) {
    return c_api::guarded("iwseg_mask_rule", [&] {
        c_api::require(model, "model");
        const DetectionRule& rule = model->predictor.settings().rule;
        if (threshold) *threshold = rule.threshold;
        if (min_volume) *min_volume = rule.min_volume;
    });
}

int iwseg_prediction_bytes(const iwseg_model* model, const std::int64_t* shape, std::int64_t* bytes) {
    return c_api::guarded("iwseg_prediction_bytes", [&] {
        c_api::require(model, "model");
        c_api::require(bytes, "bytes");
        const Extent extent = c_api::extent_of(shape);
        // Less the caller's image. A mask and its labels take less than what is made of the image, which is gone then.
        *bytes = model->predictor.bytes(extent) - std::int64_t{4} * model->predictor.channels() * voxels_of(extent);
    });
}

int iwseg_predict(iwseg_model* model, const float* image, const std::int64_t* shape, const double* spacing,
                  float* probability, std::uint8_t* mask) {
    return c_api::guarded("iwseg_predict", [&] {
        c_api::require(model, "model");
        c_api::require(image, "image");
        if (!probability && !mask) throw std::invalid_argument("probability and mask are both NULL: one is expected");
        if (mask) c_api::require(spacing, "spacing, which the mask needs,");
        const Extent extent = c_api::extent_of(shape);
        const auto voxels = static_cast<std::size_t>(voxels_of(extent));
        const auto channels = static_cast<std::size_t>(model->predictor.channels());
        if (mask) require_usable_spacing({spacing[0], spacing[1], spacing[2]});  // before the work
        Prediction made = [&] {
            const auto turn = turn_of(*model);
            return model->predictor.predict({image, channels * voxels}, extent);
        }();
        made.logit = std::vector<float>();
        if (probability) std::copy(made.probability.begin(), made.probability.end(), probability);
        if (!mask) return;
        const auto detected = model->predictor.mask(made.probability, extent, {spacing[0], spacing[1], spacing[2]});
        std::copy(detected.begin(), detected.end(), mask);
    });
}
