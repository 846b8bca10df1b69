#pragma once

#include <filesystem>
#include <string>

namespace iwseg {

/// A folder of results, made where it is not there. Finds out before the work whether it can be written; a new one that
/// stayed empty is removed.
class OutputFolder {
  public:
    /// folder: empty is the current one. file: a name of what is to be written. Throws InputError where it cannot be.
    OutputFolder(std::filesystem::path folder, const std::string& file);
    ~OutputFolder();
    OutputFolder(const OutputFolder&) = delete;
    OutputFolder& operator=(const OutputFolder&) = delete;

  private:
    std::filesystem::path folder_;
    bool created_ = false;
};

}  // namespace iwseg
