// The card's memory, pinned memory, and copies between the two.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "tests/cuda_standin/queue.h"

namespace iwseg::standin {
namespace {

constexpr std::size_t kAlignment = 256, kSentinel = 256;
constexpr unsigned char kMark = 0xA5;

char* make_buffer(std::int64_t bytes, bool pinned) {
    const std::size_t all = (static_cast<std::size_t>(bytes) + kSentinel + kAlignment - 1) / kAlignment * kAlignment;
    auto* memory = static_cast<char*>(std::aligned_alloc(kAlignment, all));
    if (!memory) return nullptr;
    fill_with_garbage(memory, bytes);
    std::memset(memory + bytes, kMark, all - static_cast<std::size_t>(bytes));
    card().buffers[memory] = {bytes, pinned};
    return memory;
}

void destroy_buffer(char* memory, std::int64_t bytes) {
    for (std::size_t i = 0; i < kSentinel; ++i)
        if (static_cast<unsigned char>(memory[bytes + static_cast<std::int64_t>(i)]) != kMark) {
            card().problem("something wrote past a buffer of " + std::to_string(bytes) + " bytes");
            break;
        }
    card().buffers.erase(memory);
    std::free(memory);
}

/// What a copy does when its turn comes. Pinned memory must be there still.
void copy_now(char* to, const char* from, std::int64_t bytes, const char* pinned) {
    if (pinned && !buffer_of(pinned, bytes)) return card().problem("pinned memory was freed before a copy was done");
    const char* on_card = pinned == to ? from : pinned == from ? to : nullptr;
    if (on_card && !buffer_of(on_card, bytes))
        return card().problem("the card's memory was freed before a copy was done");
    std::memcpy(to, from, static_cast<std::size_t>(bytes));
}

}  // namespace
}  // namespace iwseg::standin

using namespace iwseg::standin;

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* all) {
    const Call call("cudaMemGetInfo");
    if (call.failure()) return call.failure();
    *free = static_cast<std::size_t>(card().options.memory - card().used);
    *all = static_cast<std::size_t>(card().options.memory);
    return cudaSuccess;
}

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
    const Call call("cudaMalloc", Call::InCapture::forbidden);
    if (call.failure()) return call.failure();
    Card& c = card();
    const auto size = static_cast<std::int64_t>(bytes);
    if (size > c.options.memory - c.used) return Call::fail(cudaErrorMemoryAllocation);
    char* made = make_buffer(size, false);
    if (!made) return Call::fail(cudaErrorMemoryAllocation);
    c.used += size;
    c.most_used = std::max(c.most_used, c.used);
    ++c.alive.allocations;
    *memory = made;
    return cudaSuccess;
}

/// Waits for all work, as CUDA's does.
cudaError_t cudaFree(void* memory) {
    const Call call("cudaFree", Call::InCapture::forbidden);
    if (!memory || call.failure() == cudaErrorStreamCaptureUnsupported) return call.failure();
    Card& c = card();
    const auto found = c.buffers.find(static_cast<char*>(memory));
    if (found == c.buffers.end() || found->second.pinned) {
        c.problem("cudaFree of what is no memory of the card");
        return Call::fail(cudaErrorInvalidValue);
    }
    finish_all();
    c.used -= found->second.bytes;
    --c.alive.allocations;
    destroy_buffer(static_cast<char*>(memory), found->second.bytes);
    return call.failure();
}

cudaError_t cudaMallocHost(void** memory, std::size_t bytes) {
    const Call call("cudaMallocHost", Call::InCapture::forbidden);
    if (call.failure()) return call.failure();
    char* made = make_buffer(static_cast<std::int64_t>(bytes), true);
    if (!made) return Call::fail(cudaErrorMemoryAllocation);
    ++card().alive.pinned;
    *memory = made;
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void* memory) {
    const Call call("cudaFreeHost", Call::InCapture::forbidden);
    if (!memory || call.failure() == cudaErrorStreamCaptureUnsupported) return call.failure();
    const auto found = card().buffers.find(static_cast<char*>(memory));
    if (found == card().buffers.end() || !found->second.pinned) {
        card().problem("cudaFreeHost of what is no pinned memory");
        return Call::fail(cudaErrorInvalidValue);
    }
    --card().alive.pinned;
    destroy_buffer(static_cast<char*>(memory), found->second.bytes);
    return call.failure();
}

/// Waits for the legacy stream only: streams that do not block are not waited for.
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
    const Call call("cudaMemcpy", Call::InCapture::forbidden);
    if (call.failure()) return call.failure();
    const auto size = static_cast<std::int64_t>(bytes);
    if (kind != cudaMemcpyHostToDevice && !require_on_card("cudaMemcpy", from, size))
        return Call::fail(cudaErrorInvalidValue);
    if (kind != cudaMemcpyDeviceToHost && !require_on_card("cudaMemcpy", to, size))
        return Call::fail(cudaErrorInvalidValue);
    const cudaError_t status = finish(card().legacy);
    if (status == cudaSuccess) std::memcpy(to, from, bytes);
    return status;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
    const Call call("cudaMemcpyAsync");
    if (call.failure()) return call.failure();
    CUstream_st* found = find(stream);
    if (!found) return Call::fail(cudaErrorInvalidResourceHandle);
    const auto size = static_cast<std::int64_t>(bytes);
    const bool down = kind == cudaMemcpyDeviceToHost, within = kind == cudaMemcpyDeviceToDevice;
    char* target = static_cast<char*>(to);
    const char* source = static_cast<const char*>(from);
    if (bytes == 0) return cudaSuccess;
    if ((down || within) && !require_on_card("cudaMemcpyAsync", from, size)) return Call::fail(cudaErrorInvalidValue);
    if (!down && !require_on_card("cudaMemcpyAsync", to, size)) return Call::fail(cudaErrorInvalidValue);
    if (within) return queue(stream, {"a copy on the card", [=] { copy_now(target, source, size, nullptr); }});
    const char* host = down ? target : source;
    const Buffer* buffer = buffer_of(host, size);
    if (buffer) return queue(stream, {"a copy of pinned memory", [=] { copy_now(target, source, size, host); }});
    // Pageable memory: what goes up is copied at once and sent later, what comes down is waited for.
    if (found->capture) {
        found->invalid = true;
        return Call::fail(cudaErrorStreamCaptureUnsupported);
    }
    if (down) {
        const cudaError_t status =
            queue(stream, {"a copy to the host", [=] { copy_now(target, source, size, nullptr); }});
        return status ? status : finish(*found);
    }
    auto sent = std::make_shared<std::vector<char>>(source, source + bytes);
    return queue(stream, {"a copy to the card", [=] { copy_now(target, sent->data(), size, nullptr); }});
}

cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes, cudaStream_t stream) {
    const Call call("cudaMemsetAsync");
    if (call.failure()) return call.failure();
    if (bytes == 0) return cudaSuccess;
    if (!require_on_card("cudaMemsetAsync", memory, static_cast<std::int64_t>(bytes)))
        return Call::fail(cudaErrorInvalidValue);
    return queue(stream, {"filling memory", [=] { std::memset(memory, value, bytes); }});
}
