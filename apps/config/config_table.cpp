#include "apps/config/config_table.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "apps/config/config_keys.h"
#include "apps/config/config_values.h"
#include "apps/terminal/wrapped_text.h"
#include "base/error.h"

namespace iwseg {
namespace {

/// In a cell of a table of Markdown a bar would end the cell.
std::string cell(std::string text) {
    for (std::size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2) text.insert(at, 1, '\\');
    return text;
}

}  // namespace

std::string config_table(std::size_t width) {
    const Config defaults;
    constexpr std::size_t key_column = 18, default_column = 22, indent = 4;
    std::string text = fmt::format("{:<{}}{:<{}}unit or values\n", "key", key_column, "default", default_column);
    for_each_key(defaults, [&](const char* name, const auto& value, const KeyText& about) {
        const std::size_t left = key_column + default_column;
        std::string start = fmt::format("{:<{}}{:<{}}", name, key_column, written(value), default_column);
        for (const std::string& line : wrapped(about.unit, width - left)) {
            text += start + line + "\n";
            start.assign(left, ' ');
        }
        for (const std::string& line : wrapped(about.meaning, width - indent))
            text += std::string(indent, ' ') + line + "\n";
    });
    return text;
}

std::string config_markdown() {
    const Config defaults;
    std::string text =
        "# Configuration\n"
        "Every key of a configuration file, as `iwseg train --keys` prints it. A file names the keys it sets and "
        "leaves the\n"
        "others; `--set key=value` overrides it. `base = \"base.toml\"`, in a file alone, takes the keys of another "
        "file first.\n"
        "Keys with a dot may be written as a table: `predict = {patch = 160, stride = 144}`.\n"
        "\n"
        "This page is printed by `iwseg train --keys=markdown`, and a test compares them.\n"
        "\n"
        "| key | default | unit or values | meaning |\n"
        "|---|---|---|---|\n";
    for_each_key(defaults, [&](const char* name, const auto& value, const KeyText& about) {
        text += fmt::format("| `{}` | `{}` | {} | {} |\n", name, written(value), cell(about.unit), cell(about.meaning));
    });
    return text;
}

void add_keys_flag(CLI::App& command) {
    const auto print = [](const std::string& form) {
        if (!form.empty() && form != "markdown")
            throw InputError("--keys=" + form + " is unknown: expected --keys or --keys=markdown");
        fmt::print("{}", form.empty() ? config_table() : config_markdown());
        throw CLI::Success();
    };
    command
        .add_option_function<std::string>("--keys", print,
                                          "print every key of a configuration with default, unit and meaning, and end")
        ->expected(0, 1)
        ->option_text("[=markdown]");
}

}  // namespace iwseg
