#pragma once

#include <string>

#include "apps/config/config.h"
#include "apps/run_folder/run_folder.h"
#include "engine/context.h"

namespace iwseg {

/// What a training of that configuration computes on, in a run's folder. device: auto, cpu or cuda.
inline ContextOptions context_of_run(const Config& config, const std::string& device, const RunFolder& run) {
    return {.device = device,
            .threads = config.threads,
            .deterministic = config.deterministic,
            .tf32 = config.tf32,
            .plan_file = run.plans().string()};
}

}  // namespace iwseg
