#include "apps/prediction/output_folder.h"

#include <system_error>
#include <utility>

#include "base/atomic_file.h"
#include "base/folder.h"

namespace iwseg {

OutputFolder::OutputFolder(std::filesystem::path folder, const std::string& file) : folder_(std::move(folder)) {
    std::error_code error;
    created_ = !folder_.empty() && !std::filesystem::exists(folder_, error);
    if (!folder_.empty()) make_folder(folder_);
    const AtomicFile probe(folder_ / file);
}

OutputFolder::~OutputFolder() {
    std::error_code ignored;
    if (created_) std::filesystem::remove(folder_, ignored);  // refused where something is in it
}

}  // namespace iwseg
