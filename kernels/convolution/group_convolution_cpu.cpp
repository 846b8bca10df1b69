#include <stdexcept>
#include <string>
#include <utility>

#include "kernels/convolution/group_convolution.h"
#include "kernels/convolution/row_convolution.h"

namespace iwseg::cpu {
namespace {

/// A group of one sample: whole blocks, so its channels lie together.
ConvolutionOptions one_group(ConvolutionOptions options) {
    options.src = {1, options.inputs(), options.src.d, options.src.h, options.src.w};
    options.dst_channels /= options.groups;
    options.groups = 1;
    return options;
}

class GroupConvolution final : public Convolution {
  public:
    GroupConvolution(const ConvolutionOptions& options, ConvolutionPasses passes)
        : samples_(options.src.n),
          groups_(options.groups),
          one_(one_group(options)),
          group_(make_row_convolution(one_, passes)) {}

    std::string implementation() const override { return "group by group, " + group_->implementation(); }
    std::int64_t scratch_bytes() const override { return group_->scratch_bytes(); }
    void forward(Stream stream, View src, const float* weights, const float* bias, View dst, void* scratch) override {
        over_groups([&](std::int64_t sample, std::int64_t group) {
            group_->forward(stream, part(src, one_.src, sample, group), weights + group * one_.weight_count(),
                            bias ? bias + group * one_.dst_channels : nullptr, part(dst, one_.dst(), sample, group),
                            scratch);
        });
    }
    void backward_data(Stream stream, View diff_dst, const float* weights, View diff_src, void* scratch) override {
        over_groups([&](std::int64_t sample, std::int64_t group) {
            group_->backward_data(stream, part(diff_dst, one_.dst(), sample, group),
                                  weights + group * one_.weight_count(), part(diff_src, one_.src, sample, group),
                                  scratch);
        });
    }
    void backward_weights(Stream, View, View, float*, float*, void*) override {
        throw std::logic_error("group convolution: it was not asked for gradients of weights, which it has not");
    }

  private:
    template <class Body>
    void over_groups(Body&& body) const {
        for (std::int64_t sample = 0; sample < samples_; ++sample)
            for (std::int64_t group = 0; group < groups_; ++group) body(sample, group);
    }
    View part(const View& whole, const Shape& shape, std::int64_t sample, std::int64_t group) const {
        const std::int64_t bytes = bytes_of(shape, whole.type, whole.layout);
        return {whole.as<char>() + (sample * groups_ + group) * bytes, shape, whole.type, whole.layout};
    }

    std::int64_t samples_, groups_;
    ConvolutionOptions one_;
    std::unique_ptr<Convolution> group_;
};

}  // namespace

bool group_convolution_works(const ConvolutionOptions& options) {
    const std::int64_t block = block_of(options.src_layout, options.src.c);
    return options.groups > 1 && options.src_layout == options.dst_layout && block > 1 &&
           options.src_layout != Layout::ndhwc && options.inputs() % block == 0 &&
           options.dst_channels / options.groups % block == 0 && row_convolution_works(one_group(options));
}

std::unique_ptr<Convolution> make_group_convolution(const ConvolutionOptions& options, ConvolutionPasses passes) {
    if (!group_convolution_works(options) || passes.backward_weights)
        throw std::invalid_argument("group convolution: expected groups of whole blocks, and no gradient of weights");
    return std::make_unique<GroupConvolution>(options, passes);
}

}  // namespace iwseg::cpu
