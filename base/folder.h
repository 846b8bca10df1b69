#pragma once

#include <filesystem>
#include <string>

namespace iwseg {

/// Throws InputError in one sentence where the folder has no name, does not exist, is a file, or may not be read. what:
/// its part, as in "dataset folder".
void require_folder(const std::filesystem::path& folder, const std::string& what);

/// Makes the folder, and those above it, where they are not there. Throws InputError where that fails.
void make_folder(const std::filesystem::path& folder);

/// The sentence for a failure of the file system that nothing else has put into words, as of a folder inside that may
/// not be read: "cannot use PATH: Permission denied".
std::string sentence_of(const std::filesystem::filesystem_error& error);

}  // namespace iwseg
