#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace iwseg {

/// Text with the characters that mean something to HTML replaced.
std::string escape_html(std::string_view text);

/// A run's name with a patch of its colour, which is that of its curves (chart_colour).
std::string run_mark(std::string_view name, std::size_t nth);

/// Contents are HTML.
struct HtmlCell {
    std::string html;
    bool best = false;     ///< set off as the best of its kind
    bool is_text = false;  ///< aligned as words are, not as numbers
};
struct HtmlRow {
    std::string heading;
    std::vector<HtmlCell> cells;
};
/// The first heading is that of the rows' own headings.
struct HtmlTable {
    std::vector<std::string> headings;
    std::vector<HtmlRow> rows;
    std::string caption = {};
};
/// Headings name what they are of (`scope`), so that a screen reader can say it; wide tables scroll.
std::string html_table(const HtmlTable& table);

/// A whole page with the report's style, readable in light and dark and on a phone. body is HTML.
std::string html_page(std::string_view title, std::string_view body);

}  // namespace iwseg
