#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "engine/initialisation.h"
#include "models/unet.h"
#include "tests/simt/simt_backend.h"
#include "training/session.h"

namespace iwseg {

/// The same backend without what convolutions do for normalisations on the way: these make passes of their own, all or
/// but for one. kMake: the backend's make_convolution.
template <auto kMake, bool kSums = false, bool kNormalises = false>
Backend with_passes_of_their_own(const Backend& backend) {
    Backend table = backend;
    table.make_convolution = [](Stream stream, const ConvolutionOptions& options, ConvolutionPasses passes) {
        ConvolutionOptions apart = options;
        apart.sums = options.sums && kSums;
        apart.normalises = options.normalises && kNormalises;
        return kMake(stream, apart, passes);
    };
    return table;
}

/// A training in bf16 of a network in which all convolutions of kernel 3 but the first are narrow.
class FusedTraining {
  public:
    explicit FusedTraining(const Backend& backend, bool record = true)
        : context_(backend, {.threads = 1, .record = record}) {
        TrainingOptions options;
        options.network = unet({1, 1, {8, 16, 8, 8}});
        options.loss = loss_from_name("bce");
        options.bf16 = true;
        options.input = shape_;
        session_ = std::make_unique<TrainingSession>(context_, parameters_, options);
        initialise(context_, parameters_, 3);
        std::mt19937 random(1);
        batch_.shape = shape_;
        for (std::int64_t i = 0; i < shape_.elements(); ++i) {
            batch_.image.push_back(2 + std::normal_distribution<float>()(random));
            batch_.target.push_back(random() % 8 == 0);
        }
    }

    /// Trains so many steps more; losses of all so far.
    const std::vector<double>& train(int steps) {
        for (int i = 0; i < steps; ++i) losses_.push_back(session_->step(batch_, 1e-2f));
        parameters_.download();
        return losses_;
    }
    Parameters& parameters() { return parameters_; }
    Plan& plan() { return session_->plan(); }

    /// Calls of a kind that read, or write, a buffer whose name ends so; all, where it is empty.
    int calls(const std::string& kind, const std::string& buffer = "") {
        int count = 0;
        for (const Call& call : plan().calls()) {
            bool names = false;
            for (const auto* list : {&call.reads, &call.writes})
                for (const Buffer one : *list)
                    names |= plan().buffers()[static_cast<std::size_t>(one.id)].name.ends_with(buffer);
            count += call.kind == kind && names;
        }
        return count;
    }

  private:
    Context context_;
    Parameters parameters_;
    std::unique_ptr<TrainingSession> session_;
    Shape shape_{1, 1, 16, 16, 24};
    Batch batch_;
    std::vector<double> losses_;
};

/// Of all parameters' gradients, or, of those that are not learned, of the running statistics: the norm of the
/// difference over the norm.
inline double relative_difference(const Parameters& a, const Parameters& b, bool learned) {
    double difference = 0, size = 0;
    for (int i = 0; i < a.size(); ++i) {
        const Parameter& parameter = a[{i}];
        if (parameter.learned != learned) continue;
        for (std::int64_t k = 0; k < parameter.elements; ++k) {
            const double x = learned ? a.gradient({i})[k] : a.value({i})[k],
                         y = learned ? b.gradient({i})[k] : b.value({i})[k];
            difference += (x - y) * (x - y);
            size += y * y;
        }
    }
    return std::sqrt(difference / size);
}

/// One step each from the same weights. What is computed on the way differs in the rounding of sums alone, by 1e-6 or
/// so of a statistic, which moves single elements to the next number of bf16, by 2^-8 of themselves; through some forty
/// layers of 8 to 6,144 elements a channel that spreads to a few hundredths of the gradient, less of the loss.
inline void expect_same_step(FusedTraining& fused, FusedTraining& apart) {
    double loss = 0;
    {
        const simt::Unwatched by_others;
        loss = apart.train(1)[0];
    }
    EXPECT_NEAR(fused.train(1)[0], loss, 5e-3 * loss);
    EXPECT_LT(relative_difference(fused.parameters(), apart.parameters(), false), 2e-3);
    EXPECT_LT(relative_difference(fused.parameters(), apart.parameters(), true), 0.1);
}

}  // namespace iwseg
