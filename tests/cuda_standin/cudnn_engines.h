#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

// The engines that cuDNN's stand-in offers for convolutions. Each computes by plain loops; how it misbehaves is set
// here.
namespace iwseg::standin {

struct Engine {
    std::int64_t index = 0;
    std::vector<std::pair<int, std::int64_t>> knobs = {};
    double seconds = 1e-3;                             ///< of one run, on the card's clock
    std::int64_t workspace_bytes = 0;                  ///< filled with garbage at each run
    bool forward = true, data = true, weights = true;  ///< the passes it takes
    bool plain_only = false;                           ///< it takes neither groups nor strides
    bool fuses = false;                                ///< it takes graphs with additions after the convolution too
    bool fallback = false;                             ///< offered by that mode of the heuristics only
    // What its notes say.
    bool tensor_cores = false;  ///< and rounds f32 operands to TF32
    bool any_order = false;
    bool compiled_at_run_time = false;
    // What they do not.
    bool refused_as_plan = false, refused_at_run = false, refused_in_capture = false;
    bool fails_after = false;      ///< its work is queued, and loses the card
    std::int64_t wrong_from = -1;  ///< elements of the result from which on its last one is wrong; -1: never
    bool varies = false;           ///< from run to run, one element of those between the first and the last

    std::string text() const;  ///< as 7:2=1
};

/// What a fresh card is offered: one of CUDA cores, one of tensor cores that is faster, one that fuses.
std::vector<Engine> usual_engines();
/// In the heuristics' order, from now on. Empty: cuDNN has nothing. graphs: off, it takes no graph at all.
void offer_engines(std::vector<Engine> engines, bool graphs = true);
bool takes_graphs();
/// How often each engine, by its text, has been run since it was offered.
std::map<std::string, std::int64_t> engine_runs();

}  // namespace iwseg::standin
