#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace iwseg {

/// A file that appears whole or not at all: bytes go to NAME.part beside it, commit() syncs and renames, and a part
/// left without commit is removed. The part is locked: of two that write one name at once the second throws, and one
/// left by a process that was killed is used again. Every failure throws InputError with the file's name and the
/// system's reason (disk full, permission, missing folder).
class AtomicFile {
  public:
    explicit AtomicFile(std::filesystem::path file);
    ~AtomicFile();
    AtomicFile(const AtomicFile&) = delete;
    AtomicFile& operator=(const AtomicFile&) = delete;

    void write(std::span<const std::byte> bytes);
    void write(std::string_view text);
    void commit();

  private:
    bool open_part();

    std::filesystem::path file_, part_;
    int descriptor_ = -1;
};

/// The whole text at once, atomically.
void write_text(const std::filesystem::path& file, std::string_view text);

/// The whole file as text. Throws InputError naming the file, and the system's reason where reading fails midway.
std::string read_text(const std::filesystem::path& file);

/// Syncs a folder, so that a rename in it survives a power cut.
void sync_folder(const std::filesystem::path& folder);

}  // namespace iwseg
