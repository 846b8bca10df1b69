#include <algorithm>
#include <cmath>

#include "kernels/convolution/check.h"
#include "kernels/convolution/cudnn/trial.h"
#include "kernels/convolution/narrow.h"
#include "kernels/convolution/noise.h"
#include "kernels/cuda/launch.h"
#include "kernels/device/bf16.h"
#include "kernels/device/memory.h"
#include "kernels/norm/batch_norm.h"

namespace iwseg::cuda {
namespace {

/// Numbers of a result that are computed again; a weight's gradient sums over all voxels, so fewer of those.
constexpr int kCheckedNumbers = 512, kCheckedWeights = 12;
constexpr float kEpsilon = 1e-5f;  ///< of statistics, PyTorch's
/// Of a mean or an inverse deviation above 1, for both are f32 sums of millions in some order.
constexpr float kAllowedOfStatistics = 1e-3f;

/// Of the largest number. What is wrong is wrong by far more: this only has to lie above rounding, of results to bf16
/// (2^-9), of operands to TF32 (2^-11), and of f32 sums over millions of voxels.
double allowed(const CudnnProblem& problem) {
    return problem.type == Type::bf16 ? 1e-2 : problem.tf32 ? 3e-3 : 1e-3;
}

NoiseConvolution noise_of(const CudnnProblem& p) {
    return {p, p.bias, p.accumulate, p.normalises};
}

std::vector<double> read(const void* from, Type type, const std::vector<ExpectedNumber>& places) {
    std::vector<double> elements;
    for (const ExpectedNumber& one : places) {
        const auto* address = static_cast<const char*>(from) + one.place * bytes_of(type);
        float value = 0;
        Bf16 half{};
        void* to = type == Type::bf16 ? static_cast<void*>(&half) : &value;
        check(cudaMemcpy(to, address, static_cast<std::size_t>(bytes_of(type)), cudaMemcpyDeviceToHost),
              "reading a result");
        elements.push_back(type == Type::bf16 ? to_f32(half) : value);
    }
    return elements;
}

}  // namespace

CudnnTrial::CudnnTrial(const CudnnSession& session, const CudnnProblem& problem, std::int64_t workspace_bytes)
    : session_(session),
      problem_(problem),
      weight_count_(problem.weight_count()),
      src_(bytes_of(problem.src, problem.type, Layout::ndhwc)),
      dst_(bytes_of(problem.dst(), problem.type, Layout::ndhwc)),
      weights_(weight_count_ * bytes_of(problem.type)),
      bias_(problem.dst_channels * bytes_of(Type::f32)),
      packed_bias_(problem.dst_channels * bytes_of(problem.type)),
      workspace_(workspace_bytes),
      sum_(sizeof(std::uint64_t)),
      plain_weights_(weight_count_ * bytes_of(Type::f32)),
      sums_(problem.sums ? narrow_sums_bytes(problem.dst()) : 1),
      statistics_(2 * problem.dst_channels * bytes_of(Type::f32)),
      statistics_scratch_(problem.sums ? batch_norm_scratch_bytes(problem.dst(), Layout::ndhwc) : 1),
      before_(problem.normalises ? bytes_of(problem.src, problem.type, Layout::ndhwc) : 1),
      normalisation_(4 * problem.src.c * bytes_of(Type::f32)) {
    tensors_ = {{src_.data(), problem.src, problem.type, Layout::ndhwc},
                {dst_.data(), problem.dst(), problem.type, Layout::ndhwc},
                weights_.data(),
                static_cast<float*>(bias_.data()),
                packed_bias_.data(),
                workspace_.data(),
                {},
                static_cast<float*>(plain_weights_.data()),
                static_cast<float*>(sums_.data())};
    auto* of_src = static_cast<float*>(normalisation_.data());
    const std::int64_t c = problem_.src.c;
    tensors_.normalisation = {{of_src, of_src + c}, {of_src + 2 * c, of_src + 3 * c}};
    fill();
}

CudnnTrial::~CudnnTrial() {
    session_.leave_stream();
}

void CudnnTrial::fill() {
    const Stream stream = stream_.get();
    fill_with_noise(stream, kNoiseSrc, problem_.type, problem_.src.elements(), src_.data());
    if (problem_.normalises) {
        fill_with_noise(stream, kNoiseSrc, problem_.type, problem_.src.elements(), before_.data());
        std::vector<float> values;
        for (const float value : {kNoiseMean, kNoiseInverseDeviation, kNoiseScale, kNoiseShift})
            values.insert(values.end(), static_cast<std::size_t>(problem_.src.c), value);
        copy_to_device(stream, values.data(), normalisation_.data(), 4 * problem_.src.c * bytes_of(Type::f32));
        synchronise(stream);
    }
    fill_with_noise(stream, kNoiseDst, problem_.type, problem_.dst().elements(), dst_.data());
    fill_with_noise(stream, kNoiseWeights, problem_.type, weight_count_, weights_.data());
    fill_with_noise(stream, kNoiseBias, Type::f32, problem_.dst_channels, bias_.data());
    fill_with_noise(stream, kNoiseBias, problem_.type, problem_.dst_channels, packed_bias_.data());
}

/// A plan and, where src is to be normalised or statistics of the result are wanted, what does so before and after it:
/// like is compared with like.
void CudnnTrial::run(const ChosenPlan& chosen) {
    const Stream stream = stream_.get();
    PassTensors tensors = tensors_;
    if (problem_.normalises) {
        tensors.src.data = before_.data();
        if (!chosen.normalises()) {
            batch_norm_apply(stream, tensors.src, tensors_.normalisation.statistics, tensors_.normalisation.weights,
                             kRelu, tensors_.src);
            tensors.src = tensors_.src;
        }
    }
    session_.run(stream, chosen, tensors);
    if (!problem_.sums) return;
    auto* values = static_cast<float*>(statistics_.data());
    const BatchNormStatistics statistics{values, values + problem_.dst_channels};
    if (chosen.leaves_sums())
        narrow_statistics(stream, problem_.dst(), tensors_.sums, kEpsilon, statistics, {});
    else
        batch_norm_statistics(stream, tensors_.dst, kEpsilon, statistics, {}, statistics_scratch_.data());
}

/// Of a weight, (O, C / groups, kernel), from its place in (O, kernel, C / groups).
std::int64_t CudnnTrial::plain_place(std::int64_t packed) const {
    const std::int64_t inputs = problem_.inputs(), taps = problem_.taps();
    return (packed / inputs / taps * inputs + packed % inputs) * taps + packed / inputs % taps;
}

std::string CudnnTrial::wrong(const ChosenPlan& chosen) {
    const NoiseConvolution noise = noise_of(problem_);
    const bool weights = problem_.pass == Pass::weights, data = problem_.pass == Pass::data;
    const auto expected = weights ? expected_weight_gradient(noise, kCheckedWeights)
                          : data  ? expected_data_gradient(noise, kCheckedNumbers)
                                  : expected_forward(noise, kCheckedNumbers);
    const bool plain = weights && !chosen.packs_gradient();  // as the parameters' gradient lies
    const void* result = plain ? plain_weights_.data() : weights ? weights_.data() : data ? src_.data() : dst_.data();
    const Type type = plain ? Type::f32 : problem_.type;
    auto places = expected;
    for (ExpectedNumber& one : places)
        if (plain) one.place = plain_place(one.place);
    const std::int64_t count = weights ? weight_count_ : data ? problem_.src.elements() : problem_.dst().elements();
    const auto once = [&] {
        fill();
        run(chosen);
        return trial_checksum(stream_.get(), result, count * bytes_of(type), sum_.data());
    };
    const std::uint64_t first = once();
    std::string difference = first_difference(expected, read(result, type, places), allowed(problem_));
    if (difference.empty() && chosen.leaves_sums()) difference = wrong_statistics();
    if (!difference.empty() || !problem_.deterministic || first == once()) return difference;
    return "two runs differ";
}

/// Of those that were made on the way, by those of a pass of its own over the same result.
std::string CudnnTrial::wrong_statistics() {
    const auto values = [&] {
        std::vector<float> got(2 * static_cast<std::size_t>(problem_.dst_channels));
        copy_to_host(stream_.get(), statistics_.data(), got.data(), 2 * problem_.dst_channels * bytes_of(Type::f32));
        synchronise(stream_.get());
        return got;
    };
    const std::vector<float> got = values();
    auto* to = static_cast<float*>(statistics_.data());
    batch_norm_statistics(stream_.get(), tensors_.dst, kEpsilon, {to, to + problem_.dst_channels}, {},
                          statistics_scratch_.data());
    const std::vector<float> expected = values();
    for (std::size_t i = 0; i < got.size(); ++i)
        if (!(std::abs(got[i] - expected[i]) <= kAllowedOfStatistics * (1 + std::abs(expected[i]))))
            return "statistics of its result on the way are " + std::to_string(got[i]) + " in place of " +
                   std::to_string(expected[i]);
    return "";
}

}  // namespace iwseg::cuda
