#include "kernels/convolution/narrow.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "kernels/cuda/launch.h"
#include "kernels/elementwise/elementwise.h"

// The narrow kernels as a convolution.
namespace iwseg::IWSEG_BACKEND {
namespace {

class NarrowConvolution final : public Convolution {
  public:
    explicit NarrowConvolution(const ConvolutionOptions& options, ConvolutionPasses passes) : options_(options) {
        scratch_bytes_ = narrow_scratch_bytes(options_.src, options_.dst_channels);
        if (options_.bias && passes.backward_weights)
            scratch_bytes_ = std::max(scratch_bytes_, channel_sum_scratch_bytes(options_.dst(), options_.dst_layout));
    }

    std::string implementation() const override { return "narrow"; }
    std::int64_t scratch_bytes() const override { return scratch_bytes_; }

    void forward(Stream stream, View src, const float* weights, const float* bias, View dst, void* scratch) override {
        require(src, dst);
        run_forward(stream, src, weights, bias, nullptr, dst, scratch);
    }
    bool adds_elsewhere() const override { return true; }
    void forward_sum(Stream stream, View src, const float* weights, const float* bias, View summand, View dst,
                     void* scratch) override {
        require(src, dst);
        require(src, summand);
        if (options_.write != Write::accumulate)
            throw std::logic_error("convolution: a summand for one that does not add");
        run_forward(stream, src, weights, bias, summand.data, dst, scratch);
    }
    std::int64_t sums_bytes() const override { return options_.sums ? narrow_sums_bytes(options_.dst()) : 0; }
    void use_sums(void* sums) override { sums_ = static_cast<float*>(sums); }
    void statistics(Stream stream, const void* sums, float epsilon, BatchNormStatistics statistics,
                    RunningStatistics running) override {
        narrow_statistics(stream, options_.dst(), static_cast<const float*>(sums), epsilon, statistics, running);
    }
    NormalisingPasses normalises() const override { return {options_.normalises, options_.normalises}; }
    void use_normalisation(BatchNormStatistics statistics, BatchNormWeights weights) override {
        normalisation_ = {statistics, weights};
    }
    void backward_data(Stream stream, View diff_dst, const float* weights, View diff_src, void* scratch) override {
        require(diff_src, diff_dst);
        narrow_data_gradient(stream, diff_dst, {weights}, diff_src, scratch);
    }
    void backward_weights(Stream stream, View src, View diff_dst, float* diff_weights, float* diff_bias,
                          void* scratch) override {
        require(src, diff_dst);
        narrow_weight_gradient(stream, src, prologue(), diff_dst, diff_weights, scratch);
        if (options_.bias && diff_bias) channel_sum(stream, diff_dst, diff_bias, scratch);
    }

  private:
    void require(const View& src, const View& dst) const {
        if (src.shape == options_.src && dst.shape == options_.dst()) return;
        throw std::invalid_argument("convolution: a tensor is not of the shape it was made for");
    }

    NarrowPrologue prologue() const { return options_.normalises ? normalisation_ : NarrowPrologue{}; }
    void run_forward(Stream stream, View src, const float* weights, const float* bias, const void* summand, View dst,
                     void* scratch) const {
        NarrowEpilogue epilogue;
        epilogue.bias = options_.bias ? bias : nullptr;
        epilogue.write = options_.write;
        epilogue.summand = summand;
        epilogue.sums = options_.sums ? sums_ : nullptr;
        narrow_forward(stream, src, {weights}, prologue(), epilogue, dst, scratch);
    }

    ConvolutionOptions options_;
    float* sums_ = nullptr;
    NarrowPrologue normalisation_;
    std::int64_t scratch_bytes_ = 0;
};

}  // namespace

void require_narrow(const View& view, const Shape& like, const char* what) {
    Shape expected = like;
    expected.c = view.shape.c;
    if (view.type == Type::bf16 && view.layout == Layout::ndhwc && is_narrow(view.shape.c) && view.shape == expected)
        return;
    throw std::invalid_argument(std::string("narrow convolution: ") + what +
                                " is not bf16 of 8, 16 or 32 channels innermost, of one size with the other tensor");
}

std::unique_ptr<Convolution> make_narrow_convolution(const ConvolutionOptions& options, ConvolutionPasses passes) {
    if (!takes_narrow(options))
        throw std::invalid_argument(
            "narrow convolution: expected kernel 3 and 8, 16 or 32 channels innermost in bf16 on both sides");
    return std::make_unique<NarrowConvolution>(options, passes);
}

}  // namespace iwseg::IWSEG_BACKEND
