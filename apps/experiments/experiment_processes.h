#pragma once

#include <string>
#include <vector>

#include "apps/experiments/experiments.h"

namespace iwseg {

/// Runs the experiments in options.processes processes of this program at a time, which find what is left to do by the
/// locks on run folders. What they print goes to processes/N.log in the output folder. On GPUs process N sees only the
/// Nth of the visible ones; on the CPU they share its cores. Returns in one line what went wrong, or nothing. They end
/// with this one. Throws Interrupted on Ctrl-C.
std::string run_in_processes(const ExperimentsOptions& options, const std::vector<Experiment>& experiments);

}  // namespace iwseg
