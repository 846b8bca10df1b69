#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace iwseg {

/// Where predict writes what it makes of a case: FOLDER/CASE_WHAT.ENDING, WHAT being mask, prob or logit. Where it is
/// empty, CASE.ENDING, as other programs write.
std::filesystem::path prediction_file(const std::filesystem::path& folder, const std::string& case_name,
                                      const std::string& what, const std::string& ending);

/// The folder without ".", ".." and a slash at its end, absolute: its last part is its name.
std::filesystem::path named_folder(const std::filesystem::path& folder);

/// The ending that the results of a scan get where none is asked for: the first of its format's. Throws InputError
/// where the scan is of no known format.
std::string prediction_ending(const std::filesystem::path& scan);

/// That file of the case which is there, in whatever format; nothing where there is none. Throws InputError where there
/// are two: one of them is of an earlier prediction.
std::optional<std::filesystem::path> find_prediction_file(const std::filesystem::path& folder,
                                                          const std::string& case_name, const std::string& what);

}  // namespace iwseg
