#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace iwseg {

/// The text of --help, in lines of at most 80 characters: usage, options with readable names of their values, ranges
/// and defaults, then the command's footer as it is written, whose examples are lines that begin with two spaces.
class HelpFormatter : public CLI::FormatterBase {
  public:
    std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const override;
};

/// One sentence for a command line that could not be parsed: the nearest known option or command where a word is
/// unknown, and whose --help shows more.
std::string usage_error(const CLI::App& app, const CLI::ParseError& error);

}  // namespace iwseg
