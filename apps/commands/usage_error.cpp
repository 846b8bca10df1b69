#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "apps/commands/help.h"
#include "base/nearest_name.h"

namespace iwseg {
namespace {

/// The nearest of the names, else the only one that the word begins.
std::string meant(const std::string& word, const std::vector<std::string>& names) {
    if (std::string nearest = nearest_name(word, names); !nearest.empty()) return nearest;
    const auto begins = [&](const std::string& name) { return name.starts_with(word); };
    return std::count_if(names.begin(), names.end(), begins) == 1 ? *std::find_if(names.begin(), names.end(), begins)
                                                                  : "";
}

std::string suggestion(const std::string& name) {
    return name.empty() ? "" : "; did you mean " + name + "?";
}

std::string unknown_option(const CLI::App& app, const std::string& word) {
    std::vector<std::string> known;
    for (const CLI::Option* option : app.get_options())
        for (const std::string& name : option->get_lnames()) known.push_back(name);
    const std::string given = word.substr(0, word.find('=')), name = given.substr(given.find_first_not_of('-'));
    const std::string nearest = meant(name, known);
    return fmt::format("unknown option {}{}", given, suggestion(nearest.empty() ? "" : "--" + nearest));
}

std::string unknown_word(const CLI::App& app, const std::string& word) {
    std::vector<std::string> commands;
    for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
        commands.push_back(command->get_name());
    if (commands.empty()) return "unexpected argument " + word;
    return fmt::format("unknown command {}{}", word, suggestion(meant(word, commands)));
}

/// In place of "--data: 1 required TEXT missing" and "--widths: At least 4 required but received 2".
std::string missing_values(const CLI::App& app, const std::string& what) {
    const std::string name = what.substr(0, what.find(':'));
    const CLI::Option* option = app.get_option_no_throw(name);
    if (!option || what.find(" required ") == std::string::npos) return what;
    const int count = std::max(1, option->get_expected_min());
    return fmt::format("{} needs {}", name, count == 1 ? "a value" : fmt::format("{} values", count));
}

}  // namespace

std::string usage_error(const CLI::App& root, const CLI::ParseError& error) {
    const CLI::App* app = &root;
    std::string path = root.get_name();
    while (!app->get_subcommands().empty()) {
        app = app->get_subcommands().back();
        path += " " + app->get_name();
    }
    // A required option that is missing is often one that is misspelt.
    const std::vector<std::string> unknown = app->remaining();
    const auto option = std::find_if(unknown.begin(), unknown.end(), [](const std::string& word) {
        return word.starts_with('-') && word.find_first_not_of('-') != std::string::npos;
    });
    std::string what = error.what();
    if (what == "A subcommand is required") what = "a command is expected";
    if (error.get_name() == "ArgumentMismatch") what = missing_values(*app, what);
    if (option != unknown.end())
        what = unknown_option(*app, *option);
    else if (!unknown.empty())
        what = unknown_word(*app, unknown.front());
    return fmt::format("{} ({} --help shows the usage)", what, path);
}

}  // namespace iwseg
