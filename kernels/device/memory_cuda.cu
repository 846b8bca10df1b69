#include <algorithm>
#include <string>

#include "base/bytes.h"
#include "base/error.h"
#include "kernels/cuda/launch.h"
#include "kernels/device/memory.h"

namespace iwseg::cuda {
namespace {

/// Left to the driver: it loads each kernel's code when it is first launched, and so does cuDNN.
constexpr std::int64_t kKeptForModules = std::int64_t{512} << 20;

cudaStream_t queue(Stream stream) {
    return static_cast<cudaStream_t>(stream.handle);
}

}  // namespace

void check(cudaError_t status, const char* operation) {
    if (status == cudaSuccess) return;
    cudaGetLastError();  // not to be reported again by the next call
    throw std::runtime_error(std::string("CUDA failed while ") + operation + ": " + cudaGetErrorString(status));
}

std::int64_t free_memory() {
    std::size_t free = 0, all = 0;
    check(cudaMemGetInfo(&free, &all), "asking for free memory");
    return std::max<std::int64_t>(0, static_cast<std::int64_t>(free) - kKeptForModules);
}

void* allocate(std::int64_t bytes) {
    void* memory = nullptr;
    if (bytes == 0) return memory;
    const cudaError_t status = cudaMalloc(&memory, static_cast<std::size_t>(bytes));
    if (status == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        throw InputError("the plan needs " + gigabytes(bytes) + " of GPU memory, but " + gigabytes(free_memory()) +
                         " are free; a smaller patch or batch, or precision bf16, needs less");
    }
    check(status, "allocating memory");
    return memory;
}

void release(void* memory, std::int64_t) noexcept {
    if (memory) cudaFree(memory);
}

void* allocate_host(std::int64_t bytes) {
    void* memory = nullptr;
    if (bytes > 0) check(cudaMallocHost(&memory, static_cast<std::size_t>(bytes)), "allocating pinned host memory");
    return memory;
}

void release_host(void* memory, std::int64_t) noexcept {
    if (!memory) return;
    cudaDeviceSynchronize();  // a copy may still be under way
    cudaFreeHost(memory);
}

void copy_to_device(Stream stream, const void* from, void* to, std::int64_t bytes) {
    check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyHostToDevice, queue(stream)),
          "copying to the GPU");
}

void copy_to_host(Stream stream, const void* from, void* to, std::int64_t bytes) {
    check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDeviceToHost, queue(stream)),
          "copying from the GPU");
}

void set_zero(Stream stream, void* memory, std::int64_t bytes) {
    check(cudaMemsetAsync(memory, 0, static_cast<std::size_t>(bytes), queue(stream)), "filling memory with zeros");
}

void synchronise(Stream stream) {
    check(cudaStreamSynchronize(queue(stream)), "waiting for the GPU");
}

Stream open_stream(ThreadPool*) {
    Stream opened;
    try {
        cudaStream_t stream = nullptr;
        check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "making a stream");
        opened.handle = stream;
        opened.counters = static_cast<unsigned*>(allocate(kStreamCounterBytes));
        set_zero(opened, opened.counters, kStreamCounterBytes);
    } catch (...) {
        close_stream(opened);
        throw;
    }
    return opened;
}

void close_stream(Stream stream) noexcept {
    if (stream.handle) cudaStreamDestroy(queue(stream));
    release(stream.counters, kStreamCounterBytes);
}

bool begin_recording(Stream stream) {
    check(cudaStreamBeginCapture(queue(stream), cudaStreamCaptureModeThreadLocal), "starting to record a CUDA graph");
    return true;
}

RecordedWork end_recording(Stream stream) {
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(queue(stream), &graph), "recording a CUDA graph");
    cudaGraphExec_t work = nullptr;
    const cudaError_t status = cudaGraphInstantiate(&work, graph, 0);
    cudaGraphDestroy(graph);
    check(status, "making a CUDA graph ready");
    return {work};
}

void replay(Stream stream, RecordedWork work) {
    check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(work.handle), queue(stream)), "launching a CUDA graph");
}

void release_recorded(RecordedWork work) noexcept {
    if (work.handle) cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(work.handle));
}

std::string device_description() {
    int device = 0;
    check(cudaGetDevice(&device), "asking for the GPU");
    cudaDeviceProp card{};
    check(cudaGetDeviceProperties(&card, device), "reading the GPU's properties");
    return std::string(card.name) + ", compute capability " + std::to_string(card.major) + "." +
           std::to_string(card.minor) + ", " + gigabytes(static_cast<std::int64_t>(card.totalGlobalMem));
}

}  // namespace iwseg::cuda
