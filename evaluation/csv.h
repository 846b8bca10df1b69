#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace iwseg {

/// A file of values between commas, as RFC 4180 has them: a value in double quotes may hold commas, line ends and
/// doubled quotes. A byte order mark is dropped, lines end with LF, CRLF or CR, empty lines are passed over, spaces
/// around values cut.
struct CsvTable {
    struct Row {
        std::size_t line = 0;  ///< where it begins in the file, from 1
        std::vector<std::string> values;
    };
    std::filesystem::path file;
    std::vector<Row> rows;  ///< the header, where there is one, among them

    /// The place in the first row of the column of that name. Throws InputError naming the file and the columns it has.
    std::size_t column(const std::string& name) const;
    /// A value of a row. Throws InputError naming file and line where the row is too short.
    const std::string& value(const Row& row, std::size_t column) const;
    /// The value as a finite number. Throws InputError naming file, line and column where it is none.
    double number(const Row& row, std::size_t column) const;
};

/// Throws InputError where the file cannot be read, is empty or ends within quotes.
CsvTable read_csv(const std::filesystem::path& file);

}  // namespace iwseg
