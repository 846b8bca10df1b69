#include <algorithm>

#include "base/bytes.h"
#include "base/error.h"
#include "kernels/convolution/cudnn/session.h"
#include "kernels/convolution/direct.h"
#include "kernels/convolution/narrow.h"
#include "kernels/convolution/weights.h"
#include "kernels/cuda/launch.h"
#include "kernels/elementwise/elementwise.h"

// Convolutions on a GPU: the network's two ends by own kernels, all others by plans of cuDNN's, with channels
// innermost, or by what was measured to be faster: own kernels for few channels or for any kernel, stride and groups
// (kernels/convolution/own_engines.h), or cuBLASLt's products of matrices (kernels/convolution/product.h). Weights are
// packed as they change, at each step: for all convolutions at once where the caller does that, else at each call. A
// sum is part of the convolution, a bias too where cuDNN offers it.
namespace iwseg::cuda {
namespace {

using Session = std::shared_ptr<CudnnSession>;
using Chosen = std::shared_ptr<const ChosenPlan>;

/// One for each pass; null: direct kernels.
struct PassPlans {
    Chosen forward, data, weights;
};

std::string name_of(const ChosenPlan& plan) {
    return (plan.is_cudnns() ? "cudnn " : "") + plan.engine();
}

class CudnnConvolution final : public Convolution {
  public:
    CudnnConvolution(Session session, const ConvolutionOptions& options, ConvolutionPasses passes, PassPlans plans);
    /// Its context's stream may be closed next, and the session live on with another's convolutions.
    ~CudnnConvolution() override { session_->leave_stream(); }

    std::string implementation() const override;
    std::int64_t scratch_bytes() const override { return scratch_bytes_; }
    WeightForm weight_form() const override;
    void use_packed(const void* weights, void* diff_weights) override {
        packed_ = weights;
        packed_gradient_ = diff_weights;
    }
    bool adds_elsewhere() const override { return forward_ || direct_->adds_elsewhere(); }
    void forward(Stream, View src, const float* weights, const float* bias, View dst, void* scratch) override;
    void forward_sum(Stream, View src, const float* weights, const float* bias, View summand, View dst,
                     void* scratch) override;
    std::int64_t sums_bytes() const override {
        return forward_ && forward_->leaves_sums() ? narrow_sums_bytes(options_.dst()) : 0;
    }
    void use_sums(void* sums) override { sums_ = static_cast<float*>(sums); }
    void statistics(Stream stream, const void* sums, float epsilon, BatchNormStatistics statistics,
                    RunningStatistics running) override {
        narrow_statistics(stream, options_.dst(), static_cast<const float*>(sums), epsilon, statistics, running);
    }
    NormalisingPasses normalises() const override {
        return {forward_ && forward_->normalises(), weights_ && weights_->normalises()};
    }
    void use_normalisation(BatchNormStatistics statistics, BatchNormWeights weights) override {
        normalisation_ = {statistics, weights};
    }
    void backward_data(Stream, View diff_dst, const float* weights, View diff_src, void* scratch) override;
    void backward_weights(Stream, View src, View diff_dst, float* diff_weights, float* diff_bias,
                          void* scratch) override;

  private:
    WeightShape weight_shape() const {
        return {options_.dst_channels, options_.inputs(), static_cast<int>(options_.taps())};
    }
    PassTensors tensors(View src, View dst, void* scratch) const;
    /// The same with weights, packed here unless they are already.
    PassTensors with_weights(Stream stream, const float* weights, const PassTensors& tensors) const;
    void run_forward(Stream stream, const float* weights, const float* bias, const PassTensors& tensors) const;

    Session session_;
    ConvolutionOptions options_;
    Chosen forward_, data_, weights_;
    std::unique_ptr<Convolution> direct_;  ///< for passes that cuDNN has no plan for
    const void* packed_ = nullptr;         ///< by the caller, weights and bias
    void* packed_gradient_ = nullptr;      ///< for the caller
    float* sums_ = nullptr;                ///< likewise
    NarrowPrologue normalisation_;         ///< of src
    std::int64_t bias_at_ = 0, workspace_at_ = 0, scratch_bytes_ = 0;
};

CudnnConvolution::CudnnConvolution(Session session, const ConvolutionOptions& options, ConvolutionPasses passes,
                                   PassPlans plans)
    : session_(std::move(session)),
      options_(options),
      forward_(std::move(plans.forward)),
      data_(std::move(plans.data)),
      weights_(std::move(plans.weights)) {
    // Packed weights, the rounded bias, then cuDNN's workspace.
    bias_at_ = aligned(weight_shape().count() * bytes_of(options_.src_type));
    workspace_at_ = bias_at_ + aligned(options_.dst_channels * bytes_of(options_.src_type));
    scratch_bytes_ = workspace_at_;
    for (const Chosen& one : {forward_, data_, weights_})
        if (one) scratch_bytes_ = std::max(scratch_bytes_, workspace_at_ + one->plan.workspace_bytes);
    if (options_.bias && passes.backward_weights)
        scratch_bytes_ = std::max(scratch_bytes_, channel_sum_scratch_bytes(options_.dst(), options_.dst_layout));
    if (forward_ && (data_ || !passes.backward_data) && (weights_ || !passes.backward_weights)) return;
    direct_ = make_direct_convolution(options_, passes);
    scratch_bytes_ = std::max(scratch_bytes_, direct_->scratch_bytes());
}

std::string CudnnConvolution::implementation() const {
    const auto text = [](const Chosen& chosen) { return chosen ? name_of(*chosen) : "direct"; };
    return "forward " + text(forward_) + ", data " + text(data_) + ", weights " + text(weights_);
}

PassTensors CudnnConvolution::tensors(View src, View dst, void* scratch) const {
    auto* base = static_cast<char*>(scratch);
    src.layout = dst.layout = Layout::ndhwc;  // as one channel lies, whatever it is called
    return {src, dst, base, nullptr, base + bias_at_, base + workspace_at_, {}, nullptr};
}

void CudnnConvolution::forward(Stream stream, View src, const float* weights, const float* bias, View dst,
                               void* scratch) {
    if (!forward_) return direct_->forward(stream, src, weights, bias, dst, scratch);
    run_forward(stream, weights, bias, tensors(src, dst, scratch));
}

void CudnnConvolution::forward_sum(Stream stream, View src, const float* weights, const float* bias, View summand,
                                   View dst, void* scratch) {
    if (!forward_) return direct_->forward_sum(stream, src, weights, bias, summand, dst, scratch);
    if (options_.write != Write::accumulate) throw std::logic_error("convolution: a summand for one that does not add");
    PassTensors used = tensors(src, dst, scratch);
    used.summand = summand;
    used.summand.layout = used.dst.layout;  // which a sum has as its result
    run_forward(stream, weights, bias, used);
}

PassTensors CudnnConvolution::with_weights(Stream stream, const float* weights, const PassTensors& tensors) const {
    PassTensors used = tensors;
    if (!packed_) {
        pack_weights(stream, weights, weight_shape(), options_.src_type, used.weights);
        return used;
    }
    auto* base = static_cast<char*>(const_cast<void*>(packed_));  // read only
    used.weights = base;
    used.packed_bias = base + bias_at_;
    return used;
}

WeightForm CudnnConvolution::weight_form() const {
    WeightForm form;
    form.packed = forward_ || data_;
    // Own kernels read packed weights, but a plain bias, and leave a plain gradient, as products do.
    form.packed_bias = forward_ && forward_->packs_bias();
    form.packed_gradient = weights_ && weights_->packs_gradient();
    form.type = options_.src_type;
    form.bias_at = bias_at_;
    form.bytes = workspace_at_;
    return form;
}

void CudnnConvolution::run_forward(Stream stream, const float* weights, const float* bias,
                                   const PassTensors& tensors) const {
    PassTensors used = with_weights(stream, weights, tensors);
    used.sums = sums_;
    used.normalisation = normalisation_;
    if (options_.bias) {
        used.bias = bias;
        if (forward_->packs_bias() && !packed_)
            pack_weights(stream, bias, {1, options_.dst_channels, 1}, options_.src_type, used.packed_bias);
    }
    session_->run(stream, *forward_, used);
}

void CudnnConvolution::backward_data(Stream stream, View diff_dst, const float* weights, View diff_src, void* scratch) {
    if (!data_) return direct_->backward_data(stream, diff_dst, weights, diff_src, scratch);
    session_->run(stream, *data_, with_weights(stream, weights, tensors(diff_src, diff_dst, scratch)));
}

void CudnnConvolution::backward_weights(Stream stream, View src, View diff_dst, float* diff_weights, float* diff_bias,
                                        void* scratch) {
    if (!weights_) return direct_->backward_weights(stream, src, diff_dst, diff_weights, diff_bias, scratch);
    PassTensors used = tensors(src, diff_dst, scratch);
    used.plain_weights = diff_weights;
    used.normalisation = normalisation_;
    if (packed_gradient_) used.weights = packed_gradient_;
    session_->run(stream, *weights_, used);
    if (!packed_gradient_ && weights_->packs_gradient())
        unpack_weights(stream, used.weights, weight_shape(), options_.src_type, diff_weights);
    if (options_.bias && diff_bias) channel_sum(stream, diff_dst, diff_bias, scratch);
}

void refuse_bf16_without_support() {
    int device = 0;
    check(cudaGetDevice(&device), "asking for the GPU");
    cudaDeviceProp card{};
    check(cudaGetDeviceProperties(&card, device), "reading the GPU's properties");
    require_bf16(card.major * 10 + card.minor, card.name);
}

/// Or to the direct kernels. Throws where neither takes it.
bool goes_to_cudnn(const ConvolutionOptions& options, ConvolutionPasses passes) {
    if (options.src_type == Type::bf16 || options.dst_type == Type::bf16) refuse_bf16_without_support();
    options.check();
    return is_for_cudnn(options, passes);
}

}  // namespace

std::unique_ptr<Convolution> make_convolution(Stream, const ConvolutionOptions& options, ConvolutionPasses passes) {
    if (!goes_to_cudnn(options, passes)) return make_direct_convolution(options, passes);
    const Session session = CudnnSession::shared();
    const auto choose = [&](Pass pass) { return session->choose(problem_of(options, pass), options.plan_file); };
    PassPlans plans;
    plans.forward = choose(Pass::forward);
    if (passes.backward_data) plans.data = choose(Pass::data);
    if (passes.backward_weights) plans.weights = choose(Pass::weights);
    return std::make_unique<CudnnConvolution>(session, options, passes, plans);
}

std::vector<ConvolutionEngine> convolution_engines(Stream, const ConvolutionOptions& options, ConvolutionPass pass) {
    const ConvolutionPasses passes{pass == Pass::data, pass == Pass::weights};
    std::vector<ConvolutionEngine> engines;
    const auto direct = [=] { return make_direct_convolution(options, passes); };
    if (!goes_to_cudnn(options, passes)) return {{"direct", "taken", direct}};
    const Session session = CudnnSession::shared();
    const CudnnProblem problem = problem_of(options, pass);
    for (ChosenPlan& one : session->plans(problem)) {
        const auto plan = std::make_shared<const ChosenPlan>(std::move(one));
        PassPlans plans;
        (pass == Pass::forward ? plans.forward : pass == Pass::data ? plans.data : plans.weights) = plan;
        engines.push_back({name_of(*plan),
                           CudnnSession::measures(problem) ? "timed; taken where it is the fastest that is right"
                                                           : "tried; taken where it is the first that is right",
                           [=] { return std::make_unique<CudnnConvolution>(session, options, passes, plans); }});
    }
    // Of kernels and strides that are not plain it is the general one, which is among them.
    if (options.is_plain() || engines.empty())
        engines.push_back({"direct", engines.empty() ? "taken" : "taken where none of these is right", direct});
    return engines;
}

Layout preferred_layout(std::int64_t) {
    return Layout::ndhwc;
}

}  // namespace iwseg::cuda
