#pragma once

#include <string>
#include <string_view>

namespace iwseg {

/// Text with the characters that mean something to HTML replaced.
std::string escape_html(std::string_view text);

/// A whole page with the report's style, readable in light and dark and on a phone. body is HTML.
std::string html_page(std::string_view title, std::string_view body);

}  // namespace iwseg
