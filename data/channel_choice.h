#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/preparation.h"

namespace iwseg {

// Which of a dataset's channels are read. Channels are told apart by their numbers, the indices into
// Dataset::channels: names may come twice.

/// The channels that are read. Throws InputError naming the nearest where one is unknown, and where several have a name
/// that `channels` or mask_channel gives. Their number is the network's in_channels.
std::vector<std::int64_t> selected_channels(const Dataset& dataset, const PreparationOptions& options);

/// Their names, in their order: what a network that is trained on them should be told.
std::vector<std::string> selected_names(const Dataset& dataset, const PreparationOptions& options);

/// The channel that is a mask; nothing where there is none. Throws as selected_channels.
std::optional<std::int64_t> mask_channel(const Dataset& dataset, const PreparationOptions& options);

/// Which of the dataset's channels a network takes that was trained on channels of those names, in their order.
/// Those that options.channels choose, where they have these names; else those of the same names, or, where there are
/// none, of the same but for upper and lower case. Several of one name are taken in their order, where there are as
/// many as the network was trained on. Where no channel has such a name, but there are as many, all in their order, and
/// note receives a sentence. Throws InputError where only some are there, their number differs, or a name leaves it
/// open which channel is meant.
std::vector<std::int64_t> match_channels(const Dataset& dataset, const std::vector<std::string>& trained,
                                         const PreparationOptions& options, std::string& note);

}  // namespace iwseg
