#include "apps/commands/help.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <map>
#include <sstream>

#include "apps/terminal/wrapped_text.h"

namespace iwseg {
namespace {

constexpr std::size_t kWidth = 80, kNames = 26;

/// What stands for the value of options that several commands have. An option's own type_name() goes before it.
std::string value_word(const CLI::Option& option, const std::string& type) {
    static const std::map<std::string, std::string> words = {
        {"--annotations", "FILE"},   {"--candidates", "FILE"}, {"--cases", "NAMES"},    {"--config", "FILE"},
        {"--configs", "FOLDER"},     {"--data", "DATASET"},    {"--device", "NAME"},    {"--exclude", "NAMES"},
        {"--excluded", "FILE"},      {"--image", "FILE"},      {"--input", "FILE"},     {"--labels", "VALUES"},
        {"--loss", "NAME"},          {"--mask", "FILE"},       {"--metrics", "NAMES"},  {"--name", "NAME"},
        {"--network", "NAME"},       {"--out", "FOLDER"},      {"--precision", "NAME"}, {"--protocol", "NAME"},
        {"--raw", "FOLDER"},         {"--run", "RUN"},         {"--save", "NAMES"},     {"--seriesuids", "FILE"},
        {"--predictions", "FOLDER"}, {"--set", "KEY=VALUE"},   {"--weights", "FILE"}};
    if (type == "INT" || type == "UINT" || type == "FLOAT") return "N";
    if (type != "TEXT") return type;
    const auto found = words.find(option.get_name());
    return found == words.end() ? type : found->second;
}

/// What an option's check allows, as it says itself: "INT in [1 - 20]", "POSITIVE" or "NONNEGATIVE".
struct AllowedRange {
    std::string text;  ///< empty: anything, or what the option's own text says
    double low = -std::numeric_limits<double>::infinity(), high = std::numeric_limits<double>::infinity();

    explicit AllowedRange(const std::string& check) {
        if (check == "POSITIVE") {
            text = "above 0";
            low = std::numeric_limits<double>::min();
        } else if (check == "NONNEGATIVE") {
            text = "0 or more";
            low = 0;
        } else if (const std::size_t open = check.find('['), between = check.find(" - ", open), close = check.find(']');
                   open != std::string::npos && between < close && close != std::string::npos) {
            const std::string first = check.substr(open + 1, between - open - 1);
            const std::string last = check.substr(between + 3, close - between - 3);
            text = first + " to " + last;
            low = std::strtod(first.c_str(), nullptr);
            high = std::strtod(last.c_str(), nullptr);
        }
    }
    /// A default outside of it stands for an option that is not given.
    bool holds(const std::string& value) const {
        const double number = std::strtod(value.c_str(), nullptr);
        return text.empty() || (number >= low && number <= high);
    }
};

std::string names_of(const CLI::Option& option, const std::string& word) {
    std::string names;
    if (option.get_positional()) {
        names = option.get_name(true, false);
    } else {
        for (const std::string& name : option.get_snames()) names += "-" + name + ", ";
        for (const std::string& name : option.get_lnames()) names += "--" + name + ", ";
        names.resize(names.size() - 2);
    }
    if (!option.get_option_text().empty()) return names + option.get_option_text();
    if (!option.get_positional() && option.get_type_size() != 0)
        for (int value = 0; value < std::max(1, option.get_expected_min()); ++value) names += " " + word;
    const bool many = option.get_expected_max() == CLI::detail::expected_max_vector_size;
    return many && option.get_allow_extra_args() ? names + "..." : names;
}

std::string text_of(const CLI::Option& option, const AllowedRange& allowed) {
    const std::string& text = option.get_description();
    std::string facts;
    const auto add = [&](const std::string& fact) { facts += (facts.empty() ? "" : "; ") + fact; };
    if (option.get_required()) add("required");
    if (!allowed.text.empty()) add(allowed.text);
    std::string value = option.get_default_str();
    if (value.starts_with('[') && value.ends_with(']')) value = value.substr(1, value.size() - 2);
    const bool told = option.get_required() || text.find("default") != std::string::npos || !allowed.holds(value);
    if (!value.empty() && !told) add("default: " + value);
    return facts.empty() ? text : text + " (" + facts + ")";
}

/// A line of names with their text beside it, or below where they are long.
std::string row(const std::string& names, const std::string& text) {
    std::string out = "  " + names;
    bool beside = names.size() + 2 <= kNames - 2;
    for (const std::string& line : wrapped(text, kWidth - kNames)) {
        if (!beside) out += "\n";
        const std::size_t start = beside ? kNames - out.size() : kNames;
        out += std::string(start, ' ') + line;
        beside = false;
    }
    return out + "\n";
}

std::string option_row(const CLI::Option& option) {
    // "TYPE:check"
    std::istringstream type_and_check(option.get_type_name());
    std::string type, check;
    std::getline(type_and_check, type, ':');
    std::getline(type_and_check, check);
    return row(names_of(option, value_word(option, type)), text_of(option, AllowedRange(check)));
}

std::string options_text(const CLI::App& app) {
    std::string text;
    for (const bool positional : {true, false})
        for (const std::string& group : app.get_groups()) {
            const auto options = app.get_options([&](const CLI::Option* option) {
                return option->get_group() == group && option->get_positional() == positional;
            });
            if (group.empty() || options.empty()) continue;
            text += "\n" + (positional ? std::string("Arguments") : group) + ":\n";
            for (const CLI::Option* option : options) text += option_row(*option);
        }
    return text;
}

std::string commands_text(const CLI::App& app) {
    const auto commands = app.get_subcommands([](const CLI::App* command) { return !command->get_name().empty(); });
    std::string text = commands.empty() ? "" : "\nCommands:\n";
    for (const CLI::App* command : commands) text += row(command->get_name(), command->get_description());
    return text;
}

std::string usage_text(const CLI::App& app, const std::string& name) {
    std::string text = "Usage: " + name;
    for (const CLI::Option* option : app.get_options()) {
        if (!option->get_required() && !option->get_positional()) continue;
        std::string type = option->get_type_name();
        type.resize(std::min(type.find(':'), type.size()));
        const std::string names = names_of(*option, value_word(*option, type));
        text += option->get_required() ? " " + names : " [" + names + "]";
    }
    const bool has_commands = !app.get_subcommands([](const CLI::App*) { return true; }).empty();
    text += has_commands ? " COMMAND [OPTIONS]" : " [OPTIONS]";
    std::string lines;
    for (const std::string& line : wrapped(text, kWidth - 4)) lines += (lines.empty() ? "" : "\n    ") + line;
    return lines + "\n";
}

/// Prose is wrapped; lines that begin with spaces are examples, to be copied as they are.
std::string footer_text(const CLI::App& app) {
    std::istringstream footer(app.get_footer());
    std::string text;
    for (std::string line; std::getline(footer, line);) {
        if (line.starts_with(' '))
            text += line + "\n";
        else
            for (const std::string& part : wrapped(line, kWidth)) text += part + "\n";
    }
    return text.empty() ? text : "\n" + text;
}

}  // namespace

std::string HelpFormatter::make_help(const CLI::App* app, std::string name, CLI::AppFormatMode) const {
    std::string text;
    for (const std::string& line : wrapped(app->get_description(), kWidth)) text += line + "\n";
    return text + usage_text(*app, name) + options_text(*app) + commands_text(*app) + footer_text(*app);
}

}  // namespace iwseg
