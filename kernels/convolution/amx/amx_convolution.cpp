#include "kernels/convolution/amx/amx_convolution.h"

#include <algorithm>
#include <optional>
#include <stdexcept>

#include "base/bytes.h"
#include "kernels/convolution/amx/processor_products.h"
#include "kernels/convolution/amx/tile_gradient.h"
#include "kernels/convolution/amx/tile_pass.h"
#include "kernels/cpu/instruction_set.h"
#include "kernels/cpu/parallel.h"
#include "kernels/elementwise/elementwise.h"

// Weights are packed at each call, as they change at each step.
namespace iwseg::cpu {
namespace {

class AmxConvolution final : public Convolution {
  public:
    AmxConvolution(Stream stream, const ConvolutionOptions& options, ConvolutionPasses passes,
                   const TileProducts& products);

    std::string implementation() const override { return "AMX"; }
    std::int64_t scratch_bytes() const override { return places_.end; }
    bool takes_epilogue() const override { return options_.epilogue.wanted; }
    void use_epilogue(const Epilogue& epilogue) override { epilogue_ = epilogue; }
    void forward(Stream, View src, const float* weights, const float* bias, View dst, void* scratch) override;
    void backward_data(Stream, View diff_dst, const float* weights, View diff_src, void* scratch) override;
    void backward_weights(Stream, View src, View diff_dst, float* diff_weights, float* diff_bias,
                          void* scratch) override;

  private:
    /// Where things lie in scratch: bytes from its start. Weights, or sums of their gradient; then the threads' slabs.
    struct Places {
        std::int64_t slabs, end;
    };

    ConvolutionOptions options_;
    Epilogue epilogue_;
    const TileProducts& products_;
    int slots_;
    TilePass forward_;
    std::optional<TilePass> data_;
    std::optional<TileGradient> weights_;
    Places places_{};
};

AmxConvolution::AmxConvolution(Stream stream, const ConvolutionOptions& options, ConvolutionPasses passes,
                               const TileProducts& products)
    : options_(options), products_(products), slots_(thread_count(stream)), forward_(options, false) {
    if (passes.backward_data) data_.emplace(options, true);
    if (passes.backward_weights) weights_.emplace(options);
    std::int64_t first = forward_.packed_bytes(), slab = forward_.slab_bytes();
    if (data_) first = std::max(first, data_->packed_bytes()), slab = std::max(slab, data_->slab_bytes());
    if (weights_) {
        first = std::max({first, weights_->sums_bytes(), channel_sum_scratch_bytes(options.dst(), options.dst_layout)});
        slab = std::max(slab, weights_->slab_bytes());
    }
    places_.slabs = aligned(first);
    places_.end = places_.slabs + slots_ * aligned(slab);
}

void AmxConvolution::forward(Stream stream, View src, const float* weights, const float* bias, View dst,
                             void* scratch) {
    auto* base = static_cast<char*>(scratch);
    forward_.pack(stream, weights, base);
    forward_.run(stream, products_,
                 {src, dst, base, options_.bias ? bias : nullptr, options_.write == Write::accumulate,
                  base + places_.slabs, slots_, options_.epilogue, epilogue_});
}

void AmxConvolution::backward_data(Stream stream, View diff_dst, const float* weights, View diff_src, void* scratch) {
    auto* base = static_cast<char*>(scratch);
    data_.value().pack(stream, weights, base);
    data_->run(stream, products_, {diff_dst, diff_src, base, nullptr, false, base + places_.slabs, slots_});
}

void AmxConvolution::backward_weights(Stream stream, View src, View diff_dst, float* diff_weights, float* diff_bias,
                                      void* scratch) {
    auto* base = static_cast<char*>(scratch);
    weights_.value().run(stream, products_, {src, diff_dst, diff_weights, base, base + places_.slabs, slots_});
    if (diff_bias) channel_sum(stream, diff_dst, diff_bias, base);
}

}  // namespace

bool amx_takes(const ConvolutionOptions& options) {
    return options.groups == 1 && options.src_layout == Layout::blocked16 && options.dst_layout == Layout::blocked16 &&
           options.src_type == Type::bf16 && options.bf16_operands != Bf16Operands::widened;
}

std::unique_ptr<Convolution> make_amx_convolution(Stream stream, const ConvolutionOptions& options,
                                                  ConvolutionPasses passes, const TileProducts& products) {
    if (!amx_takes(options))
        throw std::invalid_argument(
            "convolution by tiles: expected one group, and tensors of bf16 in blocks of 16 channels");
    return std::make_unique<AmxConvolution>(stream, options, passes, products);
}

bool amx_convolution_works(const ConvolutionOptions& options) {
    return amx_takes(options) && may_use(InstructionSet::amx);
}

std::unique_ptr<Convolution> make_amx_convolution(Stream stream, const ConvolutionOptions& options,
                                                  ConvolutionPasses passes) {
    if (!may_use(InstructionSet::amx)) throw std::invalid_argument("convolution by tiles: needs a processor with AMX");
    return make_amx_convolution(stream, options, passes, processor_products());
}

}  // namespace iwseg::cpu
