// The whole network, written down a second time in double precision: logits, loss and gradients of the engine against
// it.
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "engine/initialisation.h"
#include "kernels/components/inverse_weights.h"
#include "kernels/device/bf16.h"
#include "models/unet.h"
#include "tests/support/backends.h"
#include "tests/support/reference_losses.h"
#include "tests/support/reference_operations.h"
#include "training/session.h"

namespace iwseg {
namespace {

using reference::Array;

/// The network of docs/design.md, section 5, in training mode, by its parameters' names.
class ReferenceUnet {
  public:
    std::map<std::string, std::vector<double>> values;

    Array forward(const Array& image, const UnetOptions& options) const {
        const auto& w = options.widths;
        Array x = pre_activation("0.1", convolution("0.0.weight", image, w[0]), w[0], true);
        std::vector<Array> levels;
        for (int level = 0; level < 3; ++level) {
            x = block("1.down_path." + std::to_string(level) + ".0", x, w[level]);
            x = block("1.down_path." + std::to_string(level) + ".1", x, w[level]);
            levels.push_back(x);
            x = reference::max_pool(x);
        }
        x = block("1.bridge.2", block("1.bridge.1", block("1.bridge.0", x, w[3]), w[3]), w[2]);
        for (int level = 2; level >= 0; --level) {
            const std::string up = "1.up_path." + std::to_string(level);
            x = sum(pre_activation("1.middle_path." + std::to_string(level), levels[level], w[level], true),
                    reference::upsample(x));
            x = block(up + ".1", block(up + ".0", x, w[level]), w[std::max(level - 1, 0)]);
        }
        x = pre_activation("2.1", block("2.0", x, w[0]), options.out_channels, false);
        return reference::batch_norm(x, values.at("2.2.weight"), values.at("2.2.bias"), false);
    }

  private:
    static Array sum(Array a, const Array& b) {
        for (std::size_t i = 0; i < a.values.size(); ++i) a.values[i] += b.values[i];
        return a;
    }
    Array convolution(const std::string& weight, const Array& x, std::int64_t outputs,
                      const std::vector<double>& bias = {}) const {
        const std::vector<double>& w = values.at(weight);
        const bool small = static_cast<std::int64_t>(w.size()) == outputs * x.shape.c;
        return reference::convolution(x, w, bias, outputs, small ? 1 : 3);
    }
    Array pre_activation(const std::string& name, const Array& x, std::int64_t outputs, bool bias) const {
        const Array active =
            reference::batch_norm(x, values.at(name + ".bn.weight"), values.at(name + ".bn.bias"), true);
        return convolution(name + ".layer.weight", active, outputs,
                           bias ? values.at(name + ".layer.bias") : std::vector<double>());
    }
    Array block(const std::string& name, const Array& x, std::int64_t outputs) const {
        const Array path = pre_activation(name + ".conv_path.1",
                                          pre_activation(name + ".conv_path.0", x, outputs, false), outputs, false);
        return sum(path, x.shape.c == outputs ? x : convolution(name + ".adjust_to_stride.weight", x, outputs));
    }
};

/// A narrow network on fresh noise, in the engine and in double precision.
class NetworkGradient : public testing::TestWithParam<TestBackend> {
  protected:
    NetworkGradient()
        : seed_(std::random_device{}()),
          random_(seed_),
          trace_(__FILE__, __LINE__, "seed " + std::to_string(seed_)),
          image_(shape_) {
        batch_.shape = shape_;
        for (double& value : image_.values) {
            value = round_to_bf16(static_cast<float>(std::normal_distribution<>()(random_)));
            batch_.image.push_back(static_cast<float>(value));
        }
        // One large and one small component in each patch, background elsewhere.
        reference::each({shape_.n, 1, shape_.d, shape_.h, shape_.w}, [&](auto, auto, auto d, auto h, auto w) {
            batch_.labels.push_back(d < 6 && h < 7 && w < 5 ? 1 : d > 13 && h > 13 && w > 13 ? 2 : 0);
            batch_.target.push_back(batch_.labels.back() > 0);
        });
        batch_.stride = 3;
        batch_.weights.resize(6);
        cpu::inverse_weight_table({}, {batch_.labels.data(), {shape_.n, 1, shape_.d, shape_.h, shape_.w}, Type::i32},
                                  batch_.weights.data(), 3, {});
    }

    void SetUp() override {
        IWSEG_SKIP_WITHOUT_DEVICE(GetParam());
        context_ = std::make_unique<Context>(backend_of(GetParam()), ContextOptions{});
    }

    void make(bool bf16) {
        TrainingOptions options;
        options.network = unet(network_);
        options.loss = loss_from_name("iwdl");
        options.bf16 = bf16;
        options.input = shape_;
        session_ = std::make_unique<TrainingSession>(*context_, parameters_, options);
        initialise(*context_, parameters_, seed_);
        for (int i = 0; i < parameters_.size(); ++i)
            reference_.values[parameters_[{i}].name].assign(parameters_.value({i}),
                                                            parameters_.value({i}) + parameters_[{i}].elements);
    }

    double reference_loss() {
        const Array logit = reference_.forward(image_, network_);
        reference::LossBatch b{shape_.n, logit.values, {}, {}};
        const std::int64_t voxels = shape_.voxels();
        for (std::size_t v = 0; v < batch_.labels.size(); ++v) {
            b.t.push_back(batch_.target[v]);
            b.w.push_back(
                batch_.weights[static_cast<std::size_t>(static_cast<std::int64_t>(v) / voxels * 3 + batch_.labels[v])]);
        }
        return reference::loss(loss_from_name("iwdl"), b);
    }

    std::unique_ptr<Context> context_;
    unsigned seed_;
    std::mt19937 random_;
    testing::ScopedTrace trace_;
    Shape shape_{2, 1, 16, 16, 16};
    UnetOptions network_{1, 1, {3, 5, 6, 9}};
    Array image_;
    Batch batch_;
    Parameters parameters_;
    ReferenceUnet reference_;
    std::unique_ptr<TrainingSession> session_;
};

TEST_P(NetworkGradient, LogitsAndLossEqualDoublePrecision) {
    make(false);
    const double loss = session_->step(batch_, 0.0f);
    const std::vector<float> logits = session_->logits();
    const Array expected = reference_.forward(image_, network_);
    double largest = 0, difference = 0;
    for (std::size_t i = 0; i < expected.values.size(); ++i) {
        largest = std::max(largest, std::abs(expected.values[i]));
        difference = std::max(difference, std::abs(logits[i] - expected.values[i]));
    }
    EXPECT_LT(difference, 1e-4 * largest);  // some twenty layers of f32 sums
    EXPECT_NEAR(loss, reference_loss(), 1e-5);
}

TEST_P(NetworkGradient, EveryKindOfParameterAgreesWithCentralDifferences) {
    make(false);
    session_->step(batch_, 0.0f);
    parameters_.download();
    double largest = 0;
    for (const float g : parameters_.gradients()) largest = std::max(largest, static_cast<double>(std::abs(g)));
    // One place of each of 24 arrays drawn anew each run; f32 rounding through the whole backward pass: 1e-3 of the
    // largest gradient. A ReLU or a pooled maximum that changes side within the step is rare, and costs one retry.
    constexpr double kStep = 1e-6;
    int wrong = 0;
    for (int i = 0; i < 24; ++i) {
        const ParameterId index{std::uniform_int_distribution<int>(0, parameters_.size() - 1)(random_)};
        const Parameter& parameter = parameters_[index];
        if (!parameter.learned) continue;
        const auto place = std::uniform_int_distribution<std::int64_t>(0, parameter.elements - 1)(random_);
        double& value = reference_.values[parameter.name][static_cast<std::size_t>(place)];
        const double kept = value;
        value = kept + kStep;
        const double above = reference_loss();
        value = kept - kStep;
        const double below = reference_loss();
        value = kept;
        const double difference = (above - below) / (2 * kStep), got = parameters_.gradient(index)[place];
        if (std::abs(got - difference) > 1e-3 * largest && ++wrong > 1)
            ADD_FAILURE() << parameter.name << " " << place << ": " << got << ", by differences " << difference;
    }
}

// bf16 keeps 8 bits, and a network of a few channels on 16^3 amplifies rounding. PyTorch's autocast on the same network
// is 5 to 10 % away in its logits, and its gradient has a cosine of 0.71 to 0.90 with that of float32 (four seeds).
TEST_P(NetworkGradient, Bf16StaysCloseToDoublePrecision) {
    make(true);
    session_->step(batch_, 0.0f);
    const std::vector<float> logits = session_->logits();
    const Array expected = reference_.forward(image_, network_);
    double difference = 0, size = 0;
    for (std::size_t i = 0; i < expected.values.size(); ++i) {
        difference += std::pow(logits[i] - expected.values[i], 2);
        size += std::pow(expected.values[i], 2);
    }
    EXPECT_LT(std::sqrt(difference / size), 0.25);
    parameters_.download();
    const std::vector<float> rounded = parameters_.gradients();
    make(false);
    session_->step(batch_, 0.0f);
    parameters_.download();
    double product = 0, a = 0, b = 0;
    for (std::size_t i = 0; i < rounded.size(); ++i) {
        product += static_cast<double>(rounded[i]) * parameters_.gradients()[i];
        a += static_cast<double>(rounded[i]) * rounded[i];
        b += static_cast<double>(parameters_.gradients()[i]) * parameters_.gradients()[i];
    }
    EXPECT_GT(product / std::sqrt(a * b), 0.4);
}

INSTANTIATE_TEST_SUITE_P(Backends, NetworkGradient,
                         testing::Values(TestBackend::cpu, TestBackend::simt, TestBackend::cuda),
                         [](const auto& backend) { return name_of(backend.param); });

}  // namespace
}  // namespace iwseg
