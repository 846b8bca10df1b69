#include "kernels/device/timing.h"

#include <cublas_v2.h>
#include <nvtx3/nvToolsExt.h>

#include <algorithm>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "kernels/cuda/launch.h"
#include "kernels/device/memory.h"

namespace iwseg::cuda {
namespace {

cudaEvent_t event_of(Event event) {
    return static_cast<cudaEvent_t>(event.handle);
}

void check_blas(cublasStatus_t status, const char* operation) {
    if (status != CUBLAS_STATUS_SUCCESS)
        throw std::runtime_error(std::string("cuBLAS failed while ") + operation + ": " +
                                 cublasGetStatusString(status));
}

struct Released {
    void operator()(cublasHandle_t handle) const { cublasDestroy(handle); }
    void operator()(void* memory) const { cudaFree(memory); }
};

/// Fills memory with values around zero: multiplying zeros takes less power than elements do, so that a card runs it at
/// a higher clock than it has for real work. bytes: a multiple of the pattern's.
void fill_with_noise(Stream stream, void* memory, std::size_t bytes, bool bf16) {
    constexpr std::size_t kPattern = std::size_t{1} << 20;
    std::vector<std::uint32_t> pattern(kPattern / 4);
    std::uint32_t state = 1;
    for (std::uint32_t& word : pattern) {
        state ^= state << 13, state ^= state >> 17, state ^= state << 5;
        // Sign and fraction are random, the exponent is that of 0.5 to 1: of one f32, or of two bf16.
        word = bf16 ? (state & 0x807F807Fu) | 0x3F003F00u : (state & 0x807FFFFFu) | 0x3F000000u;
    }
    for (std::size_t at = 0; at < bytes; at += kPattern)
        check(cudaMemcpyAsync(static_cast<char*>(memory) + at, pattern.data(), std::min(kPattern, bytes - at),
                              cudaMemcpyHostToDevice, static_cast<cudaStream_t>(stream.handle)),
              "filling matrices");
    synchronise(stream);  // the pattern goes away
}

}  // namespace

Event record_event(Stream stream, Event used) {
    cudaEvent_t event = event_of(used);
    if (!event) check(cudaEventCreate(&event), "making an event");
    const cudaError_t status = cudaEventRecord(event, static_cast<cudaStream_t>(stream.handle));
    if (status != cudaSuccess && !used.handle) cudaEventDestroy(event);  // which nobody else knows of
    check(status, "recording an event");
    return {event, 0};
}

void wait_in_stream(Stream stream, Event event) {
    if (!event.handle) return;
    check(cudaStreamWaitEvent(static_cast<cudaStream_t>(stream.handle), event_of(event), 0), "having a stream wait");
}

void wait_for(Event event) {
    if (event.handle) check(cudaEventSynchronize(event_of(event)), "waiting for the GPU");
}

double seconds_between(Event from, Event to) {
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, event_of(from), event_of(to)), "reading the time between events");
    return milliseconds * 1e-3;
}

void release_event(Event event) noexcept {
    if (event.handle) cudaEventDestroy(event_of(event));
}

bool completed(Event event) {
    const cudaError_t status = cudaEventQuery(event_of(event));
    if (status == cudaErrorNotReady) return false;
    check(status, "asking whether an event was reached");
    return true;
}

void begin_range(const char* name) {
    nvtxRangePushA(name);
}
void end_range() {
    nvtxRangePop();
}

double arithmetic_peak(Stream stream, bool bf16) {
    constexpr int kSide = 8192;
    cublasHandle_t raw = nullptr;
    check_blas(cublasCreate(&raw), "making a handle");
    const std::unique_ptr<std::remove_pointer_t<cublasHandle_t>, Released> handle(raw);
    check_blas(cublasSetStream(raw, static_cast<cudaStream_t>(stream.handle)), "choosing a stream");
    const std::size_t bytes = std::size_t{kSide} * kSide * (bf16 ? 2 : 4);
    void* memory = nullptr;
    check(cudaMalloc(&memory, 3 * bytes), "allocating matrices");
    const std::unique_ptr<void, Released> matrices(memory);
    fill_with_noise(stream, memory, 3 * bytes, bf16);
    char* a = static_cast<char*>(memory);
    const cudaDataType type = bf16 ? CUDA_R_16BF : CUDA_R_32F;
    const float one = 1, zero = 0;
    double best = 0;
    Event begin, end;
    for (int round = 0; round < 10; ++round) {
        begin = record_event(stream, begin);
        check_blas(
            cublasGemmEx(raw, CUBLAS_OP_N, CUBLAS_OP_N, kSide, kSide, kSide, &one, a, type, kSide, a + bytes, type,
                         kSide, &zero, a + 2 * bytes, type, kSide, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
            "multiplying matrices");
        end = record_event(stream, end);
        wait_for(end);
        best = std::max(best, 2.0 * kSide * kSide * kSide / seconds_between(begin, end));
    }
    release_event(begin);
    release_event(end);
    return best;
}

}  // namespace iwseg::cuda
