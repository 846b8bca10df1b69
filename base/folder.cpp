#include "base/folder.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "base/error.h"

namespace iwseg {

void require_folder(const std::filesystem::path& folder, const std::string& what) {
    if (folder.empty()) throw InputError("the " + what + " has no name: an empty string was given");
    std::error_code error;
    const std::filesystem::file_status status = std::filesystem::status(folder, error);
    if (status.type() == std::filesystem::file_type::not_found)
        throw InputError("the " + what + " " + folder.string() + " does not exist");
    if (status.type() != std::filesystem::file_type::directory && status.type() != std::filesystem::file_type::none)
        throw InputError(folder.string() + " is a file, but a " + what + " was expected");
    // To list it and to open what is in it.
    if (error || ::access(folder.c_str(), R_OK | X_OK) != 0)
        throw InputError("the " + what + " " + folder.string() +
                         " cannot be read: " + (error ? error.message() : std::strerror(errno)));
}

void make_folder(const std::filesystem::path& folder) {
    std::error_code failure;
    std::filesystem::create_directories(folder, failure);
    if (failure) throw InputError("the folder " + folder.string() + " cannot be made: " + failure.message());
}

std::string sentence_of(const std::filesystem::filesystem_error& error) {
    return "cannot use " + error.path1().string() + ": " + error.code().message();
}

}  // namespace iwseg
