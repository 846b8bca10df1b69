#include "apps/prediction/prediction_files.h"

#include <fmt/format.h>

#include "base/error.h"
#include "data/volume/formats.h"

namespace iwseg {

namespace fs = std::filesystem;

fs::path prediction_file(const fs::path& folder, const std::string& case_name, const std::string& what,
                         const std::string& ending) {
    return folder / fmt::format("{}{}{}{}", case_name, what.empty() ? "" : "_", what, ending);
}

fs::path named_folder(const fs::path& folder) {
    const fs::path named = fs::absolute(folder).lexically_normal();
    return named.has_filename() ? named : named.parent_path();
}

std::string prediction_ending(const fs::path& scan) {
    return format_of(scan).endings.front();
}

std::optional<fs::path> find_prediction_file(const fs::path& folder, const std::string& case_name,
                                             const std::string& what) {
    std::optional<fs::path> found;
    for (const VolumeFormat& format : volume_formats())
        for (const std::string& ending : format.endings) {
            const fs::path file = prediction_file(folder, case_name, what, ending);
            if (!fs::is_regular_file(file)) continue;
            if (found)
                throw InputError(fmt::format("{} and {} are both the {} of case {}: remove the older one",
                                             found->string(), file.string(), what.empty() ? "prediction" : what,
                                             case_name));
            found = file;
        }
    return found;
}

}  // namespace iwseg
