#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

/// Zip archives, of more than 4 GB too (zip64), after PKWARE's APPNOTE 6.3. By zlib and no other library: Debian's
/// minizip cannot read files beyond 4 GB on 64-bit systems, and its libzip brings 5 MB of cryptography.
namespace iwseg {

/// An archive that is read. Its list of files is read once, at opening.
class ZipArchive {
  public:
    struct Entry {
        std::uint64_t bytes = 0;   ///< unpacked
        std::uint64_t packed = 0;  ///< in the archive
        std::uint64_t at = 0;      ///< of its local header
        std::uint32_t checksum = 0;
        int method = 0;
        bool encrypted = false;

        /// Whether its bytes lie in the archive as they are.
        bool stored() const { return method == 0 && !encrypted; }
    };

    /// Throws InputError, naming the file, where it is no zip archive, its list is damaged, or a name is in it twice.
    explicit ZipArchive(const std::filesystem::path& file);

    const std::map<std::string, Entry>& entries() const { return entries_; }
    /// The bytes of one of entries(), stored or deflated. Throws InputError, naming file and name, where there is none
    /// of that name, its bytes end in the middle, are not what their checksum says, or are packed otherwise.
    std::vector<std::byte> read(const std::string& name) const;

  private:
    std::filesystem::path file_;
    std::map<std::string, Entry> entries_;
};

/// A file to be packed, whose bytes lie in these parts, one after another.
struct ZipContent {
    std::string name;
    std::vector<std::string_view> parts;
    bool deflated = false;
};

/// Gives the bytes of an archive of these to `out`, in order; as zip64 where that is asked for, or it has 4 GB or more.
/// Without dates: the same files are the same bytes. Of what is deflated it holds one file's result at a time.
void write_zip(const std::vector<ZipContent>& files, const std::function<void(std::string_view)>& out,
               bool zip64 = false);

}  // namespace iwseg
