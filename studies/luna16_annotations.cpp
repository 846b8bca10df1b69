#include "studies/luna16_annotations.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <sstream>
#include <string_view>

#include "base/atomic_file.h"
#include "base/error.h"

namespace iwseg {
namespace {

constexpr std::array<std::string_view, 5> kColumns{"seriesuid", "coordX", "coordY", "coordZ", "diameter_mm"};

std::string_view trimmed(std::string_view text) {
    constexpr std::string_view blank = " \t\r\"";
    const std::size_t first = text.find_first_not_of(blank);
    return first == std::string_view::npos ? "" : text.substr(first, text.find_last_not_of(blank) - first + 1);
}

std::vector<std::string_view> cells_of(std::string_view line) {
    std::vector<std::string_view> cells;
    for (std::size_t from = 0;;) {
        const std::size_t comma = line.find(',', from);
        cells.push_back(trimmed(line.substr(from, comma - from)));
        if (comma == std::string_view::npos) return cells;
        from = comma + 1;
    }
}

/// Where each of the columns stands.
std::array<std::size_t, 5> find_columns(std::string_view heading, const std::string& file) {
    if (heading.starts_with("\xEF\xBB\xBF")) heading.remove_prefix(3);
    const std::vector<std::string_view> names = cells_of(heading);
    std::array<std::size_t, 5> places{};
    for (std::size_t c = 0; c < kColumns.size(); ++c) {
        const auto found = std::find(names.begin(), names.end(), kColumns[c]);
        if (found == names.end())
            throw InputError(fmt::format("{} has no column {} in its first line; {} were expected", file, kColumns[c],
                                         fmt::join(kColumns, ", ")));
        places[c] = static_cast<std::size_t>(found - names.begin());
    }
    return places;
}

}  // namespace

std::map<std::string, std::vector<NoduleAnnotation>> read_annotations(const std::filesystem::path& file) {
    std::istringstream text(read_text(file));
    std::string line;
    std::getline(text, line);
    const std::array<std::size_t, 5> places = find_columns(line, file.string());
    std::map<std::string, std::vector<NoduleAnnotation>> annotations;
    for (int number = 2; std::getline(text, line); ++number) {
        if (trimmed(line).empty()) continue;
        const std::vector<std::string_view> cells = cells_of(line);
        std::array<double, 4> values{};
        for (std::size_t c = 0; c < kColumns.size(); ++c) {
            const std::string_view cell = places[c] < cells.size() ? cells[places[c]] : "";
            bool good = !cell.empty();
            if (c > 0) {
                const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), values[c - 1]);
                good = error == std::errc() && end == cell.data() + cell.size() && std::isfinite(values[c - 1]);
            }
            if (!good)
                throw InputError(fmt::format("{}, line {}: {} is \"{}\", but {} was expected", file.string(), number,
                                             kColumns[c], cell, c == 0 ? "a series UID" : "a number"));
        }
        annotations[std::string(cells[places[0]])].push_back({{values[0], values[1], values[2]}, values[3]});
    }
    return annotations;
}

}  // namespace iwseg
