#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "tests/cuda_standin/queue.h"

namespace iwseg::standin {
namespace {

std::unique_ptr<Card>& place() {
    static auto card = std::make_unique<Card>();
    return card;
}

/// The stream that this thread captures into, or null.
CUstream_st* captured_here() {
    for (const cudaStream_t stream : card().streams)
        if (stream->capture && stream->capturing_thread == std::this_thread::get_id()) return stream;
    return nullptr;
}

}  // namespace

Card& card() {
    return *place();
}

std::string Alive::text() const {
    std::string text;
    const auto one = [&](int count, const char* what) {
        if (count != 0) text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + what;
    };
    one(allocations, "allocations"), one(pinned, "pinned buffers"), one(streams, "streams"), one(events, "events");
    one(graphs, "graphs"), one(recorded, "recorded graphs"), one(cudnn_handles, "handles of cuDNN");
    one(descriptors, "descriptors"), one(blas_handles, "handles of cuBLAS"), one(ranges, "open ranges");
    one(captures, "captures under way");
    return text.empty() ? "nothing" : text;
}

void insert_card(const CardOptions& options) {
    auto fresh = std::make_unique<Card>();
    fresh->options = options;
    fresh->random.seed(options.seed);
    fresh->on_destroy = card().on_destroy;
    if (const Alive left = card().alive; !(left == Alive{})) fresh->problem("left on the card before: " + left.text());
    place() = std::move(fresh);
}

Alive alive() {
    return card().alive;
}
std::vector<std::string> take_problems() {
    return std::exchange(card().problems, {});
}
double clock_seconds() {
    return card().seconds;
}
std::int64_t bytes_used() {
    return card().used;
}
std::int64_t most_bytes_used() {
    return card().most_used;
}

void fail_call(std::int64_t number, Failure failure) {
    card().until_failure = number;
    card().failure = failure;
}

std::vector<const char*> take_calls() {
    return std::exchange(card().calls, {});
}
std::vector<const char*> take_calls_in_ranges() {
    return std::exchange(card().calls_in_ranges, {});
}

// ----------------------------------------------------------------------------------------------------------------------

Call::Call(const char* function, InCapture in_capture) : lock_(card().mutex), failure_(cudaSuccess) {
    Card& c = card();
    c.calls.push_back(function);
    if (c.alive.ranges > 0) c.calls_in_ranges.push_back(function);
    maybe_work();
    const bool hit = c.until_failure > 0 && --c.until_failure == 0;
    if (hit && c.failure == Failure::for_good) c.lost = cudaErrorIllegalState;
    if (c.lost != cudaSuccess) {
        failure_ = fail(c.lost);
    } else if (hit) {
        failure_ = fail(c.failure == Failure::memory ? cudaErrorMemoryAllocation : cudaErrorUnknown);
    } else if (in_capture == InCapture::forbidden) {
        if (CUstream_st* stream = captured_here()) {
            stream->invalid = true;
            failure_ = fail(cudaErrorStreamCaptureUnsupported);
        }
    }
}

cudaError_t Call::fail(cudaError_t error) {
    return card().last = error;
}

const Buffer* buffer_of(const void* memory, std::int64_t bytes) {
    const auto* first = static_cast<const char*>(memory);
    auto behind = card().buffers.upper_bound(first);
    if (behind == card().buffers.begin()) return nullptr;
    const auto& [start, buffer] = *std::prev(behind);
    return first + bytes <= start + buffer.bytes ? &buffer : nullptr;
}

bool require_on_card(const char* what, const void* memory, std::int64_t bytes) {
    const Buffer* buffer = buffer_of(memory, bytes);
    if (buffer && !buffer->pinned) return true;
    card().problem(std::string(what) + ": " + std::to_string(bytes) + " bytes that are not in the card's memory");
    return false;
}

void fill_with_garbage(void* memory, std::int64_t bytes) {
    const auto count = static_cast<std::size_t>(bytes);
    if (card().options.seed == 0 || card().random() % 2 == 0) {
        std::memset(memory, 0xFF, count);  // NaN, or -1
        return;
    }
    auto* byte = static_cast<unsigned char*>(memory);
    for (std::size_t i = 0; i < count; i += 8) {
        const std::uint64_t bits = card().random();
        std::memcpy(byte + i, &bits, std::min<std::size_t>(8, count - i));
    }
}

}  // namespace iwseg::standin

// ----------------------------------------------------------------------------------------------------------------------

using namespace iwseg::standin;

const char* cudaGetErrorString(cudaError_t error) {
    switch (error) {
        case cudaSuccess:
            return "no error";
        case cudaErrorInvalidValue:
            return "invalid argument";
        case cudaErrorMemoryAllocation:
            return "out of memory";
        case cudaErrorInvalidConfiguration:
            return "invalid configuration argument";
        case cudaErrorInsufficientDriver:
            return "CUDA driver version is insufficient for CUDA runtime version";
        case cudaErrorNoDevice:
            return "no CUDA-capable device is detected";
        case cudaErrorInvalidDevice:
            return "invalid device ordinal";
        case cudaErrorNoKernelImageForDevice:
            return "no kernel image is available for execution on the device";
        case cudaErrorInvalidResourceHandle:
            return "invalid resource handle";
        case cudaErrorNotReady:
            return "device not ready";
        case cudaErrorLaunchFailure:
            return "unspecified launch failure";
        case cudaErrorStreamCaptureUnsupported:
            return "operation not permitted when stream is capturing";
        case cudaErrorStreamCaptureInvalidated:
            return "operation failed due to a previous error during capture";
        case cudaErrorIllegalState:
            return "the operation cannot be performed in the present state";
        case cudaErrorUnknown:
            return "unknown error";
    }
    return "unrecognized error code";
}

cudaError_t cudaGetLastError() {
    return std::exchange(card().last, card().lost);
}

cudaError_t cudaRuntimeGetVersion(int* version) {
    const Call call("cudaRuntimeGetVersion");
    *version = card().options.runtime;
    return call.failure();
}

cudaError_t cudaDriverGetVersion(int* version) {
    const Call call("cudaDriverGetVersion");
    *version = card().options.driver;
    return call.failure();
}

cudaError_t cudaGetDeviceCount(int* count) {
    const Call call("cudaGetDeviceCount");
    if (call.failure()) return call.failure();
    const CardOptions& options = card().options;
    *count = 0;
    if (options.driver / 1000 < options.runtime / 1000) return Call::fail(cudaErrorInsufficientDriver);
    if (options.cards == 0) return Call::fail(cudaErrorNoDevice);
    *count = options.cards;
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
    const Call call("cudaGetDevice");
    *device = 0;
    return call.failure();
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
    const Call call("cudaGetDeviceProperties");
    if (call.failure()) return call.failure();
    const CardOptions& options = card().options;
    if (device < 0 || device >= options.cards) return Call::fail(cudaErrorInvalidDevice);
    *properties = {};
    options.name.copy(properties->name, sizeof properties->name - 1);
    properties->major = options.major;
    properties->minor = options.minor;
    properties->totalGlobalMem = static_cast<std::size_t>(options.memory);
    return cudaSuccess;
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) {
    const Call call("cudaFuncGetAttributes");
    if (call.failure()) return call.failure();
    if (!card().options.holds_kernels) return Call::fail(cudaErrorNoKernelImageForDevice);
    *attributes = {card().options.major * 10 + card().options.minor};
    return cudaSuccess;
}
