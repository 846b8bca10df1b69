#include "data/json_file.h"

#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/error.h"

namespace iwseg {

namespace {

constexpr int kMostLevels = 64;

template <class Json>
Json read(const std::filesystem::path& file) {
    try {
        // Whatever walks through the value later calls itself for each level.
        return Json::parse(read_text(file), [&](int depth, typename Json::parse_event_t, Json&) {
            if (depth > kMostLevels) throw InputError(file.string() + " has more than 64 levels of lists and objects");
            return true;
        });
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
