// Weights packed for all convolutions at once, and gradients unpacked so, by a convolution that asks for it as those of
// a GPU do: the executor's own, with packing around it.
#define IWSEG_SIMT
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "base/bytes.h"
#include "engine/initialisation.h"
#include "kernels/convolution/weights.h"
#include "models/unet.h"
#include "tests/simt/simt.h"
#include "tests/simt/simt_backend.h"
#include "tests/support/kernel_tensor.h"
#include "training/session.h"

namespace iwseg {
namespace {

/// Computes from what lies packed, and leaves its gradient so. It has no other way: plain arguments are not looked at.
class PackedConvolution final : public Convolution {
  public:
    PackedConvolution(Stream stream, const ConvolutionOptions& options, ConvolutionPasses passes)
        : inner_(simt::make_convolution(stream, options, passes)),
          shape_{options.dst_channels, options.src.c, static_cast<int>(options.taps())},
          passes_(passes),
          biased_(options.bias),
          plain_(simt::backend(), shape_.count() * 4),
          bias_(simt::backend(), options.dst_channels * 4) {}

    std::string implementation() const override { return "packed, " + inner_->implementation(); }
    std::int64_t scratch_bytes() const override { return inner_->scratch_bytes(); }
    bool adds_elsewhere() const override { return inner_->adds_elsewhere(); }
    WeightForm weight_form() const override {
        const std::int64_t bias_at = aligned(shape_.count() * 4);
        return {true, biased_, passes_.backward_weights, Type::f32, bias_at, bias_at + aligned(shape_.outputs * 4)};
    }
    void use_packed(const void* weights, void* diff_weights) override {
        packed_ = static_cast<const char*>(weights);
        gradient_ = diff_weights;
    }
    void forward(Stream stream, View src, const float*, const float*, View dst, void* scratch) override {
        inner_->forward(stream, src, weights(stream), bias(stream), dst, scratch);
    }
    void forward_sum(Stream stream, View src, const float*, const float*, View summand, View dst,
                     void* scratch) override {
        inner_->forward_sum(stream, src, weights(stream), bias(stream), summand, dst, scratch);
    }
    void backward_data(Stream stream, View diff_dst, const float*, View diff_src, void* scratch) override {
        inner_->backward_data(stream, diff_dst, weights(stream), diff_src, scratch);
    }
    void backward_weights(Stream stream, View src, View diff_dst, float*, float* diff_bias, void* scratch) override {
        auto* plain = reinterpret_cast<float*>(plain_.data());
        inner_->backward_weights(stream, src, diff_dst, plain, diff_bias, scratch);
        simt::pack_weights(stream, plain, shape_, Type::f32, gradient_);
    }

  private:
    const float* weights(Stream stream) const {
        auto* plain = reinterpret_cast<float*>(plain_.data());
        simt::unpack_weights(stream, packed_, shape_, Type::f32, plain);
        return plain;
    }
    const float* bias(Stream stream) const {
        auto* plain = reinterpret_cast<float*>(bias_.data());
        if (biased_)
            simt::unpack_weights(stream, packed_ + weight_form().bias_at, {1, shape_.outputs, 1}, Type::f32, plain);
        return plain;
    }

    std::unique_ptr<Convolution> inner_;
    WeightShape shape_;
    ConvolutionPasses passes_;
    bool biased_;
    DeviceMemory plain_, bias_;
    const char* packed_ = nullptr;
    void* gradient_ = nullptr;
};

Backend with_packing() {
    Backend table = simt::backend();
    table.make_convolution = [](Stream stream, const ConvolutionOptions& options,
                                ConvolutionPasses passes) -> std::unique_ptr<Convolution> {
        return std::make_unique<PackedConvolution>(stream, options, passes);
    };
    return table;
}

Batch batch_of(const Shape& shape) {
    Batch batch;
    batch.shape = shape;
    std::mt19937 random(1);
    for (std::int64_t i = 0; i < shape.elements(); ++i) {
        batch.image.push_back(std::normal_distribution<float>()(random));
        batch.target.push_back(random() % 8 == 0);
    }
    return batch;
}

struct Trained {
    Trained(const Backend& backend, int steps) : context(backend, {}) {
        TrainingOptions options;
        options.network = unet({1, 1, {8, 12, 16, 16}});
        options.loss = loss_from_name("bce");
        options.input = {2, 1, 8, 8, 8};
        session = std::make_unique<TrainingSession>(context, parameters, options);
        initialise(context, parameters, 3);
        for (int i = 0; i < steps; ++i) session->step(batch_of(options.input), 1e-2f);
        parameters.download();
    }

    Context context;
    Parameters parameters;
    std::unique_ptr<TrainingSession> session;
};

// The same products in the same order from the same f32 weights: equal to the bit. The second step has weights that the
// first one changed.
TEST(PackedWeights, OfAWholeNetworkTrainItToTheSameBytes) {
    const simt::Unwatched unwatched;
    const Backend packing = with_packing();
    Trained packed(packing, 2), plain(simt::backend(), 2);
    EXPECT_EQ(packed.parameters.values(), plain.parameters.values());
    EXPECT_EQ(packed.parameters.gradients(), plain.parameters.gradients());
    EXPECT_NO_THROW(simt::check_sentinels());
}

TEST(PackedWeights, AreOneLaunchAStepAndTheirGradientsAnother) {
    const Backend packing = with_packing();
    Trained trained(packing, 1);  // after which everything that a step reads is written
    trained.session->bind(batch_of({2, 1, 8, 8, 8}), 0);
    const Plan& plan = trained.session->plan();
    int found = 0;
    for (const Call& call : plan.calls()) {
        if (call.name != "weights packed" && call.name != "weight gradients unpacked") continue;
        const std::int64_t before = simt::executor::launch_count().launches;
        call.run(plan);
        EXPECT_EQ(simt::executor::launch_count().launches - before, 1) << call.name;
        ++found;
    }
    EXPECT_EQ(found, 2);
}

// More arrays than one launch has room for, of both kernels' sizes and odd channels, beside the CPU's plain loops.
TEST(PackedWeights, OfManyArraysEqualThoseOfThePlainLoop) {
    const Backend& device = simt::backend();
    std::mt19937 random(std::random_device{}());
    for (const Type type : {Type::f32, Type::bf16}) {
        std::vector<WeightShape> shapes;
        for (int i = 0; i < 130; ++i)
            shapes.push_back({1 + static_cast<std::int64_t>(random() % 3), 1 + static_cast<std::int64_t>(random() % 70),
                              i % 3 ? 1 : 27});
        std::int64_t count = 0;
        for (const WeightShape& s : shapes) count += s.count();
        std::vector<float> values(static_cast<std::size_t>(count));
        for (float& value : values) value = round_to_bf16(std::normal_distribution<float>()(random));
        const KernelArray<float> plain(device, values), back(device, count, NAN);
        const KernelArray<unsigned char> packed(device, count * bytes_of(type), 0xFF);
        std::vector<unsigned char> expected(static_cast<std::size_t>(count * bytes_of(type)));
        std::vector<PackedArray> arrays, backwards, on_host;
        std::int64_t at = 0;
        for (const WeightShape& s : shapes) {
            arrays.push_back({plain.data() + at, packed.data() + at * bytes_of(type), s});
            backwards.push_back({back.data() + at, packed.data() + at * bytes_of(type), s});
            on_host.push_back({values.data() + at, expected.data() + at * bytes_of(type), s});
            at += s.count();
        }
        cpu::pack_all_weights({}, on_host, type);
        for (const std::uint64_t seed : {0, 5}) {
            simt::schedule_by(seed);
            const std::int64_t before = simt::executor::launch_count().launches;
            device.pack_all_weights({}, arrays, type);
            EXPECT_EQ(simt::executor::launch_count().launches - before, 2);
            EXPECT_EQ(packed.host(), expected);
            device.unpack_all_weights({}, backwards, type);
            EXPECT_EQ(back.host(), values);
            simt::schedule_by(0);
        }
        std::vector<float> again(values.size());
        for (std::size_t i = 0, first = 0; i < shapes.size(); first += static_cast<std::size_t>(shapes[i].count()), ++i)
            on_host[i].plain = again.data() + first;
        cpu::unpack_all_weights({}, on_host, type);
        EXPECT_EQ(again, values);
        EXPECT_NO_THROW(simt::check_sentinels());
    }
}

}  // namespace
}  // namespace iwseg
