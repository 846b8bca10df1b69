#include "kernels/convolution/onednn/voxel_slabs.h"

#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "base/bytes.h"
#include "kernels/convolution/operands.h"
#include "kernels/elementwise/elementwise.h"

namespace iwseg::cpu {
namespace {

class SlabConvolution final : public Convolution {
  public:
    SlabConvolution(const ConvolutionOptions& options, std::int64_t planes, std::unique_ptr<Convolution> slab)
        : slab_(std::move(slab)),
          count_(options.src.n * options.src.d / planes),
          src_(slab_of(options, planes).src),
          dst_(slab_of(options, planes).dst()),
          in_place_(options.in_place &&
                    (options.write == Write::overwrite || (options.epilogue.beside && slab_->takes_epilogue()))),
          result_bytes_(in_place_ ? aligned(bytes_of(dst_, options.dst_type, options.dst_layout)) : 0) {}

    std::string implementation() const override { return slab_->implementation() + ", in slabs"; }
    std::int64_t scratch_bytes() const override { return result_bytes_ + slab_->scratch_bytes(); }
    bool works_in_place() const override { return in_place_; }
    bool takes_epilogue() const override { return slab_->takes_epilogue(); }
    void use_epilogue(const Epilogue& epilogue) override { epilogue_ = epilogue; }
    void forward(Stream stream, View src, const float* weights, const float* bias, View dst, void* scratch) override {
        for (std::int64_t i = 0; i < count_; ++i) {
            View to = part(dst, dst_, i);
            Epilogue epilogue = epilogue_;
            if (epilogue.beside.data) epilogue.beside = part(epilogue.beside, dst_, i);
            std::optional<View> over;  // what lies over the source
            for (View* const result : {&to, &epilogue.beside})
                if (result->data == part(src, src_, i).data) over = *result, result->data = scratch;
            slab_->use_epilogue(epilogue);
            slab_->forward(stream, part(src, src_, i), weights, bias, to, static_cast<char*>(scratch) + result_bytes_);
            if (over) copy(stream, {scratch, dst_, over->type, over->layout}, *over);
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
    bool in_place_;
    std::int64_t result_bytes_;  ///< of a slab, in place
    Epilogue epilogue_;
};

}  // namespace

std::int64_t slab_planes(const ConvolutionOptions& options, ConvolutionPasses passes) {
    constexpr std::int64_t kLeast = 1 << 20, kMost = 1 << 22;  // bytes in f32: what a pass costs beside, and caches
    const bool one_block = options.src_layout == Layout::blocked16 && options.dst_layout == Layout::blocked16 &&
                           options.src.c <= 16 && options.dst_channels <= 16;
    const bool bf16 = options.src_type == Type::bf16 && options.dst_type == Type::bf16 &&
                      operand_type(options) == Type::bf16,
               in_place = options.in_place && options.src_type == options.dst_type;
    if (!options.is_plain() || options.kernel != 1 || !one_block || !(bf16 || in_place) || passes.backward_data ||
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
