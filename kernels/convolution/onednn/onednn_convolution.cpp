#include <algorithm>
#include <dnnl.hpp>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "kernels/convolution/onednn/onednn.h"
#include "kernels/convolution/onednn/onednn_instructions.h"
#include "kernels/convolution/onednn/onednn_threads.h"
#include "kernels/convolution/onednn/voxel_slabs.h"
#include "kernels/convolution/operands.h"
#include "kernels/convolution/weight_gradient.h"
#include "kernels/cpu/cpu_blocks.h"
#include "kernels/cpu/parallel.h"
#include "kernels/device/bf16.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/reorder.h"

// Convolutions by oneDNN, which is told that channels are whole blocks: its vectorised code takes nothing else, and the
// padding of our tensors is zero anyway. Weights are packed at each call, as they change at each step.
//
// Tensors are staged through scratch where oneDNN cannot take them as they lie: bf16 where the processor has no bf16
// arithmetic is widened to f32, an image of many plain channels is blocked.
namespace iwseg::cpu {
namespace {

using Descriptor = dnnl::memory::desc;
using Tag = dnnl::memory::format_tag;

dnnl::memory::dims dims_of(const Sides& sides) {
    return {sides.d, sides.h, sides.w};
}

Descriptor describe_as(const dnnl::memory::dims& dims, Type type, Layout layout) {
    static_assert(static_cast<int>(Layout::blocked16) == 3);
    const Tag tag = layout == Layout::ncdhw      ? Tag::ncdhw
                    : layout == Layout::ndhwc    ? Tag::ndhwc
                    : layout == Layout::blocked8 ? Tag::nCdhw8c
                                                 : Tag::nCdhw16c;
    return {dims, type == Type::f32 ? dnnl::memory::data_type::f32 : dnnl::memory::data_type::bf16, tag};
}

dnnl::primitive_attr user_scratchpad() {
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    return attributes;
}

/// A primitive with the memory objects it is called with; running it sets pointers and allocates nothing.
class Call {
  public:
    Call(const dnnl::engine& engine, const dnnl::primitive& primitive, OneDnnWork work,
         const std::vector<std::pair<int, Descriptor>>& arguments)
        : primitive_(primitive), work_(work) {
        for (const auto& [argument, descriptor] : arguments) {
            if (descriptor.get_size() == 0) continue;  // no bias, no scratchpad
            memory_.emplace_back(descriptor, engine, nullptr);
            list_.push_back({argument, memory_.back().get()});
        }
    }

    void run(ThreadPool* threads, const dnnl::stream& stream,
             std::initializer_list<std::pair<int, const void*>> pointers) {
        for (const auto& [argument, pointer] : pointers)
            for (std::size_t i = 0; i < list_.size(); ++i)
                if (list_[i].arg == argument) memory_[i].set_data_handle(const_cast<void*>(pointer));
        const OneDnnThreads on(threads, work_);
        dnnl::error::wrap_c_api(
            dnnl_primitive_execute(primitive_.get(), stream.get(), static_cast<int>(list_.size()), list_.data()),
            "oneDNN could not run a primitive");
        on.require_independent();
    }

  private:
    dnnl::primitive primitive_;
    OneDnnWork work_;
    std::vector<dnnl::memory> memory_;
    std::vector<dnnl_exec_arg_t> list_;
};

/// One of the three passes: how weights are packed (or unpacked, for their gradient) and the convolution itself.
struct Pass {
    Call packing, convolution;
    std::string name;
    std::int64_t packed_bytes, scratchpad_bytes;
};

/// oneDNN's generated code divides a result among threads, which then go their own ways; a gradient of weights they sum
/// together. Of its other implementations, some wait for each other in matrix products.
OneDnnWork work_of(const std::string& implementation, bool weight_gradient) {
    return implementation.starts_with("jit") && !weight_gradient ? OneDnnWork::independent : OneDnnWork::together;
}

class OneDnnConvolution final : public Convolution {
  public:
    OneDnnConvolution(const ConvolutionOptions& options, ConvolutionPasses passes, bool own_weight_gradient);

    std::string implementation() const override;
    std::int64_t scratch_bytes() const override {
        return std::max(places_.end, widened_ ? widened_->scratch_bytes() : 0);
    }
    bool takes_epilogue() const override { return options_.epilogue.wanted; }
    void use_epilogue(const Epilogue& epilogue) override { epilogue_ = epilogue; }
    void forward(Stream, View src, const float* weights, const float* bias, View dst, void* scratch) override;
    void backward_data(Stream, View diff_dst, const float* weights, View diff_src, void* scratch) override;
    void backward_weights(Stream, View src, View diff_dst, float* diff_weights, float* diff_bias,
                          void* scratch) override;

  private:
    /// Where things lie in scratch: bytes from its start.
    struct Places {
        std::int64_t plain, bias, packed, src, dst, rest, end;
    };

    bool flat_source_works() const;
    /// Channels that oneDNN is told of a tensor: whole blocks, but where they are divided into groups.
    std::int64_t told_channels(Layout layout, std::int64_t channels) const {
        return options_.groups == 1 ? padded_channels(layout, channels) : channels;
    }
    Descriptor describe(const Shape& shape, Layout layout) const {
        return describe_as({shape.n, told_channels(layout, shape.c), shape.d, shape.h, shape.w}, operand_, layout);
    }
    dnnl::memory::dims weight_dims(std::int64_t outputs, std::int64_t inputs) const {
        const auto [d, h, w] = options_.kernel;
        if (options_.groups == 1) return {outputs, inputs, d, h, w};
        return {options_.groups, outputs / options_.groups, inputs, d, h, w};
    }
    dnnl::memory::dims weight_dims() const { return weight_dims(outputs_, inputs_); }
    dnnl::convolution_forward::primitive_desc forward_descriptor(const Descriptor& src) const;
    Pass make_pass(const dnnl::primitive& primitive, const std::string& name, const Descriptor& plain_weights,
                   const Descriptor& packed, bool unpack, std::vector<std::pair<int, Descriptor>> arguments,
                   const Descriptor& scratchpad) const;
    void lay_out_scratch();
    std::int64_t weight_count() const { return outputs_ * inputs_ * taps_; }
    /// Whether weights and bias are changed so that the result comes out normalised.
    bool folds() const { return options_.epilogue.normalises; }
    bool biased() const { return options_.bias || folds(); }
    double factor_of(std::int64_t output) const {
        return static_cast<double>(epilogue_.weights.scale[output]) * epilogue_.statistics.inverse_deviation[output];
    }
    Descriptor plain_weights() const;
    const float* pad_weights(Stream stream, const float* weights, char* scratch) const;
    const void* pack(Stream stream, Pass& pass, const float* weights, char* scratch);
    View staged(View view, Layout layout, std::int64_t place, char* scratch) const;

    ConvolutionOptions options_;
    Type operand_;                                      ///< what oneDNN multiplies
    Layout src_layout_;                                 ///< what oneDNN reads, after staging
    std::int64_t inputs_ = 0, outputs_ = 0, taps_ = 1;  ///< channels as oneDNN is told them; inputs of one group
    dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
    dnnl::stream stream_{engine_};
    std::optional<Pass> forward_, data_, weights_;
    Epilogue epilogue_;
    bool own_weight_gradient_ = false;
    std::unique_ptr<OneDnnConvolution> widened_;  ///< for the gradient of weights alone, or null
    Places places_{};
};

OneDnnConvolution::OneDnnConvolution(const ConvolutionOptions& options, ConvolutionPasses passes,
                                     bool own_weight_gradient)
    : options_(options), operand_(operand_type(options)), src_layout_(options.src_layout), taps_(options.taps()) {
    // One result, and weights that carry the normalisation, which a summand would not have.
    if (options_.epilogue.beside || (options_.epilogue.normalises && options_.write == Write::accumulate))
        options_.epilogue = {};
    if (src_layout_ != options_.dst_layout && !flat_source_works()) src_layout_ = options_.dst_layout;
    inputs_ = told_channels(src_layout_, options_.src.c) / options_.groups;
    outputs_ = told_channels(options_.dst_layout, options_.dst_channels);
    const Descriptor src = describe(options_.src, src_layout_);
    const Descriptor dst = describe(options_.dst(), options_.dst_layout);
    const dnnl::memory::dims strides = dims_of(options_.stride), padding = dims_of(options_.padding());
    const Descriptor any(weight_dims(), src.data_type(), Tag::any);
    const auto ahead = forward_descriptor(src);
    const auto kind = dnnl::algorithm::convolution_direct;
    forward_ =
        make_pass(dnnl::convolution_forward(ahead), ahead.impl_info_str(), plain_weights(), ahead.weights_desc(), false,
                  {{DNNL_ARG_SRC, src},
                   {DNNL_ARG_WEIGHTS, ahead.weights_desc()},
                   {DNNL_ARG_DST, dst},
                   {DNNL_ARG_BIAS, ahead.bias_desc()}},
                  ahead.scratchpad_desc());
    if (passes.backward_data) {
        const dnnl::convolution_backward_data::primitive_desc back({kind, src, any, dst, strides, padding, padding},
                                                                   user_scratchpad(), engine_, ahead);
        data_ = make_pass(dnnl::convolution_backward_data(back), back.impl_info_str(), plain_weights(),
                          back.weights_desc(), false,
                          {{DNNL_ARG_DIFF_SRC, src}, {DNNL_ARG_WEIGHTS, back.weights_desc()}, {DNNL_ARG_DIFF_DST, dst}},
                          back.scratchpad_desc());
    }
    own_weight_gradient_ =
        own_weight_gradient && options_.is_plain() &&
        (operand_ == Type::f32 ? options_.dst_layout != Layout::ncdhw
                               : weight_gradient_takes_bf16(src_layout_, options_.dst_layout, options_.kernel.d));
    if (passes.backward_weights && !options_.is_plain() && operand_ == Type::bf16) {
        // oneDNN 2.6's gradient of bf16 weights is wrong at stride 2 (16 to 32 channels, kernel 3), by any amount.
        ConvolutionOptions widened = options_;
        widened.bf16_operands = Bf16Operands::widened;
        widened_ = std::make_unique<OneDnnConvolution>(widened, ConvolutionPasses{false, true}, true);
    } else if (passes.backward_weights && !own_weight_gradient_) {
        const Descriptor wide(weight_dims(), dnnl::memory::data_type::f32, Tag::any);
        const dnnl::convolution_backward_weights::primitive_desc back({kind, src, wide, dst, strides, padding, padding},
                                                                      user_scratchpad(), engine_, ahead);
        weights_ = make_pass(
            dnnl::convolution_backward_weights(back), back.impl_info_str(), plain_weights(), back.diff_weights_desc(),
            true, {{DNNL_ARG_SRC, src}, {DNNL_ARG_DIFF_WEIGHTS, back.diff_weights_desc()}, {DNNL_ARG_DIFF_DST, dst}},
            back.scratchpad_desc());
    }
    lay_out_scratch();
}

dnnl::convolution_forward::primitive_desc OneDnnConvolution::forward_descriptor(const Descriptor& src) const {
    const std::int64_t outputs = told_channels(options_.dst_layout, options_.dst_channels);
    const Descriptor weights(weight_dims(outputs, src.data.dims[1] / options_.groups), src.data_type(), Tag::any);
    const Descriptor bias = biased() ? Descriptor({outputs}, dnnl::memory::data_type::f32, Tag::x) : Descriptor();
    dnnl::primitive_attr attributes = user_scratchpad();
    dnnl::post_ops after;
    if (options_.write == Write::accumulate) after.append_sum(1.0f);
    // oneDNN's ReLU makes 0 of NaN, which would hide that a scan or weights are not usable; with a slope it does not.
    constexpr float kAsGoodAsNone = 1e-20f;
    if (const float slope = options_.epilogue.activation.slope; slope != 1)
        after.append_eltwise(1.0f, dnnl::algorithm::eltwise_relu, std::max(slope, kAsGoodAsNone), 0.0f);
    attributes.set_post_ops(after);
    const dnnl::memory::dims padding = dims_of(options_.padding());
    return {{dnnl::prop_kind::forward_training, dnnl::algorithm::convolution_direct, src, weights, bias,
             describe(options_.dst(), options_.dst_layout), dims_of(options_.stride), padding, padding},
            attributes,
            engine_};
}

/// oneDNN's vectorised code takes plain source channels where they are very few, the network's first convolution.
bool OneDnnConvolution::flat_source_works() const {
    if (src_layout_ != Layout::ncdhw) return false;
    try {
        const auto descriptor = forward_descriptor(describe(options_.src, src_layout_));
        const std::string name = descriptor.impl_info_str();
        return name.find("ref") == std::string::npos && name.find("gemm") == std::string::npos;
    } catch (const dnnl::error&) {
        return false;
    }
}

Descriptor OneDnnConvolution::plain_weights() const {
    return {weight_dims(), dnnl::memory::data_type::f32, options_.groups == 1 ? Tag::oidhw : Tag::goidhw};
}

Pass OneDnnConvolution::make_pass(const dnnl::primitive& primitive, const std::string& name, const Descriptor& plain,
                                  const Descriptor& packed, bool unpack,
                                  std::vector<std::pair<int, Descriptor>> arguments,
                                  const Descriptor& scratchpad) const {
    const Descriptor &from = unpack ? packed : plain, &to = unpack ? plain : packed;
    const dnnl::reorder::primitive_desc reordering(engine_, from, engine_, to, user_scratchpad());
    const Descriptor room = reordering.scratchpad_desc();
    arguments.emplace_back(DNNL_ARG_SCRATCHPAD, scratchpad);
    return {Call(engine_, dnnl::reorder(reordering), OneDnnWork::independent,
                 {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}, {DNNL_ARG_SCRATCHPAD, room}}),
            Call(engine_, primitive, work_of(name, unpack), arguments), name,
            static_cast<std::int64_t>(packed.get_size()),
            static_cast<std::int64_t>(std::max(scratchpad.get_size(), room.get_size()))};
}

void OneDnnConvolution::lay_out_scratch() {
    const bool narrow_plain = outputs_ != options_.dst_channels || inputs_ != options_.inputs();
    const bool rounded = options_.src_type == Type::bf16 && operand_ == Type::f32;
    const std::int64_t src_bytes = bytes_of(options_.src, operand_, src_layout_);
    const std::int64_t dst_bytes = bytes_of(options_.dst(), operand_, options_.dst_layout);
    const bool stage_src = operand_ != options_.src_type || src_layout_ != options_.src_layout;
    const bool stage_dst = operand_ != options_.dst_type;
    std::int64_t packed = 0, rest = channel_sum_scratch_bytes(options_.dst(), options_.dst_layout);
    for (const auto* pass : {&forward_, &data_, &weights_})
        if (*pass) {
            packed = std::max(packed, (*pass)->packed_bytes);
            rest = std::max(rest, (*pass)->scratchpad_bytes);
        }
    if (own_weight_gradient_)
        rest = std::max(rest, weight_gradient_scratch_bytes(options_.src, options_.dst_channels, options_.kernel.d,
                                                            options_.dst_layout));
    places_.plain = 0;
    places_.bias = aligned(narrow_plain || rounded || weights_ || folds() ? weight_count() * 4 : 0, kCacheLine);
    places_.packed = places_.bias + aligned(biased() ? outputs_ * 4 : 0, kCacheLine);
    places_.src = places_.packed + aligned(packed, kCacheLine);
    places_.dst = places_.src + aligned(stage_src ? src_bytes : 0, kCacheLine);
    places_.rest = places_.dst + aligned(stage_dst ? dst_bytes : 0, kCacheLine);
    places_.end = places_.rest + aligned(rest, kCacheLine);
}

std::string OneDnnConvolution::implementation() const {
    const std::string weights = weights_               ? weights_->name
                                : widened_             ? widened_->weights_->name + " widened"
                                : own_weight_gradient_ ? "direct"
                                                       : "none";
    return "forward " + forward_->name + ", data " + (data_ ? data_->name : "none") + ", weights " + weights +
           (options_.src_type == Type::bf16 ? operand_ == Type::bf16 ? ", bf16" : ", bf16 widened" : "");
}

/// Weights as oneDNN is told them: padded with zeros, rounded to bf16 where that is the operands' type.
const float* OneDnnConvolution::pad_weights(Stream stream, const float* weights, char* scratch) const {
    const std::int64_t inputs = options_.inputs() * taps_, padded = inputs_ * taps_;
    const bool rounded = options_.src_type == Type::bf16 && operand_ == Type::f32;
    if (outputs_ == options_.dst_channels && inputs == padded && !rounded && !folds()) return weights;
    auto* plain = reinterpret_cast<float*>(scratch + places_.plain);
    parallel_for(stream, outputs_, [&](std::int64_t o) {
        const double factor = folds() && o < options_.dst_channels ? factor_of(o) : 1.0;
        for (std::int64_t i = 0; i < padded; ++i) {
            float value = o < options_.dst_channels && i < inputs ? weights[o * inputs + i] : 0.0f;
            if (folds()) value = static_cast<float>(value * factor);
            plain[o * padded + i] = rounded ? round_to_bf16(value) : value;
        }
    });
    return plain;
}

const void* OneDnnConvolution::pack(Stream stream, Pass& pass, const float* weights, char* scratch) {
    pass.packing.run(threads_of(stream), stream_,
                     {{DNNL_ARG_FROM, pad_weights(stream, weights, scratch)},
                      {DNNL_ARG_TO, scratch + places_.packed},
                      {DNNL_ARG_SCRATCHPAD, scratch + places_.rest}});
    return scratch + places_.packed;
}

/// The tensor itself, or where its copy in oneDNN's type and layout belongs.
View OneDnnConvolution::staged(View view, Layout layout, std::int64_t place, char* scratch) const {
    if (view.type == operand_ && view.layout == layout) return view;
    return {scratch + place, view.shape, operand_, layout};
}

void OneDnnConvolution::forward(Stream stream, View src, const float* weights, const float* bias, View dst,
                                void* scratch) {
    auto* base = static_cast<char*>(scratch);
    const View from = staged(src, src_layout_, places_.src, base);
    const View to = staged(dst, options_.dst_layout, places_.dst, base);
    if (from.data != src.data) reorder(stream, src, from);
    if (to.data != dst.data && options_.write == Write::accumulate) copy(stream, dst, to);
    auto* shift = reinterpret_cast<float*>(base + places_.bias);
    if (biased()) std::fill_n(shift, outputs_, 0.0f);
    if (options_.bias) std::copy_n(bias, options_.dst_channels, shift);
    for (std::int64_t o = 0; folds() && o < options_.dst_channels; ++o)
        shift[o] = static_cast<float>((shift[o] - static_cast<double>(epilogue_.statistics.mean[o])) * factor_of(o) +
                                      epilogue_.weights.shift[o]);
    forward_->convolution.run(threads_of(stream), stream_,
                              {{DNNL_ARG_WEIGHTS, pack(stream, *forward_, weights, base)},
                               {DNNL_ARG_SRC, from.data},
                               {DNNL_ARG_DST, to.data},
                               {DNNL_ARG_BIAS, shift},
                               {DNNL_ARG_SCRATCHPAD, base + places_.rest}});
    if (to.data != dst.data) copy(stream, to, dst);
}

void OneDnnConvolution::backward_data(Stream stream, View diff_dst, const float* weights, View diff_src,
                                      void* scratch) {
    auto* base = static_cast<char*>(scratch);
    const View from = staged(diff_dst, options_.dst_layout, places_.dst, base);
    const View to = staged(diff_src, src_layout_, places_.src, base);
    if (from.data != diff_dst.data) copy(stream, diff_dst, from);
    data_->convolution.run(threads_of(stream), stream_,
                           {{DNNL_ARG_WEIGHTS, pack(stream, *data_, weights, base)},
                            {DNNL_ARG_DIFF_DST, from.data},
                            {DNNL_ARG_DIFF_SRC, to.data},
                            {DNNL_ARG_SCRATCHPAD, base + places_.rest}});
    if (to.data != diff_src.data) reorder(stream, to, diff_src);
}

void OneDnnConvolution::backward_weights(Stream stream, View src, View diff_dst, float* diff_weights, float* diff_bias,
                                         void* scratch) {
    if (widened_) return widened_->backward_weights(stream, src, diff_dst, diff_weights, diff_bias, scratch);
    auto* base = static_cast<char*>(scratch);
    const View from = staged(src, src_layout_, places_.src, base);
    const View diff = staged(diff_dst, options_.dst_layout, places_.dst, base);
    if (from.data != src.data) reorder(stream, src, from);
    if (diff.data != diff_dst.data) copy(stream, diff_dst, diff);
    if (own_weight_gradient_) {
        weight_gradient(stream, from, diff, options_.kernel.d, diff_weights, base + places_.rest);
    } else {
        auto* packed = base + places_.packed;
        auto* plain = reinterpret_cast<float*>(base + places_.plain);
        weights_->convolution.run(threads_of(stream), stream_,
                                  {{DNNL_ARG_SRC, from.data},
                                   {DNNL_ARG_DIFF_DST, diff.data},
                                   {DNNL_ARG_DIFF_WEIGHTS, packed},
                                   {DNNL_ARG_SCRATCHPAD, base + places_.rest}});
        weights_->packing.run(
            threads_of(stream), stream_,
            {{DNNL_ARG_FROM, packed}, {DNNL_ARG_TO, plain}, {DNNL_ARG_SCRATCHPAD, base + places_.rest}});
        const std::int64_t inputs = options_.inputs() * taps_;
        for (std::int64_t o = 0; o < options_.dst_channels; ++o)
            std::copy_n(plain + o * inputs_ * taps_, inputs, diff_weights + o * inputs);
    }
    if (diff_bias) channel_sum(stream, diff_dst, diff_bias, base + places_.rest);
}

/// Whether oneDNN can be trusted: where the kernel is larger than the source, some of 2.6's gradients of weights are
/// wrong (kernel 7 on a side of 5 at stride 2) or NaN (kernel 5 on a side of 1).
bool kernel_fits(const ConvolutionOptions& o) {
    return o.kernel.d <= o.src.d && o.kernel.h <= o.src.h && o.kernel.w <= o.src.w;
}

}  // namespace

bool has_onednn() {
    return true;
}

std::unique_ptr<Convolution> make_onednn_convolution(Stream stream, const ConvolutionOptions& options,
                                                     ConvolutionPasses passes, bool own_weight_gradient) {
    if (!options.is_plain() && !kernel_fits(options)) return nullptr;
    if (const std::int64_t planes = slab_planes(options, passes))
        return make_slab_convolution(options, planes,
                                     make_onednn_convolution(stream, slab_of(options, planes), passes));
    static_cast<void>(onednn_instructions());  // a limit holds only where it is set before oneDNN's first use
    try {
        const OneDnnThreads on(threads_of(stream), OneDnnWork::independent);
        auto made = std::make_unique<OneDnnConvolution>(options, passes, own_weight_gradient);
        // In blocks of 8 oneDNN has gradients at a stride by its plain reference alone, slower than our plain loop.
        if (!options.is_plain() && made->implementation().find("ref") != std::string::npos) return nullptr;
        return made;
    } catch (const dnnl::error& error) {
        const Shape& src = options.src;
        throw InputError("a patch is too large for this processor's convolutions: oneDNN makes none of " +
                         std::to_string(src.c) + " channels of " + std::to_string(src.d) + " x " +
                         std::to_string(src.h) + " x " + std::to_string(src.w) + " voxels (" + error.what() +
                         "); give a smaller patch");
    }
}

}  // namespace iwseg::cpu
