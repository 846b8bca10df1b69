#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "engine/optimizer.h"
#include "engine/parameters.h"

namespace iwseg {

/// Writes checkpoints/step_N/{model.safetensors, optimizer.safetensors, state.json}: beside, synced and renamed, so
/// that a step_N folder is whole. Then removes all but the last two and what crashes left. Throws InputError where the
/// disk is full or the folder cannot be written; nothing of the new checkpoint is left then.
void save_checkpoint(const std::filesystem::path& checkpoints, std::int64_t step, Parameters& parameters,
                     Optimizer& optimizer, const std::map<std::string, std::string>& metadata);

/// Sets parameters, running statistics and the optimizer's arrays from the newest whole checkpoint. Returns its step;
/// 0, leaving the parameters as they are, where there is none. A damaged one is passed over for the one before it, with
/// a line on stderr. Throws InputError where there are checkpoints but none can be used.
std::int64_t load_newest_checkpoint(const std::filesystem::path& checkpoints, Parameters& parameters,
                                    Optimizer& optimizer);

/// The step of the newest checkpoint, 0 where there is none; looks at names only.
std::int64_t newest_checkpoint_step(const std::filesystem::path& checkpoints);

}  // namespace iwseg
