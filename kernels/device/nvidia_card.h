#pragma once

#include <filesystem>
#include <string>

namespace iwseg {

/// Whether an NVIDIA GPU is in the machine, or its driver's devices are, whatever CUDA makes of it: a container sees
/// the card on the PCI bus though it was started without the driver. root: of the file system.
bool has_nvidia_card(const std::filesystem::path& root = "/");

/// What is said where the CPU computes although there is a card: why_unavailable in brackets, to end a line with. Empty
/// where there is none.
std::string unused_card_text(const std::string& why_unavailable, const std::filesystem::path& root = "/");

}  // namespace iwseg
