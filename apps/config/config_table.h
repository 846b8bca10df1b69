#pragma once

#include <cstddef>
#include <string>

namespace CLI {
class App;
}

namespace iwseg {

/// Every key of a configuration with default, unit or values, and meaning, in lines of at most `width` characters.
std::string config_table(std::size_t width = 80);
/// The same as docs/configuration.md holds it.
std::string config_markdown();

/// Adds --keys to a command: prints the table (--keys=markdown: the document) and ends, whatever else is given.
void add_keys_flag(CLI::App& command);

}  // namespace iwseg
