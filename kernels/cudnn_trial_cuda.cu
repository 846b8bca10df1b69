#include "kernels/cudnn_trial.h"

#include <algorithm>

#include "kernels/convolution_check.h"
#include "kernels/convolution_noise.h"
#include "kernels/bf16.h"
#include "kernels/launch.h"
#include "kernels/memory.h"

namespace iwseg::cuda {
namespace {

/// Numbers of a result that are computed again; a weight's gradient sums over all voxels, so fewer of those.
constexpr int kCheckedNumbers = 512, kCheckedWeights = 12;
constexpr int kRuns = 3, kRounds = 3;

/// Of the largest number. What is wrong is wrong by far more: this only has to lie above rounding, of results to bf16
/// (2^-9), of operands to TF32 (2^-11), and of f32 sums over millions of voxels.
double allowed(const CudnnProblem& problem) { return problem.type == Type::bf16 ? 1e-2 : problem.tf32 ? 3e-3 : 1e-3; }

NoiseConvolution noise_of(const CudnnProblem& p) { return {p.src, p.outputs, p.kernel, p.bias, p.accumulate}; }

class Event {
  public:
    Event() { check(cudaEventCreate(&event_), "making an event"); }
    ~Event() { cudaEventDestroy(event_); }
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;
    cudaEvent_t get() const { return event_; }

  private:
    cudaEvent_t event_ = nullptr;
};

std::vector<double> read(const void* from, Type type, const std::vector<ExpectedNumber>& places) {
    std::vector<double> numbers;
    for (const ExpectedNumber& one : places) {
        const auto* address = static_cast<const char*>(from) + one.place * bytes_of(type);
        float value = 0;
        Bf16 half{};
        void* to = type == Type::bf16 ? static_cast<void*>(&half) : &value;
        check(cudaMemcpy(to, address, static_cast<std::size_t>(bytes_of(type)), cudaMemcpyDeviceToHost), "reading a result");
        numbers.push_back(type == Type::bf16 ? to_f32(half) : value);
    }
    return numbers;
}

}  // namespace

TrialMemory::TrialMemory(std::int64_t bytes) : data_(allocate(bytes)), bytes_(bytes) {}
TrialMemory::~TrialMemory() { release(data_, bytes_); }

CudnnTrial::CudnnTrial(const CudnnSession& session, const CudnnProblem& problem, std::int64_t workspace_bytes)
    : session_(session),
      problem_(problem),
      weight_count_(problem.outputs * problem.src.c * problem.kernel * problem.kernel * problem.kernel),
      src_(bytes_of(problem.src, problem.type, Layout::ndhwc)),
      dst_(bytes_of(problem.dst(), problem.type, Layout::ndhwc)),
      weights_(weight_count_ * bytes_of(problem.type)),
      bias_(problem.outputs * bytes_of(Type::f32)),
      packed_bias_(problem.outputs * bytes_of(problem.type)),
      workspace_(workspace_bytes) {
    tensors_ = {{src_.data(), problem.src, problem.type, Layout::ndhwc},
                {dst_.data(), problem.dst(), problem.type, Layout::ndhwc},
                weights_.data(),
                static_cast<float*>(bias_.data()),
                packed_bias_.data(),
                workspace_.data()};
    stream_ = open_stream(nullptr);
    fill();
}

CudnnTrial::~CudnnTrial() { close_stream(stream_); }

void CudnnTrial::fill() {
    fill_with_noise(stream_, kNoiseSrc, problem_.type, problem_.src.elements(), src_.data());
    fill_with_noise(stream_, kNoiseDst, problem_.type, problem_.dst().elements(), dst_.data());
    fill_with_noise(stream_, kNoiseWeights, problem_.type, weight_count_, weights_.data());
    fill_with_noise(stream_, kNoiseBias, Type::f32, problem_.outputs, bias_.data());
    fill_with_noise(stream_, kNoiseBias, problem_.type, problem_.outputs, packed_bias_.data());
}

std::optional<double> CudnnTrial::seconds(const ChosenPlan& chosen) {
    try {
        session_.run(stream_, chosen, tensors_);
    } catch (const std::runtime_error&) {
        return std::nullopt;
    }
    synchronise(stream_);
    if (!records(chosen)) return std::nullopt;
    const Event before, after;
    float best = 1e30f;
    for (int round = 0; round < kRounds; ++round) {
        check(cudaEventRecord(before.get(), static_cast<cudaStream_t>(stream_.handle)), "measuring a plan");
        for (int i = 0; i < kRuns; ++i) session_.run(stream_, chosen, tensors_);
        check(cudaEventRecord(after.get(), static_cast<cudaStream_t>(stream_.handle)), "measuring a plan");
        synchronise(stream_);
        float milliseconds = 0;
        check(cudaEventElapsedTime(&milliseconds, before.get(), after.get()), "measuring a plan");
        best = std::min(best, milliseconds / kRuns);
    }
    return best * 1e-3;
}

/// Steps are recorded as CUDA graphs, and some engines do what a recording forbids.
bool CudnnTrial::records(const ChosenPlan& chosen) {
    begin_recording(stream_);
    bool recorded = true;
    try {
        session_.run(stream_, chosen, tensors_);
    } catch (const std::runtime_error&) {
        recorded = false;
    }
    RecordedWork work;
    try {
        work = end_recording(stream_);
        if (recorded) replay(stream_, work);
        synchronise(stream_);
    } catch (const std::runtime_error&) {
        recorded = false;
    }
    release_recorded(work);
    return recorded;
}

std::string CudnnTrial::wrong(const ChosenPlan& chosen) {
    const NoiseConvolution noise = noise_of(problem_);
    const bool weights = problem_.pass == Pass::weights, data = problem_.pass == Pass::data;
    const auto expected = weights ? expected_weight_gradient(noise, kCheckedWeights)
                          : data  ? expected_data_gradient(noise, kCheckedNumbers)
                                  : expected_forward(noise, kCheckedNumbers);
    const void* result = weights ? weights_.data() : data ? src_.data() : dst_.data();
    const auto once = [&] {
        fill();
        session_.run(stream_, chosen, tensors_);
        synchronise(stream_);
        return read(result, problem_.type, expected);
    };
    const std::vector<double> got = once();
    const std::string difference = first_difference(expected, got, allowed(problem_));
    if (!difference.empty() || !problem_.deterministic || got == once()) return difference;
    return "two runs differ";
}

}  // namespace iwseg::cuda
