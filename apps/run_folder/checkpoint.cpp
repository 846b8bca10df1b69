#include "apps/run_folder/checkpoint.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>

#include "base/atomic_file.h"
#include "base/error.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "step_";
constexpr std::size_t kKept = 2;

fs::path folder_of(const fs::path& checkpoints, std::int64_t step) {
    return checkpoints / (std::string(kPrefix) + std::to_string(step));
}

// The files of a checkpoint.
fs::path weights_file(const fs::path& folder) {
    return folder / "model.safetensors";
}
fs::path optimizer_file(const fs::path& folder) {
    return folder / "optimizer.safetensors";
}
fs::path state_file(const fs::path& folder) {
    return folder / "state.json";
}

/// Steps of the folders named step_N.
std::set<std::int64_t> steps_in(const fs::path& checkpoints) {
    std::set<std::int64_t> steps;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(checkpoints, error)) {
        const std::string name = entry.path().filename().string();
        std::int64_t step = 0;
        if (!name.starts_with(kPrefix)) continue;
        const auto [end, failure] = std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), step);
        if (failure == std::errc() && end == name.data() + name.size() && step > 0) steps.insert(step);
    }
    return steps;
}

void remove_part(const fs::path& part) {
    std::error_code ignored;
    fs::remove_all(part, ignored);
}

/// All but the newest, and folders that a crash left unfinished.
void remove_old(const fs::path& checkpoints) {
    std::set<std::int64_t> steps = steps_in(checkpoints);
    while (steps.size() > kKept) {
        // Renamed first: a removal cut short must not leave half a checkpoint under a good name.
        const fs::path folder = folder_of(checkpoints, *steps.begin());
        std::error_code ignored;
        fs::rename(folder, folder.string() + ".part", ignored);
        steps.erase(steps.begin());
    }
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(checkpoints, ignored))
        if (entry.path().extension() == ".part") remove_part(entry.path());
}

void require_state(const fs::path& folder, std::int64_t step) {
    const fs::path file = state_file(folder);
    const auto state = nlohmann::json::parse(read_text(file), nullptr, false);
    if (!state.is_object() || state.value("step", std::int64_t{-1}) != step)
        throw InputError(file.string() + " does not say that it is of step " + std::to_string(step));
}

}  // namespace

void save_checkpoint(const fs::path& checkpoints, std::int64_t step, Parameters& parameters, Optimizer& optimizer,
                     const std::map<std::string, std::string>& metadata) {
    const fs::path folder = folder_of(checkpoints, step), part = folder.string() + ".part";
    std::error_code error;
    remove_part(part);
    fs::create_directories(part, error);
    if (error) throw InputError("cannot create the folder " + part.string() + ": " + error.message());
    try {
        parameters.save(weights_file(part), metadata);
        optimizer.save(optimizer_file(part));
        const nlohmann::json state{{"step", step}};
        write_text(state_file(part), state.dump(2) + "\n");
        // The same step may be there already from before an interruption; the bytes are the same.
        if (fs::exists(folder)) remove_part(folder);
        fs::rename(part, folder, error);
        if (error) throw InputError("cannot rename " + part.string() + ": " + error.message());
    } catch (...) {
        remove_part(part);
        throw;
    }
    sync_folder(checkpoints);
    remove_old(checkpoints);
}

std::int64_t load_newest_checkpoint(const fs::path& checkpoints, Parameters& parameters, Optimizer& optimizer) {
    const std::set<std::int64_t> steps = steps_in(checkpoints);
    std::string reason;
    for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
        const fs::path folder = folder_of(checkpoints, *step);
        try {
            require_state(folder, *step);
            parameters.load(weights_file(folder));
            optimizer.load(optimizer_file(folder));
            return *step;
        } catch (const InputError& damaged) {
            reason = damaged.what();
            if (std::next(step) != steps.rend())
                fmt::print(stderr, "iwseg: passing over the checkpoint {}: {}\n", folder.string(), reason);
        }
    }
    if (!steps.empty()) throw InputError(reason);
    return 0;
}

std::int64_t newest_checkpoint_step(const fs::path& checkpoints) {
    const std::set<std::int64_t> steps = steps_in(checkpoints);
    return steps.empty() ? 0 : *steps.rbegin();
}

}  // namespace iwseg
