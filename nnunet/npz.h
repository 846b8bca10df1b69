#pragma once

#include <array>
#include <filesystem>
#include <string>
#include <vector>

namespace iwseg::nnunet {

/// Writes one f32 array of four axes as NumPy's savez_compressed does, atomically. Throws InputError as AtomicFile.
void write_npz(const std::filesystem::path& file, const std::string& name, const std::array<std::int64_t, 4>& shape,
               const std::vector<float>& values);

}  // namespace iwseg::nnunet
