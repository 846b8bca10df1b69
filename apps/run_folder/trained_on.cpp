#include "apps/run_folder/trained_on.h"

#include <nlohmann/json.hpp>
#include <system_error>

#include "base/atomic_file.h"
#include "base/error.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

std::map<std::string, std::int64_t> bytes_by_case(const Dataset& dataset) {
    std::map<std::string, std::int64_t> bytes;
    for (const auto* list : {&dataset.cases, &dataset.test_cases})
        for (const Case& scan : *list) bytes[scan.name] = image_bytes(scan);
    return bytes;
}

}  // namespace

std::int64_t image_bytes(const Case& scan) {
    std::int64_t bytes = 0;
    for (const fs::path& file : scan.images) {
        std::error_code error;
        const auto size = fs::file_size(file, error);
        if (error) return -1;
        bytes += static_cast<std::int64_t>(size);
    }
    return bytes;
}

bool TrainedOn::holds(const Case& scan) const {
    const auto found = cases.find(scan.name);
    return found != cases.end() && found->second == image_bytes(scan);
}

bool TrainedOn::is(const Dataset& dataset) const {
    std::error_code error;
    if (fs::equivalent(folder, dataset.folder, error) && !error) return true;
    const auto found = bytes_by_case(dataset);
    for (const auto& [case_name, bytes] : cases)
        if (const auto other = found.find(case_name); other == found.end() || other->second != bytes) return false;
    return true;
}

void write_trained_on(const fs::path& file, const Dataset& dataset, const Split& split) {
    const auto bytes = bytes_by_case(dataset);
    nlohmann::json cases = nlohmann::json::object();
    for (const auto* part : {&split.train, &split.validation, &split.test})
        for (const std::string& name : *part)
            if (const auto found = bytes.find(name); found != bytes.end()) cases[name] = found->second;
    const nlohmann::json json{{"folder", fs::absolute(dataset.folder).lexically_normal().string()},
                              {"name", dataset.name},
                              {"channels", dataset.channels},
                              {"image_bytes", cases}};
    write_text(file, json.dump(2) + "\n");
}

std::optional<TrainedOn> read_trained_on(const fs::path& file) {
    if (!fs::exists(file)) return std::nullopt;
    const auto json = nlohmann::json::parse(read_text(file), nullptr, false);
    try {
        TrainedOn trained;
        trained.folder = json.at("folder").get<std::string>();
        json.at("name").get_to(trained.name);
        json.at("channels").get_to(trained.channels);
        json.at("image_bytes").get_to(trained.cases);
        return trained;
    } catch (const nlohmann::json::exception&) {
        throw InputError(file.string() +
                         " does not tell a dataset: folder, name, channels and image_bytes by case were expected");
    }
}

}  // namespace iwseg
