#include "kernels/convolution/onednn/voxel_slabs.h"

#include <stdexcept>
#include <string>
#include <utility>

#include "kernels/convolution/operands.h"

namespace iwseg::cpu {
namespace {

class SlabConvolution final : public Convolution {
  public:
    SlabConvolution(const ConvolutionOptions& options, std::int64_t planes, std::unique_ptr<Convolution> slab)
        : slab_(std::move(slab)),
          count_(options.src.n * options.src.d / planes),
          src_(slab_of(options, planes).src),
          dst_(slab_of(options, planes).dst()) {}

    std::string implementation() const override { return slab_->implementation() + ", in slabs"; }
    std::int64_t scratch_bytes() const override { return slab_->scratch_bytes(); }
    bool takes_epilogue() const override { return slab_->takes_epilogue(); }
    void use_epilogue(const Epilogue& epilogue) override { epilogue_ = epilogue; }
    void forward(Stream stream, View src, const float* weights, const float* bias, View dst, void* scratch) override {
        for (std::int64_t i = 0; i < count_; ++i) {
            Epilogue epilogue = epilogue_;
            if (epilogue.beside.data) epilogue.beside = part(epilogue.beside, dst_, i);
            slab_->use_epilogue(epilogue);
            slab_->forward(stream, part(src, src_, i), weights, bias, part(dst, dst_, i), scratch);
        }
    }
    void backward_data(Stream, View, const float*, View, void*) override { refuse(); }
    void backward_weights(Stream, View, View, float*, float*, void*) override { refuse(); }

  private:
    [[noreturn]] static void refuse() { throw std::logic_error("a convolution in slabs has forward passes alone"); }
    /// Planes of one block of channels lie one after another, those of the next sample after them.
    static View part(const View& whole, const Shape& slab, std::int64_t number) {
        return {whole.as<char>() + number * bytes_of(slab, whole.type, whole.layout), slab, whole.type, whole.layout};
    }

    std::unique_ptr<Convolution> slab_;
    std::int64_t count_;
    Shape src_, dst_;
    Epilogue epilogue_;
};

}  // namespace

std::int64_t slab_planes(const ConvolutionOptions& options, ConvolutionPasses passes) {
    constexpr std::int64_t kLeast = 1 << 20, kMost = 1 << 22;  // bytes in f32: what a pass costs beside, and caches
    const bool one_block = options.src_layout == Layout::blocked16 && options.dst_layout == Layout::blocked16 &&
                           options.src.c <= 16 && options.dst_channels <= 16;
    if (!options.is_plain() || options.kernel != 1 || !one_block || options.src_type != Type::bf16 ||
        options.dst_type != Type::bf16 || operand_type(options) != Type::bf16 || passes.backward_data ||
        passes.backward_weights)
        return 0;
    const auto bytes = [&](std::int64_t planes) {
        return bytes_of(slab_of(options, planes).dst(), Type::f32, options.dst_layout);
    };
    std::int64_t planes = options.src.d;
    while (planes > 1 && (options.src.d % planes != 0 || bytes(planes) > kMost)) --planes;
    const bool whole = planes == options.src.d && options.src.n == 1;
    return whole || bytes(planes) < kLeast ? 0 : planes;
}

ConvolutionOptions slab_of(const ConvolutionOptions& options, std::int64_t planes) {
    ConvolutionOptions slab = options;
    slab.src.n = 1;
    slab.src.d = planes;
    return slab;
}

std::unique_ptr<Convolution> make_slab_convolution(const ConvolutionOptions& options, std::int64_t planes,
                                                   std::unique_ptr<Convolution> slab) {
    return std::make_unique<SlabConvolution>(options, planes, std::move(slab));
}

}  // namespace iwseg::cpu
