#pragma once

#include <cstdint>
#include <string>
#include <vector>

// The card that CUDA's stand-ins act on: what tests set, and what they may ask. It is as unhelpful as a card may be:
// work is done as late as CUDA's rules allow, or by chance earlier, and of two streams in any order that their events
// allow; fresh memory holds garbage; copies from pinned memory read it when they are done. What no right program does
// (a write past a buffer, a copy from freed memory, a stream destroyed while a handle has it) is noted as a problem.
namespace iwseg::standin {

struct CardOptions {
    std::string name = "Stand-in";
    int major = 8, minor = 0;  ///< compute capability
    int cards = 1;
    int driver = 13000, runtime = 13000;          ///< versions of CUDA; driver 0: none is installed
    bool holds_kernels = true;                    ///< the program has code for this card
    std::int64_t memory = std::int64_t{8} << 30;  ///< bytes of the card
    std::int64_t module_bytes = 1 << 20;  ///< what the first launch of each kernel takes, as modules are loaded late
    std::uint64_t seed = 0;               ///< 0: as late as possible; else earlier by chance
};

/// Objects that were made and not yet destroyed.
struct Alive {
    int allocations = 0, pinned = 0, streams = 0, events = 0, graphs = 0, recorded = 0, cudnn_handles = 0,
        descriptors = 0, blas_handles = 0, ranges = 0, captures = 0;

    bool operator==(const Alive&) const = default;
    std::string text() const;
};

/// Exchanges the card for a fresh one. Everything on the old one must be gone: what was alive is a problem of the new
/// one.
void insert_card(const CardOptions& options = {});
Alive alive();
/// What no right program does, seen since the card was inserted; told once.
std::vector<std::string> take_problems();
/// The card's clock, in seconds of its own: work takes what it is said to take.
double clock_seconds();
/// Bytes allocated, modules included, now and at most.
std::int64_t bytes_used();
std::int64_t most_bytes_used();

/// How a call fails.
enum class Failure {
    once,      ///< this call alone, by an error of its own
    memory,    ///< as once, and by a lack of memory where it allocates
    for_good,  ///< the card is lost: this call and all later ones
};
/// Lets the nth call from now (from 1) fail; 0: none.
void fail_call(std::int64_t number, Failure failure = Failure::once);
/// The functions called since the card was inserted or this was asked for, in order.
std::vector<const char*> take_calls();
/// Those of them that were made while a range of NVTX was open.
std::vector<const char*> take_calls_in_ranges();

}  // namespace iwseg::standin
