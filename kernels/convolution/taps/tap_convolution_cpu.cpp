#include "kernels/convolution/taps/tap_convolution.h"

#include <algorithm>
#include <optional>
#include <stdexcept>

#include "base/bytes.h"
#include "kernels/convolution/operands.h"
#include "kernels/convolution/taps/tap_sums.h"
#include "kernels/convolution/taps/weight_gradient.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/reorder.h"

namespace iwseg::cpu {
namespace {

bool multiplies_pairs(const ConvolutionOptions& options, Vectors vectors) {
    return vectors == Vectors::avx512 && tap_pairs_work() && !is_depthwise(options) &&
           operand_type(options) == Type::bf16 && options.dst_type == Type::bf16 &&
           options.dst_layout == Layout::blocked16;
}

/// Whether each voxel of the result, or of what the epilogue makes of it beside, may take the place of that which it
/// alone is of: a kernel of one voxel, from one block of channels to one. No summand may lie there.
bool may_write_over_source(const ConvolutionOptions& o) {
    return o.kernel == 1 && o.stride == 1 && o.groups == 1 && o.src_layout == o.dst_layout &&
           o.src_type == o.dst_type && padded_channels(o.src_layout, o.src.c) == block_of(o.src_layout, o.src.c) &&
           padded_channels(o.dst_layout, o.dst_channels) == block_of(o.dst_layout, o.dst_channels) &&
           (o.write == Write::overwrite || o.epilogue.beside);
}

class TapConvolution final : public Convolution {
  public:
    TapConvolution(const ConvolutionOptions& options, ConvolutionPasses passes, Vectors vectors)
        : options_(options), pairs_(multiplies_pairs(options, vectors)), vectors_(vectors) {
        forward_.emplace(options, TapDirection::result, vectors, pairs_ && !plain_source());
        rest_ = bytes_of_sums(*forward_);
        if (passes.backward_data) {
            data_.emplace(options, TapDirection::source_gradient, vectors, pairs_);
            rest_ = std::max(rest_, bytes_of_sums(*data_));
            if (plain_source()) rest_at_ = aligned(bytes_of(options.src, options.src_type, options.dst_layout));
        }
        if (passes.backward_weights) {
            weights_.emplace(options, vectors, pairs_);
            rest_ = std::max(
                {rest_, weights_->scratch_bytes(), channel_sum_scratch_bytes(options.dst(), options.dst_layout)});
        }
    }

    std::string implementation() const override {
        return std::string("taps") + (vectors_ == Vectors::eight ? std::string(", ") + name_of(vectors_) : "") +
               (pairs_                            ? ", bf16"
                : options_.src_type == Type::bf16 ? ", bf16 widened"
                                                  : "");
    }
    std::int64_t scratch_bytes() const override { return rest_at_ + aligned(rest_); }
    bool takes_epilogue() const override { return options_.epilogue.wanted; }
    void use_epilogue(const Epilogue& epilogue) override { epilogue_ = epilogue; }
    bool works_in_place() const override { return options_.in_place && may_write_over_source(options_); }

    void forward(Stream stream, View src, const float* weights, const float* bias, View dst, void* scratch) override {
        char* const packed = rest(scratch);
        forward_->pack_weights(stream, weights, packed);
        forward_->run(
            stream, src, packed, packed + aligned(forward_->packed_weight_bytes()),
            {options_.bias ? bias : nullptr, options_.write == Write::accumulate, options_.epilogue, epilogue_}, dst);
    }

    void backward_data(Stream stream, View diff_dst, const float* weights, View diff_src, void* scratch) override {
        char* const packed = rest(scratch);
        data_->pack_weights(stream, weights, packed);
        const View blocked{plain_source() ? scratch : diff_src.data, diff_src.shape, diff_src.type,
                           options_.dst_layout};
        data_->run(stream, diff_dst, packed, packed + aligned(data_->packed_weight_bytes()), {}, blocked);
        if (plain_source()) reorder(stream, blocked, diff_src);
    }

    void backward_weights(Stream stream, View src, View diff_dst, float* diff_weights, float* diff_bias,
                          void* scratch) override {
        weights_->run(stream, src, diff_dst, diff_weights, rest(scratch));
        if (diff_bias) channel_sum(stream, diff_dst, diff_bias, rest(scratch));
    }

  private:
    static std::int64_t bytes_of_sums(const TapSums& sums) {
        return aligned(sums.packed_weight_bytes()) + sums.packed_source_bytes();
    }
    bool plain_source() const { return options_.src_layout == Layout::ncdhw; }
    char* rest(void* scratch) const { return static_cast<char*>(scratch) + rest_at_; }

    ConvolutionOptions options_;
    Epilogue epilogue_;
    bool pairs_;
    Vectors vectors_;
    std::optional<TapSums> forward_, data_;
    std::optional<TapWeightGradient> weights_;
    std::int64_t rest_at_ = 0, rest_ = 0;  ///< places in scratch, behind a blocked gradient of a plain source
};

}  // namespace

bool tap_convolution_works(const ConvolutionOptions& options, Vectors vectors) {
    const bool blocked = options.dst_layout == Layout::blocked8 || options.dst_layout == Layout::blocked16;
    if (vectors == Vectors::none || !blocked) return false;
    if (options.src_layout != options.dst_layout && options.src_layout != Layout::ncdhw) return false;
    const std::int64_t block = block_of(options.dst_layout, options.dst_channels);
    if (is_depthwise(options)) return options.src_layout == options.dst_layout;
    return options.groups == 1 || (options.inputs() % block == 0 && options.dst_channels / options.groups % block == 0);
}

std::unique_ptr<Convolution> make_tap_convolution(const ConvolutionOptions& options, ConvolutionPasses passes,
                                                  Vectors vectors) {
    if (!tap_convolution_works(options, vectors))
        throw std::invalid_argument(
            "tap convolution: expected a result in blocks of channels, a source blocked alike or plain, groups of "
            "whole blocks or of one channel and a processor with AVX2 or NEON");
    return std::make_unique<TapConvolution>(options, passes, vectors);
}

}  // namespace iwseg::cpu
