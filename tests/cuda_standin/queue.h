#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/cuda_standin/card.h"
#include "tests/cuda_standin/cuda_runtime.h"

// What the stand-ins share: the card's state, and how each call of theirs begins.
namespace iwseg::standin {

/// Something queued on a stream.
struct Work {
    std::string name;
    std::function<void()> run;
    std::function<bool()> ready = {};  ///< empty: at once
    double seconds = 1e-6;             ///< on the card's clock
};

/// A moment in a stream's work: recorded so often, reached so often.
struct Moment {
    std::int64_t recorded = 0, reached = 0;
    double seconds = 0;
    bool in_capture = false;  ///< was last recorded into a graph, and cannot be asked
};

struct Buffer {
    std::int64_t bytes = 0;
    bool pinned = false;  ///< the host's
};

}  // namespace iwseg::standin

struct CUgraph_st {
    std::vector<iwseg::standin::Work> work;
};
struct CUgraphExec_st {
    std::vector<iwseg::standin::Work> work;
};
struct CUevent_st {
    std::shared_ptr<iwseg::standin::Moment> moment = std::make_shared<iwseg::standin::Moment>();
};
struct CUstream_st {
    std::deque<iwseg::standin::Work> queue;
    std::unique_ptr<CUgraph_st> capture;  ///< null unless capturing
    bool invalid = false;                 ///< the capture; it must still be ended
    std::thread::id capturing_thread;
};

namespace iwseg::standin {

struct Card {
    CardOptions options;
    std::recursive_mutex mutex;
    std::mt19937_64 random;
    Alive alive;
    std::vector<std::string> problems;
    std::map<const char*, Buffer> buffers;  ///< of the card and pinned ones, by address
    std::set<const void*> loaded;           ///< kernels
    std::set<cudaStream_t> streams;
    CUstream_st legacy;  ///< the stream without a name
    std::int64_t used = 0, most_used = 0;
    double seconds = 0;
    cudaError_t last = cudaSuccess, lost = cudaSuccess;
    std::vector<const char*> calls, calls_in_ranges;
    std::int64_t until_failure = 0;
    Failure failure = Failure::once;
    std::function<void(cudaStream_t)> on_destroy = {};  ///< cuDNN's stand-in looks whether a handle still has it

    void problem(const std::string& what) { problems.push_back(what); }
};
Card& card();

/// Each call's beginning: holds the card, counts, and fails where it was told to, where the card is lost, or where a
/// capture forbids it.
class Call {
  public:
    enum class InCapture { allowed, forbidden };
    explicit Call(const char* function, InCapture in_capture = InCapture::allowed);

    /// What the call is to return at once unless it is cudaSuccess; what destroys things does so first.
    cudaError_t failure() const { return failure_; }
    /// Notes an error and returns it.
    static cudaError_t fail(cudaError_t error);

  private:
    std::lock_guard<std::recursive_mutex> lock_;
    cudaError_t failure_;
};

/// Null is the legacy stream. Notes a problem for one that is not alive, and returns null.
CUstream_st* find(cudaStream_t stream);
/// Into the stream's graph where it captures, else after its other work.
cudaError_t queue(cudaStream_t stream, Work work);
/// Does everything queued on a stream, and by chance or need what others have.
cudaError_t finish(CUstream_st& stream);
cudaError_t finish_all();
/// Until a moment is reached.
cudaError_t finish(const Moment& moment);
/// By chance, does some of what is queued.
void maybe_work();

/// The buffer that holds all of a range, or null.
const Buffer* buffer_of(const void* memory, std::int64_t bytes);
/// True for a range of the card's memory; else a problem is noted.
bool require_on_card(const char* what, const void* memory, std::int64_t bytes);
/// Fills with what nobody wants to read.
void fill_with_garbage(void* memory, std::int64_t bytes);

}  // namespace iwseg::standin
