#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "base/error.h"
#include "kernels/convolution/amx/amx_convolution.h"
#include "kernels/convolution/direct.h"
#include "kernels/convolution/onednn/onednn.h"
#include "kernels/convolution/operands.h"
#include "kernels/convolution/projection.h"
#include "kernels/convolution/row_convolution.h"
#include "kernels/convolution/taps/tap_convolution.h"
#include "kernels/convolution/winograd/winograd_convolution.h"

// Which of the CPU's convolutions is taken: the specialised first.
namespace iwseg::cpu {
namespace {

void check(const ConvolutionOptions& o) {
    o.check();
    if (o.src_layout != o.dst_layout && o.src_layout != Layout::ncdhw && o.dst_layout != Layout::ncdhw)
        throw std::invalid_argument("convolution: source and result of different blocked layouts");
    if (o.src_layout != o.dst_layout && o.src_layout != Layout::ncdhw && !is_projection(o))
        throw std::invalid_argument(
            "convolution: a plain result of a blocked source is for few channels and a kernel of 1");
}

ConvolutionPasses passes_of(ConvolutionPass pass) {
    return {pass == ConvolutionPass::data, pass == ConvolutionPass::weights};
}

bool is_row_convolution(const ConvolutionOptions& options) {
    return operand_type(options) == Type::f32 && row_convolution_works(options);
}

/// Whether rows are of one voxel, of f32: tiles of 2x2 results are half empty there, and rows' registers nearly so.
/// Taps were 1.2 to 2 times faster than the next, with 32 channels of 64 x 64 x 1.
bool has_rows_of_one_voxel(const ConvolutionOptions& options) {
    return options.src.w == 1 && operand_type(options) == Type::f32 && winograd_convolution_works(options) &&
           tap_convolution_works(options);
}

/// Whether bf16 is widened for what our tiles multiply in f32.
bool is_widened(const ConvolutionOptions& options) {
    return options.src_type == Type::bf16 && operand_type(options) == Type::f32 && tap_convolution_works(options);
}

/// Whether it is of those that a rule chooses for, pass by pass (make_other_pass).
bool is_other(const ConvolutionOptions& options) {
    return !options.is_plain() || has_rows_of_one_voxel(options) || is_widened(options);
}

/// The same with each type that can be multiplied here, the one that is taken first.
std::vector<ConvolutionOptions> by_operands(const ConvolutionOptions& options) {
    std::vector<ConvolutionOptions> all{options};
    for (const Bf16Operands operands : {Bf16Operands::native, Bf16Operands::widened}) {
        ConvolutionOptions other = options;
        other.bf16_operands = operands;
        if (operand_type(other) != operand_type(options)) all.push_back(other);
    }
    return all;
}

/// Those that compute a pass of operands of one type. The gradient of weights is the same code with rows of voxels as
/// beside oneDNN.
std::vector<ConvolutionEngine> engines_of(Stream stream, const ConvolutionOptions& options, ConvolutionPass pass) {
    const ConvolutionPasses passes = passes_of(pass);
    const auto rows = [=] { return make_row_convolution(options, passes); };
    const auto onednn = [=](bool own) { return [=] { return make_onednn_convolution(stream, options, passes, own); }; };
    std::vector<ConvolutionEngine> engines;
    const bool weights = pass == ConvolutionPass::weights;
    if (is_row_convolution(options)) engines.push_back({weights ? "direct" : "rows", "", rows});
    try {
        if (const auto whole = onednn(false)()) {
            if (weights && engines.empty() && onednn(true)()->implementation() != whole->implementation())
                engines.push_back({"direct", "", onednn(true)});
            engines.push_back({"oneDNN", "", onednn(false)});
        }
    } catch (const InputError&) {
        // oneDNN makes none.
    }
    const auto taps = [=](Vectors vectors) { return [=] { return make_tap_convolution(options, passes, vectors); }; };
    if (tap_convolution_works(options)) engines.push_back({"taps", "", taps(best_vectors())});
    if (best_vectors() == Vectors::avx512 && operand_type(options) == Type::f32 &&
        tap_convolution_works(options, Vectors::eight))
        engines.push_back({"taps, AVX2", "", taps(Vectors::eight)});
    if (winograd_convolution_works(options))
        engines.push_back({"winograd", "", [=] { return make_winograd_convolution(stream, options, passes); }});
    for (ConvolutionEngine& one : engines)
        if (options.src_type == Type::bf16)
            one.name += operand_type(options) == Type::bf16 ? ", bf16" : ", bf16 widened";
    return engines;
}

using Made = std::shared_ptr<Convolution>;

/// Each pass by an engine of its own.
class ByPass final : public Convolution {
  public:
    ByPass(Made forward, Made data, Made weights)
        : forward_(std::move(forward)), data_(std::move(data)), weights_(std::move(weights)) {}

    std::string implementation() const override {
        std::string text = "forward by [" + forward_->implementation() + "]";
        if (data_) text += ", data by [" + data_->implementation() + "]";
        return weights_ ? text + ", weights by [" + weights_->implementation() + "]" : text;
    }
    std::int64_t scratch_bytes() const override {
        std::int64_t most = 0;
        for (const Made& one : {forward_, data_, weights_})
            if (one) most = std::max(most, one->scratch_bytes());
        return most;
    }
    bool takes_epilogue() const override { return forward_->takes_epilogue(); }
    void use_epilogue(const Epilogue& epilogue) override { forward_->use_epilogue(epilogue); }
    bool works_in_place() const override { return forward_->works_in_place(); }
    std::int64_t made_planes() const override { return forward_->made_planes(); }
    void use_made(const MakePlanes& make) override { forward_->use_made(make); }
    void forward(Stream stream, View src, const float* weights, const float* bias, View dst, void* scratch) override {
        forward_->forward(stream, src, weights, bias, dst, scratch);
    }
    void backward_data(Stream stream, View diff_dst, const float* weights, View diff_src, void* scratch) override {
        data_->backward_data(stream, diff_dst, weights, diff_src, scratch);
    }
    void backward_weights(Stream stream, View src, View diff_dst, float* diff_weights, float* diff_bias,
                          void* scratch) override {
        weights_->backward_weights(stream, src, diff_dst, diff_weights, diff_bias, scratch);
    }

  private:
    Made forward_, data_, weights_;
};

/// Whether our own kernels of any stride are faster than oneDNN's, as `iwseg kernel --variant` measured them on a Zen 4
/// with AVX-512 (docs/performance.md):
/// - results at a stride in f32, 1.2 to 1.7 times where the source is of 16 MB and more, as oneDNN 2.6 waits for it;
/// - gradients of weights, 1.2 to 2.2 times in bf16, which is widened for oneDNN 2.6, whose own is wrong at stride 2
///   (16 to 32 channels, kernel 3), and 1.0 to 1.1 times in f32 at stride 1;
/// - gradients of the source in groups, 1.2 times in f32;
/// - all passes of bf16 that is widened to f32, up to 1.7 times, since for oneDNN whole tensors are widened first, and
///   in 1x1x1 up to 3 times; results and gradients of a source of 256 channels of 4^3, which rows compute in f32, 1.4
///   times rows (a Xeon with AVX-512 alone);
/// - all passes of f32 where rows are of one voxel.
/// In the others oneDNN is ahead, 1.02 to 1.4 times. With blocks of 8, which are for AVX2, some of them it has by its
/// reference alone.
bool taps_are_faster(const ConvolutionOptions& options, ConvolutionPass pass) {
    if (!tap_convolution_works(options)) return false;
    const bool bf16 = options.src_type == Type::bf16;
    if (is_widened(options) || has_rows_of_one_voxel(options)) return true;
    if (pass == ConvolutionPass::weights) return bf16 || options.stride == 1;
    if (pass == ConvolutionPass::data) return !bf16 && options.groups > 1;
    return !bf16 && !(options.stride == 1) && bytes_of(options.src, Type::f32, options.src_layout) >= 16 << 20;
}

/// What takes any kernel, stride and groups: oneDNN, where it is part of the build and takes it, else our own.
std::unique_ptr<Convolution> make_any(Stream stream, const ConvolutionOptions& options, ConvolutionPasses passes) {
    try {
        if (auto made = make_onednn_convolution(stream, options, passes)) return made;
    } catch (const InputError&) {
        if (!tap_convolution_works(options)) throw;  // else oneDNN makes none, as of a tensor that is too large
    }
    if (tap_convolution_works(options)) return make_tap_convolution(options, passes);
    return make_general_convolution(options, passes);
}

/// Of another kernel, a stride, groups or rows of one voxel, for one pass.
Made make_other_pass(Stream stream, const ConvolutionOptions& options, ConvolutionPass pass) {
    if (taps_are_faster(options, pass)) return make_tap_convolution(options, passes_of(pass));
    return make_any(stream, options, passes_of(pass));
}

/// Whether Winograd's transforms pay, as measured on a Zen 4 with AVX-512, and with AVX2 in blocks of 8
/// (docs/performance.md): 1.3 to 3 times faster than the direct sums, but
/// - in planes of one row or column, which fill half of a tile of 2x2 results;
/// - where voxels are too few to make up for arranging weights: transformed these are 16 elements for each pair of
///   channels and plane of the kernel, so from 6 MB of a 3x3x3 and from 2 MB of a 1x3x3, whose direct sums are shorter
///   too;
/// - in gradients of weights of a single block of 8 by AVX-512;
/// - in gradients of weights of bf16 whose direct sums multiply pairs: the transformed ones are of f32.
bool winograd_is_faster(const ConvolutionOptions& options, ConvolutionPass pass) {
    constexpr std::int64_t kFewVoxels = 128, kManyPairs = 1 << 15;
    if (!winograd_convolution_works(options) || options.src.h == 1 || options.src.w == 1) return false;
    if (pass == ConvolutionPass::weights && options.dst_channels <= 8 && best_vectors() == Vectors::avx512)
        return false;
    if (pass == ConvolutionPass::weights && operand_type(options) == Type::bf16) return false;
    return options.src.n * options.src.voxels() >= kFewVoxels || options.src.c * options.dst_channels < kManyPairs;
}

Made make_pass(Stream stream, const ConvolutionOptions& options, ConvolutionPass pass) {
    if (winograd_is_faster(options, pass)) return make_winograd_convolution(stream, options, passes_of(pass));
    if (is_other(options)) return make_other_pass(stream, options, pass);
    if (is_row_convolution(options)) return make_row_convolution(options, passes_of(pass));
    return make_any(stream, options, passes_of(pass));
}

}  // namespace

std::unique_ptr<Convolution> make_convolution(Stream stream, const ConvolutionOptions& options,
                                              ConvolutionPasses passes) {
    check(options);
    if (is_projection(options)) return make_projection(options);
    if (amx_convolution_works(options)) return make_amx_convolution(stream, options, passes);
    if (winograd_is_faster(options, ConvolutionPass::forward) &&
        (!passes.backward_weights || winograd_is_faster(options, ConvolutionPass::weights)))
        return make_winograd_convolution(stream, options, passes);
    if (is_other(options) || winograd_is_faster(options, ConvolutionPass::forward)) {
        const auto of = [&](ConvolutionPass pass) { return make_pass(stream, options, pass); };
        return std::make_unique<ByPass>(of(ConvolutionPass::forward),
                                        passes.backward_data ? of(ConvolutionPass::data) : nullptr,
                                        passes.backward_weights ? of(ConvolutionPass::weights) : nullptr);
    }
    if (is_row_convolution(options)) return make_row_convolution(options, passes);
    return make_any(stream, options, passes);
}

std::vector<ConvolutionEngine> convolution_engines(Stream stream, const ConvolutionOptions& options,
                                                   ConvolutionPass pass) {
    check(options);
    const ConvolutionPasses passes = passes_of(pass);
    std::vector<ConvolutionEngine> engines;
    if (amx_convolution_works(options))
        engines.push_back({"AMX", "", [=] { return make_amx_convolution(stream, options, passes); }});
    if (is_projection(options)) engines.push_back({"projection", "", [=] { return make_projection(options); }});
    if (!is_projection(options) || options.src_layout == options.dst_layout)
        for (const ConvolutionOptions& one : by_operands(options)) {
            for (ConvolutionEngine& engine : engines_of(stream, one, pass)) engines.push_back(std::move(engine));
            const bool only = engines.empty() && !has_onednn();
            if (one.bf16_operands == options.bf16_operands && (only || !options.is_plain()))
                engines.push_back({"general", "", [=] { return make_general_convolution(options, passes); }});
        }
    if (engines.empty()) make_onednn_convolution(stream, options, {});  // which says why
    // What is first is tried first.
    if (is_other(options) && !amx_convolution_works(options) && taps_are_faster(options, pass))
        std::stable_partition(engines.begin(), engines.end(), [](const ConvolutionEngine& one) {
            return one.name.starts_with("taps") && !one.name.starts_with("taps, AVX2");
        });
    if (winograd_is_faster(options, pass) && !amx_convolution_works(options))
        std::stable_partition(engines.begin(), engines.end(),
                              [](const ConvolutionEngine& one) { return one.name.starts_with("winograd"); });
    engines.at(0).choice = "taken";
    return engines;
}

}  // namespace iwseg::cpu
