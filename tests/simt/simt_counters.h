#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "tests/simt/simt_hooks.h"

// Counts what a profiler counts, from the accesses that kernels make on the executor. A request is the nth access that
// the lanes of a warp make at one place of the code. Device memory answers it in sectors of 32 bytes: as many as it
// touches, and at least as many as its distinct bytes fill. Shared memory answers 32 banks of 4 bytes a cycle: accesses
// of 4 bytes take one cycle a request, of 8 two and of 16 four, where no bank is asked for two words. Atomics on one
// address follow one another.
//
// g++ may take an access of a pack (kernels/cuda/pack.cuh) apart into its numbers: these are put together again, up to
// 16 bytes, as nvcc does (tests/kernels/kernel_accesses.cmake).
namespace iwseg::simt::executor {

enum class Space : unsigned char { device, shared };

struct AccessCount {
    std::int64_t requests = 0, lanes = 0;   ///< lanes that took part, of 32 a request
    std::int64_t sectors = 0, fewest = 0;   ///< device memory: touched; as few as the bytes fill
    std::int64_t cycles = 0, least = 0;     ///< shared memory: taken; without bank conflicts
    std::int64_t atomics = 0, in_turn = 0;  ///< requests of atomics; the most on one address of each, added up

    void add(const AccessCount& more);
    double sector_efficiency() const {
        return sectors ? static_cast<double>(fewest) / static_cast<double>(sectors) : 1;
    }
    double cycles_a_request() const { return least ? static_cast<double>(cycles) / static_cast<double>(least) : 1; }
    double lanes_a_request() const { return requests ? static_cast<double>(lanes) / static_cast<double>(requests) : 0; }
};

/// A line of a kernel.
struct LineCount {
    std::string kernel, line;  ///< "last_data_kernel", "convolution_last.cu:70"
    bool write;
    Space space;
    AccessCount count;
};

/// A kernel: all its lines.
struct KernelCount {
    std::string kernel;
    AccessCount device, shared;
    std::int64_t launches = 0;
    /// Sectors of device memory that its launches read or wrote at all, each once a launch and way, times 32.
    std::int64_t bytes_read = 0, bytes_written = 0;
};

class Counters {
  public:
    void begin_launch(const LaunchNote& launch);
    void see(const Access& access, int thread, Space space);
    void end_block();

    /// In the order of kernels' first launches, then by line.
    std::vector<LineCount> lines() const;
    std::vector<KernelCount> kernels() const;

  private:
    struct Event {
        std::uintptr_t at;
        std::uint32_t site;
        std::uint16_t bytes;
        bool write, atomic;
        Space space;
    };
    /// What is known of a place in the code.
    struct Site {
        std::string line;
        bool pack = false;  ///< of an access that may have been taken apart
    };
    using Key = std::tuple<std::string, std::string, bool, Space>;

    void name_sites();
    void join_packs(std::vector<Event>& events) const;
    void count_warp(std::size_t first_thread);

    std::string kernel_;
    std::vector<std::vector<Event>> events_;  ///< of the block, by thread
    std::unordered_map<std::uint32_t, Site> sites_;
    std::map<Key, AccessCount> counts_;
    std::vector<KernelCount> kernels_;
    KernelCount* now_ = nullptr;
    std::unordered_set<std::uintptr_t> read_, written_;  ///< sectors of this launch
};

/// While it lives, launches are counted.
class Counting {
  public:
    explicit Counting(Counters& counters);
    ~Counting();
    Counting(const Counting&) = delete;
    Counting& operator=(const Counting&) = delete;
};

}  // namespace iwseg::simt::executor
