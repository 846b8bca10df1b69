#include "data/json_file.h"

#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/error.h"

namespace iwseg {

nlohmann::json read_json(const std::filesystem::path& file) {
    try {
        return nlohmann::json::parse(read_text(file));
    } catch (const nlohmann::json::exception&) {
        throw InputError(file.string() + " is not valid JSON");
    }
}

}  // namespace iwseg
