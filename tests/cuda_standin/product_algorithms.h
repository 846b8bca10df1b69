#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

// The algorithms that cuBLASLt's stand-in offers for products of matrices. Each computes by plain loops; how it
// misbehaves is set here.
namespace iwseg::standin {

struct ProductAlgorithm {
    std::uint64_t id = 0;
    double seconds = 1e-3;             ///< of one run, on the card's clock
    std::int64_t workspace_bytes = 0;  ///< filled with garbage at each run
    int alignment = 16;                ///< of all matrices, in bytes
    int reduction = 0;                 ///< cublasLtReductionScheme_t
    bool rounds = false;               ///< f32 operands to TF32: offered where the product allows that
    bool refused_at_run = false, refused_in_capture = false;
    bool fails_after = false;      ///< its work is queued, and loses the card
    std::int64_t wrong_from = -1;  ///< elements of the result from which on its last one is wrong; -1: never
    bool varies = false;           ///< from run to run, one element of those between the first and the last
};

/// What a fresh card is offered: a fast one, and one for matrices that are hardly aligned.
std::vector<ProductAlgorithm> usual_algorithms();
/// In the heuristics' order, from now on. Empty: cuBLASLt has nothing. version: which of cuBLASLt it is.
void offer_algorithms(std::vector<ProductAlgorithm> algorithms, std::size_t version = 130100);
/// How often each, by its number, has been run since it was offered.
std::map<std::uint64_t, std::int64_t> algorithm_runs();

}  // namespace iwseg::standin
