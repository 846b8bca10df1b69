// Streams, events and graphs: what is queued, and when it is done.
#include "tests/cuda_standin/queue.h"

#include <algorithm>
#include <exception>

namespace iwseg::standin {
namespace {

bool is_ready(const CUstream_st& stream) {
    return !stream.queue.empty() && (!stream.queue.front().ready || stream.queue.front().ready());
}

/// Does the first thing queued on a stream.
void step(CUstream_st& stream) {
    const Work work = std::move(stream.queue.front());
    stream.queue.pop_front();
    Card& c = card();
    c.seconds += work.seconds;
    try {
        work.run();
    } catch (const std::exception& error) {
        c.problem(work.name + ": " + error.what());
        c.lost = cudaErrorLaunchFailure;
    }
}

std::vector<CUstream_st*> ready_streams() {
    std::vector<CUstream_st*> ready;
    if (is_ready(card().legacy)) ready.push_back(&card().legacy);
    for (CUstream_st* stream : card().streams)
        if (is_ready(*stream)) ready.push_back(stream);
    return ready;
}

/// Steps until `done`: preferably the stream that is waited for, as long as chance does not choose another.
template <class Done>
cudaError_t work_until(CUstream_st* preferred, Done&& done) {
    Card& c = card();
    while (!done() && c.lost == cudaSuccess) {
        const std::vector<CUstream_st*> ready = ready_streams();
        if (ready.empty()) {
            c.problem("a wait for what is never done");
            return Call::fail(cudaErrorUnknown);
        }
        const bool chance = c.options.seed != 0 && c.random() % 3 == 0;
        const bool take_preferred = preferred && is_ready(*preferred) && !chance;
        step(take_preferred ? *preferred : *ready[c.random() % ready.size()]);
    }
    return c.lost != cudaSuccess ? Call::fail(c.lost) : cudaSuccess;
}

}  // namespace

CUstream_st* find(cudaStream_t stream) {
    if (!stream) return &card().legacy;
    if (card().streams.count(stream)) return stream;
    card().problem("a stream is used that has been destroyed or never was");
    return nullptr;
}

cudaError_t queue(cudaStream_t stream, Work work) {
    CUstream_st* found = find(stream);
    if (!found) return Call::fail(cudaErrorInvalidResourceHandle);
    if (!found->capture) {
        found->queue.push_back(std::move(work));
        return cudaSuccess;
    }
    if (found->invalid) return Call::fail(cudaErrorStreamCaptureInvalidated);
    found->capture->work.push_back(std::move(work));
    return cudaSuccess;
}

cudaError_t finish(CUstream_st& stream) {
    return work_until(&stream, [&] { return stream.queue.empty(); });
}

cudaError_t finish_all() {
    return work_until(nullptr, [] {
        return card().legacy.queue.empty() && std::all_of(card().streams.begin(), card().streams.end(),
                                                          [](const auto* stream) { return stream->queue.empty(); });
    });
}

cudaError_t finish(const Moment& moment) {
    return work_until(nullptr, [&] { return moment.reached >= moment.recorded; });
}

void maybe_work() {
    Card& c = card();
    if (c.options.seed == 0) return;
    while (c.random() % 4 == 0) {
        const std::vector<CUstream_st*> ready = ready_streams();
        if (ready.empty()) return;
        step(*ready[c.random() % ready.size()]);
    }
}

cudaError_t launch_kernel(const cudaLaunchConfig_t& config, const void* kernel, std::function<void()> thread,
                          const char* name) {
    const Call call("cudaLaunchKernelEx");
    if (call.failure()) return call.failure();
    Card& c = card();
    if (!c.options.holds_kernels) return Call::fail(cudaErrorNoKernelImageForDevice);
    const dim3 grid = config.grid, block = config.block;
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535 || block.x == 0 || block.y == 0 ||
        block.z == 0 || std::size_t{block.x} * block.y * block.z > 1024)
        return Call::fail(cudaErrorInvalidConfiguration);
    if (!c.loaded.count(kernel)) {
        if (c.used + c.options.module_bytes > c.options.memory) return Call::fail(cudaErrorMemoryAllocation);
        c.used += c.options.module_bytes;
        c.most_used = std::max(c.most_used, c.used);
        c.loaded.insert(kernel);
    }
    return queue(config.stream, {name, [=] { simt::executor::run(grid, block, thread, name, kernel); }});
}

}  // namespace iwseg::standin

// ----------------------------------------------------------------------------------------------------------------------

using namespace iwseg::standin;

cudaError_t cudaDeviceSynchronize() {
    const Call call("cudaDeviceSynchronize", Call::InCapture::forbidden);
    return call.failure() ? call.failure() : finish_all();
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
    const Call call("cudaStreamCreateWithFlags");
    if (call.failure()) return call.failure();
    *stream = new CUstream_st;
    card().streams.insert(*stream);
    ++card().alive.streams;
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    const Call call("cudaStreamDestroy");
    CUstream_st* found = stream ? find(stream) : nullptr;
    if (!found) return Call::fail(cudaErrorInvalidResourceHandle);
    if (found->capture) {
        card().problem("a stream is destroyed while it captures");
        --card().alive.captures;
    }
    if (card().on_destroy) card().on_destroy(stream);
    found->capture.reset();
    finish(*found);
    card().streams.erase(stream);
    --card().alive.streams;
    delete found;
    return call.failure();
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    const Call call("cudaStreamSynchronize", Call::InCapture::forbidden);
    if (call.failure()) return call.failure();
    CUstream_st* found = find(stream);
    return found ? finish(*found) : Call::fail(cudaErrorInvalidResourceHandle);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
    const Call call("cudaStreamWaitEvent");
    if (call.failure()) return call.failure();
    const CUstream_st* found = find(stream);
    if (found && found->capture && !event->moment->in_capture) {
        card().problem("a recorded graph waits for an event that is outside of it");
        return Call::fail(cudaErrorStreamCaptureUnsupported);
    }
    const auto moment = event->moment;
    return queue(stream, {"wait for an event", [] {},
                          [moment, awaited = moment->recorded] { return moment->reached >= awaited; }, 0});
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
    const Call call("cudaEventCreate");
    if (call.failure()) return call.failure();
    *event = new CUevent_st;
    ++card().alive.events;
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
    return cudaEventCreateWithFlags(event, 0);
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    const Call call("cudaEventDestroy");
    if (!event) return Call::fail(cudaErrorInvalidResourceHandle);
    --card().alive.events;
    delete event;
    return call.failure();
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    const Call call("cudaEventRecord");
    if (call.failure()) return call.failure();
    const CUstream_st* found = find(stream);
    if (!found) return Call::fail(cudaErrorInvalidResourceHandle);
    const auto moment = event->moment;
    moment->in_capture = found->capture != nullptr;
    const std::int64_t number = ++moment->recorded;
    return queue(stream, {"record an event",
                          [moment, number] {
                              moment->reached = std::max(moment->reached, number);
                              moment->seconds = card().seconds;
                          },
                          {},
                          0});
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
    const Call call("cudaEventQuery", Call::InCapture::forbidden);
    if (call.failure()) return call.failure();
    const Moment& moment = *event->moment;
    if (moment.in_capture) return Call::fail(cudaErrorStreamCaptureUnsupported);
    return moment.reached < moment.recorded ? cudaErrorNotReady : cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    const Call call("cudaEventSynchronize", Call::InCapture::forbidden);
    if (call.failure()) return call.failure();
    if (event->moment->in_capture) return Call::fail(cudaErrorStreamCaptureUnsupported);
    return finish(*event->moment);
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
    const Call call("cudaEventElapsedTime");
    if (call.failure()) return call.failure();
    const Moment &a = *from->moment, &b = *to->moment;
    if (a.in_capture || b.in_capture || a.recorded == 0 || b.recorded == 0)
        return Call::fail(cudaErrorInvalidResourceHandle);
    if (a.reached < a.recorded || b.reached < b.recorded) return Call::fail(cudaErrorNotReady);
    *milliseconds = static_cast<float>((b.seconds - a.seconds) * 1e3);
    return cudaSuccess;
}

// ----------------------------------------------------------------------------------------------------------------------

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
    const Call call("cudaStreamBeginCapture");
    if (call.failure()) return call.failure();
    CUstream_st* found = find(stream);
    if (!found || found == &card().legacy) return Call::fail(cudaErrorStreamCaptureUnsupported);
    if (found->capture) return Call::fail(cudaErrorIllegalState);
    found->capture = std::make_unique<CUgraph_st>();
    found->invalid = false;
    found->capturing_thread = std::this_thread::get_id();
    ++card().alive.captures;
    return cudaSuccess;
}

/// As CUDA's, it ends the capture whatever it returns.
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
    const Call call("cudaStreamEndCapture");
    *graph = nullptr;
    CUstream_st* found = find(stream);
    if (!found || !found->capture) return Call::fail(cudaErrorIllegalState);
    std::unique_ptr<CUgraph_st> captured = std::move(found->capture);
    --card().alive.captures;
    if (call.failure()) return call.failure();
    if (found->invalid) return Call::fail(cudaErrorStreamCaptureInvalidated);
    *graph = captured.release();
    ++card().alive.graphs;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* work, cudaGraph_t graph, unsigned long long) {
    const Call call("cudaGraphInstantiate");
    if (call.failure()) return call.failure();
    *work = new CUgraphExec_st{graph->work};
    ++card().alive.recorded;
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    const Call call("cudaGraphDestroy");
    if (!graph) return Call::fail(cudaErrorInvalidValue);
    --card().alive.graphs;
    delete graph;
    return call.failure();
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t work, cudaStream_t stream) {
    const Call call("cudaGraphLaunch");
    if (call.failure()) return call.failure();
    for (const Work& one : work->work)
        if (const cudaError_t status = queue(stream, one)) return status;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t work) {
    const Call call("cudaGraphExecDestroy");
    if (!work) return Call::fail(cudaErrorInvalidValue);
    --card().alive.recorded;
    delete work;
    return call.failure();
}
