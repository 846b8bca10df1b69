// A convolution of the CUDA backend whose weights others have packed, and one that adds to what lies elsewhere: the
// same as by itself, whichever engines compute it.
#include <optional>
#include <random>

#include "kernels/convolution/cudnn/session.h"
#include "kernels/convolution/weights.h"
#include "tests/cuda_host/cuda_host.h"
#include "tests/cuda_host/on_card.h"
#include "tests/support/kernel_tensor.h"

namespace iwseg {
namespace {

using standin::Engine;

Engine plain() {
    return {.index = 1};
}
Engine fusing() {
    Engine one{.index = 5, .seconds = 1e-5};
    one.fuses = true;
    return one;
}

/// A convolution's operands, and what its passes make of them.
class Passes {
  public:
    Passes(const ConvolutionOptions& options, unsigned seed)
        : options_(options),
          random_(seed),
          convolution_(cuda::make_convolution({}, options, {})),
          form_(convolution_->weight_form()),
          scratch_(cuda::backend(), convolution_->scratch_bytes()) {}

    const Convolution& convolution() const { return *convolution_; }
    const WeightForm& form() const { return form_; }

    /// By itself, or with weights packed before and their gradient unpacked after it; plain ones are not given then.
    std::vector<std::vector<float>> run(bool packed, bool summand_elsewhere) {
        random_.seed(7);
        const OnCard src(like(options_.src), random_), dst(like(options_.dst()), random_),
            diff(like(options_.dst()), random_), diff_src(like(options_.src), random_);
        const auto& [d, h, w] = options_.kernel;
        const View weights_like{nullptr, {options_.dst_channels, options_.inputs(), d, h, w}},
            bias_like{nullptr, {1, 1, 1, 1, options_.dst_channels}};
        const OnCard weights(weights_like, random_), bias(bias_like, random_), diff_weights(weights_like, random_),
            diff_bias(bias_like, random_), elsewhere(like(options_.dst()), random_);
        const DeviceMemory values(cuda::backend(), form_.bytes), gradient(cuda::backend(), weight_count() * 4);
        if (packed) {
            convolution_->use_packed(values.data(), form_.packed_gradient ? gradient.data() : nullptr);
            pack(weights.floats(), bias.floats(), values);
        } else {
            convolution_->use_packed(nullptr, nullptr);
        }
        const float* given = packed ? nullptr : weights.floats();
        const float* biases = options_.bias ? bias.floats() : nullptr;
        if (summand_elsewhere)
            convolution_->forward_sum({}, src.view(), given, biases, dst.view(), elsewhere.view(), scratch_.data());
        else
            convolution_->forward({}, src.view(), given, biases, dst.view(), scratch_.data());
        convolution_->backward_data({}, diff.view(), given, diff_src.view(), scratch_.data());
        const bool unpacks = packed && form_.packed_gradient;
        const KernelStream stream(cuda::backend());
        convolution_->backward_weights(stream, src.view(), diff.view(), unpacks ? nullptr : diff_weights.floats(),
                                       options_.bias ? diff_bias.floats() : nullptr, scratch_.data());
        if (unpacks) {
            const PackedArray array{diff_weights.floats(), gradient.data(), weight_shape()};
            cuda::unpack_all_weights({}, {&array, 1}, form_.type);
        }
        if (summand_elsewhere) {
            EXPECT_EQ(dst.read(), dst.values) << "what is added to";
        }
        return {(summand_elsewhere ? elsewhere : dst).read(), diff_src.read(), diff_weights.read(), diff_bias.read()};
    }

  private:
    View like(const Shape& shape) const { return {nullptr, shape, options_.src_type, Layout::ndhwc}; }
    WeightShape weight_shape() const {
        return {options_.dst_channels, options_.inputs(), static_cast<int>(options_.taps())};
    }
    std::int64_t weight_count() const { return weight_shape().count(); }
    void pack(float* weights, float* bias, const DeviceMemory& to) const {
        std::vector<PackedArray> arrays{{weights, to.data(), weight_shape()}};
        if (form_.packed_bias) arrays.push_back({bias, to.data() + form_.bias_at, {1, options_.dst_channels, 1}});
        cuda::pack_all_weights({}, arrays, form_.type);
    }

    ConvolutionOptions options_;
    std::mt19937 random_;
    std::unique_ptr<Convolution> convolution_;
    WeightForm form_;
    DeviceMemory scratch_;
};

class PackedConvolution : public CudaHost {
  protected:
    ConvolutionOptions options(Type type, bool bias, Write write) {
        const auto side = [&] { return 1 + static_cast<std::int64_t>(random_() % 6); };
        ConvolutionOptions options;
        options.src = {1 + static_cast<std::int64_t>(random_() % 2), 3 + side(), side(), side(), side()};
        options.dst_channels = 4 + side();
        options.src_layout = options.dst_layout = Layout::ndhwc;
        options.src_type = options.dst_type = type;
        options.bias = bias, options.write = write;
        return options;
    }

    std::mt19937 random_{std::random_device{}()};
};

TEST_F(PackedConvolution, IsTheSameBytesAsOneThatPacksForItself) {
    for (const std::vector<Engine>& engines : {std::vector{plain()}, {fusing(), plain()}})
        for (const Type type : {Type::f32, Type::bf16})
            for (const bool bias : {false, true})
                for (const Write write : {Write::overwrite, Write::accumulate}) {
                    standin::offer_engines(engines);
                    Passes passes(options(type, bias, write), 1);
                    SCOPED_TRACE(passes.convolution().implementation());
                    EXPECT_TRUE(passes.form().packed && passes.form().packed_gradient);
                    EXPECT_EQ(passes.run(true, false), passes.run(false, false));
                }
}

// In bf16 a sum in place is rounded once, and so is one of a summand that was copied or is read where it lies.
TEST_F(PackedConvolution, AddsToWhatLiesElsewhereAndLeavesItAsItIs) {
    for (const std::vector<Engine>& engines : {std::vector{plain()}, {fusing(), plain()}})
        for (const Type type : {Type::f32, Type::bf16})
            for (const bool bias : {false, true}) {
                standin::offer_engines(engines);
                Passes passes(options(type, bias, Write::accumulate), 1);
                SCOPED_TRACE(passes.convolution().implementation());
                EXPECT_TRUE(passes.convolution().adds_elsewhere());
                EXPECT_EQ(passes.run(true, true), passes.run(true, false));
            }
}

// They read weights packed, but leave the gradient plain, unrounded; and no cuDNN is asked.
TEST_F(PackedConvolution, OfFewChannelsByOwnKernelsLeavesAPlainGradient) {
    standin::offer_engines({});
    for (const bool bias : {false, true})
        for (const Write write : {Write::overwrite, Write::accumulate}) {
            ConvolutionOptions few = options(Type::bf16, bias, write);
            few.src.c = 16, few.dst_channels = 8;
            Passes passes(few, 1);
            EXPECT_EQ(passes.convolution().implementation(), "forward narrow, data narrow, weights narrow");
            EXPECT_TRUE(passes.form().packed);
            EXPECT_FALSE(passes.form().packed_bias || passes.form().packed_gradient);
            const auto plain = passes.run(false, false);
            EXPECT_EQ(passes.run(true, false), plain);
            if (write != Write::accumulate) continue;
            EXPECT_TRUE(passes.convolution().adds_elsewhere());
            EXPECT_EQ(passes.run(true, true), plain);
        }
}

// Own kernels for any kernel and stride do as the narrow ones, in f32 too.
TEST_F(PackedConvolution, OfAnyKernelByOwnKernelsLeavesAPlainGradient) {
    standin::offer_engines({});
    for (const Type type : {Type::f32, Type::bf16})
        for (const Write write : {Write::overwrite, Write::accumulate}) {
            ConvolutionOptions strided = options(type, true, write);
            strided.kernel = {1, 3, 5}, strided.stride = {1, 2, 1};
            Passes passes(strided, 1);
            EXPECT_EQ(passes.convolution().implementation(), "forward general, data general, weights general");
            EXPECT_TRUE(passes.form().packed);
            EXPECT_FALSE(passes.form().packed_bias || passes.form().packed_gradient);
            const auto plain = passes.run(false, false);
            EXPECT_EQ(passes.run(true, false), plain);
            if (write == Write::accumulate) {
                EXPECT_EQ(passes.run(true, true), plain);
            }
        }
}

// Products of matrices read weights and bias packed, and leave the gradient plain, unrounded.
TEST_F(PackedConvolution, ByProductsLeavesAPlainGradient) {
    standin::offer_engines({});
    for (const Type type : {Type::f32, Type::bf16})
        for (const Write write : {Write::overwrite, Write::accumulate})
            for (const int kernel : {1, 2}) {
                ConvolutionOptions blocks = options(type, true, write);
                blocks.kernel = blocks.stride = kernel, blocks.padded = kernel == 1;
                blocks.src.d *= kernel, blocks.src.h *= kernel, blocks.src.w *= kernel;
                Passes passes(blocks, 1);
                EXPECT_TRUE(passes.convolution().implementation().starts_with("forward cublaslt"));
                EXPECT_TRUE(passes.form().packed && passes.form().packed_bias);
                EXPECT_FALSE(passes.form().packed_gradient);
                const auto plain = passes.run(false, false);
                EXPECT_EQ(passes.run(true, false), plain);
                if (write == Write::accumulate) {
                    EXPECT_EQ(passes.run(true, true), plain);
                }
            }
}

// Of one convolution, some passes may be cuDNN's and others not.
TEST_F(PackedConvolution, UnpacksAGradientOfCudnnsBesideNarrowPasses) {
    Engine weights_only = plain();
    weights_only.forward = weights_only.data = false;
    weights_only.seconds = 1e-9;
    standin::offer_engines({weights_only});
    ConvolutionOptions few = options(Type::bf16, true, Write::overwrite);
    few.src.c = 16, few.dst_channels = 8;
    Passes passes(few, 1);
    EXPECT_EQ(passes.convolution().implementation(), "forward narrow, data narrow, weights cudnn 1:");
    EXPECT_TRUE(passes.form().packed && passes.form().packed_gradient);
    EXPECT_EQ(passes.run(true, false), passes.run(false, false));
}

}  // namespace
}  // namespace iwseg
