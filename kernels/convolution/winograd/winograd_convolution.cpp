#include "kernels/convolution/winograd/winograd_convolution.h"

#include <algorithm>
#include <optional>
#include <stdexcept>

#include "base/bytes.h"
#include "kernels/convolution/operands.h"
#include "kernels/convolution/winograd/winograd_gradient.h"
#include "kernels/convolution/winograd/winograd_pass.h"
#include "kernels/cpu/parallel.h"
#include "kernels/elementwise/elementwise.h"

// Weights are packed at each call, as they change at each step.
namespace iwseg::cpu {
namespace {

/// In place a plane of the result lies where the source's does, in either's first blocks, and no summand may lie there.
WinogradSlabs slabs_of(const ConvolutionOptions& o) {
    if (o.src.n != 1) return {};
    const bool fits =
        padded_channels(o.dst_layout, o.dst_channels) <= padded_channels(o.src_layout, o.src.c - o.made.channels);
    return {.in_place = o.in_place && fits && (o.write == Write::overwrite || o.epilogue.beside), .made = o.made};
}

class WinogradConvolution final : public Convolution {
  public:
    WinogradConvolution(const ConvolutionOptions& options, ConvolutionPasses passes, Vectors vectors, int threads)
        : options_(options),
          vectors_(vectors),
          slabs_(slabs_of(options)),
          forward_(options, options.src_type, operand_type(options), block_of(options.dst_layout, options.dst_channels),
                   false, vectors, threads, slabs_),
          scratch_(forward_.scratch_bytes()) {
        const std::int64_t block = block_of(options.dst_layout, options.dst_channels);
        if (passes.backward_data) {
            data_.emplace(options, options.src_type, operand_type(options), block, true, vectors, threads);
            scratch_ = std::max(scratch_, data_->scratch_bytes());
        }
        if (passes.backward_weights) {
            weights_.emplace(options, options.src_type, block, vectors, threads);
            scratch_ = std::max(
                {scratch_, weights_->scratch_bytes(), channel_sum_scratch_bytes(options.dst(), options.dst_layout)});
        }
    }

    std::string implementation() const override {
        return std::string("winograd") + (vectors_ == Vectors::eight ? std::string(", ") + name_of(vectors_) : "") +
               (operand_type(options_) == Type::bf16 ? ", bf16"
                : options_.src_type == Type::bf16    ? ", bf16 widened"
                                                     : "");
    }
    std::int64_t scratch_bytes() const override { return aligned(scratch_); }
    bool takes_epilogue() const override { return options_.epilogue.wanted; }
    void use_epilogue(const Epilogue& epilogue) override { epilogue_ = epilogue; }
    bool works_in_place() const override { return slabs_.in_place; }
    std::int64_t made_planes() const override { return forward_.made_planes(); }
    void use_made(const MakePlanes& make) override { make_ = make; }
    void forward(Stream stream, View src, const float* weights, const float* bias, View dst, void* scratch) override {
        forward_.pack(stream, weights, scratch);
        forward_.run(stream, src, options_.bias ? bias : nullptr, options_.write == Write::accumulate, dst, scratch,
                     options_.epilogue, epilogue_, make_);
    }
    void backward_data(Stream stream, View diff_dst, const float* weights, View diff_src, void* scratch) override {
        data_.value().pack(stream, weights, scratch);
        data_->run(stream, diff_dst, nullptr, false, diff_src, scratch);
    }
    void backward_weights(Stream stream, View src, View diff_dst, float* diff_weights, float* diff_bias,
                          void* scratch) override {
        weights_.value().run(stream, src, diff_dst, diff_weights, static_cast<float*>(scratch));
        if (diff_bias) channel_sum(stream, diff_dst, diff_bias, scratch);
    }

  private:
    ConvolutionOptions options_;
    Epilogue epilogue_;
    Vectors vectors_;
    WinogradSlabs slabs_;
    MakePlanes make_;
    WinogradPass forward_;
    std::optional<WinogradPass> data_;
    std::optional<WinogradGradient> weights_;
    std::int64_t scratch_;
};

}  // namespace

bool winograd_convolution_works(const ConvolutionOptions& o, Vectors vectors) {
    const bool blocked =
        o.dst_layout == Layout::blocked8 || (o.dst_layout == Layout::blocked16 && vectors == Vectors::avx512);
    return vectors != Vectors::none && blocked && o.src_layout == o.dst_layout && o.src_type == o.dst_type &&
           (operand_type(o) == Type::f32 || winograd_pairs_work()) && o.groups == 1 && o.stride == 1 && o.padded &&
           (o.kernel == 3 || o.kernel == Sides(1, 3, 3));
}

std::unique_ptr<Convolution> make_winograd_convolution(Stream stream, const ConvolutionOptions& options,
                                                       ConvolutionPasses passes, Vectors vectors) {
    if (!winograd_convolution_works(options, vectors))
        throw std::invalid_argument(
            "winograd convolution: expected a kernel of 3x3x3 or 1x3x3 at stride 1 in one group, tensors in blocks of "
            "channels and a processor with AVX2 or NEON");
    return std::make_unique<WinogradConvolution>(options, passes, vectors, thread_count(stream));
}

}  // namespace iwseg::cpu
