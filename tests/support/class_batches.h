#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "kernels/components/components_of.h"
#include "losses/class_loss_program.h"
#include "tests/support/loss_fixture.h"

/// Batches of several classes or regions, their losses on any backend, and the same in double precision.
namespace iwseg {

struct ClassBatch {
    Shape shape;  ///< of the logits
    ClassChannels channels;
    std::vector<float> logit;
    std::vector<std::int32_t> labels;
};

/// Channel k of classes that exclude each other is label k.
inline ClassChannels exclusive_channels(int channels) {
    ClassChannels made{channels, true, {}};
    for (int k = 0; k < channels; ++k) made.labels[k] = std::uint64_t{1} << k;
    return made;
}
inline ClassChannels region_channels(const std::vector<std::vector<int>>& regions) {
    ClassChannels made{static_cast<int>(regions.size()), false, {}};
    for (std::size_t k = 0; k < regions.size(); ++k) {
        made.labels[k] = 0;
        for (const int label : regions[k]) made.labels[k] |= std::uint64_t{1} << label;
    }
    return made;
}

/// Labels from 0 to `most`, background being half of the voxels, and a tenth ignored where `ignoring`.
inline ClassBatch class_batch(const Shape& shape, const ClassChannels& channels, int most, double spread, bool ignoring,
                              std::mt19937& random) {
    ClassBatch b{shape, channels, {}, {}};
    std::normal_distribution<float> logit(0.0f, static_cast<float>(spread));
    std::vector<double> chances(static_cast<std::size_t>(most) + 1, 0.5 / most);
    chances[0] = 0.5;
    std::discrete_distribution<int> label(chances.begin(), chances.end());
    for (std::int64_t i = 0; i < shape.elements(); ++i) b.logit.push_back(logit(random));
    for (std::int64_t v = 0; v < shape.n * shape.voxels(); ++v)
        b.labels.push_back(ignoring && random() % 10 == 0 ? kIgnoredLabel : label(random));
    return b;
}

template <class T = float>
Result compute_classes(TestBackend backend, const Loss& loss, const ClassBatch& b, Write write = Write::overwrite,
                       Stream threads = {}) {
    constexpr Type type = std::is_same_v<T, float> ? Type::f32 : Type::bf16;
    const Backend& device = backend_of(backend);
    const KernelStream of_device(device);
    const Stream stream = device.host_memory ? threads : of_device;
    std::vector<T> rounded(b.logit.size()), sentinel(b.logit.size() + 1);
    for (std::size_t v = 0; v < rounded.size(); ++v) store(rounded[v], b.logit[v]), store(sentinel[v], 0.5f);
    store(sentinel.back(), -7.0f);
    const KernelArray<T> logit(device, rounded), gradient(device, sentinel);
    const KernelArray<std::int32_t> labels(device, b.labels);
    const ClassLossProgram program(loss, {b.channels}, device, b.shape);
    const KernelArray<double> scratch(device, program.scratch_bytes() / static_cast<std::int64_t>(sizeof(double)) + 1,
                                      -7.0);
    const KernelArray<double> value(device, 1, -7.0);
    const View logits{logit.data(), b.shape, type};
    const KernelArray<double> terms(device, static_cast<std::int64_t>(class_term_places(loss, b.channels).size()) + 1,
                                    -7.0);
    program.value(stream, logits, labels.data(), nullptr, scratch.data(), value.data(), terms.data());
    expect_sum(terms.host(), value.host()[0]);
    program.gradient(stream, logits, nullptr, scratch.data(), {gradient.data(), b.shape, type}, write);
    EXPECT_EQ(scratch.host().back(), -7.0) << "wrote past the scratch";
    const std::vector<T> gradients = gradient.host();
    EXPECT_EQ(to_f32(gradients.back()), -7.0f) << "wrote past the gradient";
    Result result{value.host()[0], {}};
    for (std::size_t v = 0; v < b.logit.size(); ++v) result.gradient.push_back(to_f32(gradients[v]));
    if (backend == TestBackend::simt) simt::check_sentinels();
    return result;
}

namespace reference {

/// The batch in double precision, by channel: logit against the rest, target, components and inverse weights of it.
class ClassReference {
  public:
    explicit ClassReference(const ClassBatch& b) : batch_(b), z_(b.logit.begin(), b.logit.end()) {
        for (int k = 0; k < b.channels.channels; ++k) {
            targets_.push_back(target_of(k));
            LossBatch at_first = channel(k);
            set_detections(at_first, b.shape, 26);
            targets_.back() = std::move(at_first);
        }
    }
    std::vector<double>& logits() { return z_; }

    double loss(const Loss& loss) const {
        const ClassChannels& channels = batch_.channels;
        double total = 0;
        for (const LossTerm& term : loss.terms) {
            if (channels.exclusive && term.name == "ce") {
                total += term.factor * cross_entropy();
                continue;
            }
            double sum = 0;
            const int first = channels.exclusive ? 1 : 0;
            for (int k = first; k < channels.channels; ++k) sum += term_value(term, channel(k));
            total += term.factor * sum / (channels.channels - first);
        }
        return total;
    }

  private:
    std::int64_t voxels() const { return batch_.shape.voxels(); }
    double at(std::int64_t n, int k, std::int64_t v) const {
        return z_[static_cast<std::size_t>((n * batch_.channels.channels + k) * voxels() + v)];
    }
    /// log of the sum of exp(z), without channel `but`.
    double log_sum(std::int64_t n, std::int64_t v, int but) const {
        double most = -1e300, sum = 0;
        for (int k = 0; k < batch_.channels.channels; ++k)
            if (k != but) most = std::max(most, at(n, k, v));
        for (int k = 0; k < batch_.channels.channels; ++k)
            if (k != but) sum += std::exp(at(n, k, v) - most);
        return most + std::log(sum);
    }
    /// The softmax's, of voxels that are known.
    double cross_entropy() const {
        double sum = 0, known = 0;
        for (std::int64_t n = 0; n < batch_.shape.n; ++n)
            for (std::int64_t v = 0; v < voxels(); ++v) {
                const std::int32_t label = batch_.labels[static_cast<std::size_t>(n * voxels() + v)];
                if (label == kIgnoredLabel) continue;
                sum += log_sum(n, v, -1) - at(n, label, v);
                ++known;
            }
        return known > 0 ? sum / known : 0;
    }
    LossBatch target_of(int k) const {
        LossBatch made{batch_.shape.n, {}, {}, {}, {}, {}};
        const std::array<std::int64_t, 3> sides{batch_.shape.d, batch_.shape.h, batch_.shape.w};
        for (std::int64_t n = 0; n < batch_.shape.n; ++n) {
            std::vector<std::uint8_t> mask;
            double known = 0;
            for (std::int64_t v = 0; v < voxels(); ++v) {
                const std::int32_t label = batch_.labels[static_cast<std::size_t>(n * voxels() + v)];
                const bool inside = label != kIgnoredLabel && (batch_.channels.labels[k] >> label & 1) != 0;
                mask.push_back(inside);
                known += label != kIgnoredLabel;
                made.t.push_back(label == kIgnoredLabel ? kNoTruth : inside);
            }
            const Components found = components_of(mask, sides, 26);
            std::map<int, double> sizes;
            for (const std::int32_t label : found.labels) sizes[label] += label > 0;
            double lesion = 0;
            for (const auto& [label, size] : sizes) lesion += size;
            sizes[0] = known - lesion;
            for (std::int64_t v = 0; v < voxels(); ++v) {
                const int label = found.labels[static_cast<std::size_t>(v)];
                made.lesion.push_back(label);
                const bool truth = made.t[static_cast<std::size_t>(n * voxels() + v)] != kNoTruth;
                made.w.push_back(truth ? std::clamp(known / ((found.count + 1) * sizes[label]), 1.0, 2e5) : 0.0);
            }
        }
        made.z.resize(made.t.size());
        made.nearest = nearest_lesions(made, sides);
        return made;
    }
    LossBatch channel(int k) const {
        LossBatch made = targets_[static_cast<std::size_t>(k)];
        for (std::int64_t n = 0; n < batch_.shape.n; ++n)
            for (std::int64_t v = 0; v < voxels(); ++v)
                made.z[static_cast<std::size_t>(n * voxels() + v)] =
                    at(n, k, v) - (batch_.channels.exclusive ? log_sum(n, v, k) : 0);
        return made;
    }

    ClassBatch batch_;
    std::vector<double> z_;
    std::vector<LossBatch> targets_;
};

}  // namespace reference
}  // namespace iwseg
