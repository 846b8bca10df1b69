#pragma once

#include "models/network.h"
#include "nnunet/json_keys.h"

namespace iwseg::nnunet {

/// The network of a configuration of plans.json, by "architecture" or, in plans from before there was that key, by
/// "UNet_class_name". Throws InputError, naming what it is, on an architecture or a keyword argument that is not
/// supported.
Network read_architecture(const Keys& configuration, int in_channels, int out_channels);

}  // namespace iwseg::nnunet
