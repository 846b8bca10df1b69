#include "data/json_file.h"

#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/error.h"

namespace iwseg {

namespace {

template <class Json>
Json read(const std::filesystem::path& file) {
    try {
        return Json::parse(read_text(file));
    } catch (const nlohmann::json::exception&) {
        throw InputError(file.string() + " is not valid JSON");
    }
}

}  // namespace

nlohmann::json read_json(const std::filesystem::path& file) {
    return read<nlohmann::json>(file);
}

nlohmann::ordered_json read_ordered_json(const std::filesystem::path& file) {
    return read<nlohmann::ordered_json>(file);
}

}  // namespace iwseg
