#include "apps/run_folder/run_sessions.h"

#include <fmt/chrono.h>
#include <sys/resource.h>

#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "apps/version.h"

namespace iwseg {
namespace {

using nlohmann::ordered_json;

void append_line(const std::filesystem::path& file, const ordered_json& line) {
    std::ofstream(file, std::ios::app) << line.dump() << '\n';
}

std::int64_t peak_bytes_of_process() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return static_cast<std::int64_t>(usage.ru_maxrss) * 1024;
}

/// Takes what a line says of a session and leaves the rest.
void read_line(const nlohmann::json& line, RunSession& session) {
    const auto take = [&](const char* key, auto& value) {
        if (const auto found = line.find(key); found != line.end()) found->get_to(value);
    };
    take("begun", session.begun);
    take("ended", session.ended);
    take("version", session.version);
    take("device", session.device);
    take("first_step", session.first_step);
    take("arena_bytes", session.arena_bytes);
    take("peak_bytes", session.peak_bytes);
    take("seconds", session.seconds);
}

}  // namespace

std::string utc_now() {
    return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
}

SessionRecord::SessionRecord(std::filesystem::path file, RunSession session) : file_(std::move(file)) {
    append_line(file_, {{"begun", utc_now()},
                        {"version", kVersion},
                        {"device", session.device},
                        {"first_step", session.first_step},
                        {"arena_bytes", session.arena_bytes}});
}

SessionRecord::~SessionRecord() {
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    append_line(file_, {{"ended", utc_now()}, {"seconds", seconds}, {"peak_bytes", peak_bytes_of_process()}});
}

std::vector<RunSession> read_sessions(const std::filesystem::path& file) {
    std::vector<RunSession> sessions;
    std::ifstream in(file);
    for (std::string text; std::getline(in, text);) {
        const auto line = nlohmann::json::parse(text, nullptr, false);
        if (!line.is_object()) continue;
        try {
            RunSession session;
            if (line.contains("ended") && !sessions.empty()) session = sessions.back();
            read_line(line, session);
            if (line.contains("begun"))
                sessions.push_back(std::move(session));
            else if (!sessions.empty())
                sessions.back() = std::move(session);
        } catch (const nlohmann::json::exception&) {  // a value of another type: not a line of ours
        }
    }
    return sessions;
}

}  // namespace iwseg
