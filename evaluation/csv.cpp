#include "evaluation/csv.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <cmath>
#include <string_view>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/nearest_name.h"

namespace iwseg {
namespace {

std::string trimmed(const std::string& value) {
    const std::size_t first = value.find_first_not_of(" \t");
    if (first == std::string::npos) return "";
    return value.substr(first, value.find_last_not_of(" \t") - first + 1);
}

/// Splits the text into rows, one character after another.
class CsvParser {
  public:
    CsvParser(const std::filesystem::path& file, std::string_view text) : text_(text) { table_.file = file; }

    CsvTable parse() {
        constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
        if (text_.starts_with(byte_order_mark)) at_ = byte_order_mark.size();
        row_.line = line_;
        while (at_ < text_.size()) {
            const char character = text_[at_];
            if (character == '"' && trimmed(value_).empty() && !was_quoted_) {
                quoted();
            } else if (character == ',') {
                end_value();
                ++at_;
            } else if (character == '\n' || character == '\r') {
                at_ += text_.substr(at_).starts_with("\r\n") ? 2 : 1;
                ++line_;
                end_row();
            } else {
                value_ += character;
                ++at_;
            }
        }
        end_row();
        return std::move(table_);
    }

  private:
    /// Reads up to the closing quote.
    void quoted() {
        const std::size_t first_line = line_;
        value_.clear();
        was_quoted_ = true;
        for (++at_; at_ < text_.size(); ++at_) {
            if (text_[at_] == '"' && !text_.substr(at_).starts_with("\"\"")) {
                ++at_;
                return;
            }
            if (text_[at_] == '"') ++at_;
            line_ += text_[at_] == '\n';
            value_ += text_[at_];
        }
        throw InputError(fmt::format("{} ends within the quotes that line {} opens", table_.file.string(), first_line));
    }
    void end_value() {
        row_.values.push_back(trimmed(value_));
        value_.clear();
        was_quoted_ = false;
    }
    void end_row() {
        if (!row_.values.empty() || was_quoted_ || !trimmed(value_).empty()) {
            end_value();
            table_.rows.push_back(std::move(row_));
        }
        value_.clear();
        row_ = {line_, {}};
    }

    CsvTable table_;
    std::string_view text_;
    std::size_t at_ = 0, line_ = 1;
    CsvTable::Row row_;
    std::string value_;
    bool was_quoted_ = false;
};

}  // namespace

std::size_t CsvTable::column(const std::string& name) const {
    const std::vector<std::string>& names = rows.front().values;
    for (std::size_t c = 0; c < names.size(); ++c)
        if (names[c] == name) return c;
    const std::string nearest = nearest_name(name, names);
    throw InputError(fmt::format("{} has no column {}{}; its first line is: {}", file.string(), name,
                                 nearest.empty() ? "" : " (" + nearest + " is nearest)", fmt::join(names, ", ")));
}

const std::string& CsvTable::value(const Row& row, std::size_t column) const {
    if (column >= row.values.size())
        throw InputError(fmt::format("{}, line {}, has {} values; expected at least {}, as in the first line",
                                     file.string(), row.line, row.values.size(), column + 1));
    return row.values[column];
}

double CsvTable::number(const Row& row, std::size_t column) const {
    const std::string& text = value(row, column);
    const char* begin = text.data() + (text.starts_with('+') ? 1 : 0);
    const char* end = text.data() + text.size();
    double result = 0;
    const auto [last, error] = std::from_chars(begin, end, result);
    if (error != std::errc{} || last != end || !std::isfinite(result))
        throw InputError(fmt::format("{}, line {}: '{}' in the column {} is not a finite number", file.string(),
                                     row.line, text, rows.front().values[column]));
    return result;
}

CsvTable read_csv(const std::filesystem::path& file) {
    const std::string text = read_text(file);
    CsvTable table = CsvParser(file, text).parse();
    if (table.rows.empty()) throw InputError(file.string() + " is empty; expected values between commas");
    return table;
}

}  // namespace iwseg
