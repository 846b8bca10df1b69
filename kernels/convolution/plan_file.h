#pragma once

#include <optional>
#include <string>

namespace iwseg {

/// Choices that were measured, kept from one run of the program to the next: lines of "key<tab>value". What cannot be
/// read is as good as not there; a new choice is added to what others have written meanwhile, its folder locked, and
/// the file is replaced at once, never half-written.
class PlanFile {
  public:
    /// iwseg/plans.txt under $XDG_CACHE_HOME, or under .cache in $HOME; nowhere where neither is set.
    PlanFile();
    explicit PlanFile(std::string path) : path_(std::move(path)) {}

    const std::string& path() const { return path_; }
    std::optional<std::string> find(const std::string& key) const;
    /// False where it could not be written.
    bool store(const std::string& key, const std::string& value) const;

  private:
    std::string path_;
};

}  // namespace iwseg
