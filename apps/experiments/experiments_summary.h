#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "apps/experiments/experiments.h"

namespace iwseg {

/// Writes, of all experiments whose records are there, in their order: experiments.json (every figure, both protocols),
/// froc.svg, froc_small.svg and froc_large.svg, and experiments.html with the table and the figures; prints the table.
/// Lesions are small up to the configs' small_diameter, or those of the smaller half where it is 0. Nothing written
/// depends on when or in which order experiments were run.
void write_summary(const std::filesystem::path& out, const std::vector<Experiment>& experiments);

}  // namespace iwseg
