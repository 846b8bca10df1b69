#pragma once

#include <filesystem>

#include "apps/config.h"
#include "apps/run_folder.h"
#include "engine/context.h"

namespace iwseg {

/// Trains, predicts the scans to test on into predictions/, and judges them into records.json; a part that is there and
/// newer than what it is made from is skipped. Prints what it does and the table of results.
void run_experiment(Context& context, const Config& config, const std::filesystem::path& dataset, const RunFolder& run);

}  // namespace iwseg
