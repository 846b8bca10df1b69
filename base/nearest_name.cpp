#include "base/nearest_name.h"

#include <algorithm>
#include <cctype>
#include <utility>

namespace iwseg {
namespace {

char plain(char c) {
    if (c == '-') return '_';
    return static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
}

/// Damerau's distance without repeated edits of one place; case does not count, nor '-' against '_'.
std::size_t edit_distance(const std::string& a, const std::string& b) {
    std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), now(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
        now[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const bool same = plain(a[i - 1]) == plain(b[j - 1]);
            now[j] = std::min({last[j] + 1, now[j - 1] + 1, last[j - 1] + (same ? 0 : 1)});
            if (i > 1 && j > 1 && plain(a[i - 1]) == plain(b[j - 2]) && plain(a[i - 2]) == plain(b[j - 1]))
                now[j] = std::min(now[j], before[j - 2] + 1);
        }
        std::swap(before, last);
        std::swap(last, now);
    }
    return last[b.size()];
}

}  // namespace

std::string nearest_name(const std::string& word, const std::vector<std::string>& known) {
    std::string nearest;
    std::size_t fewest = 0;
    for (const std::string& name : known) {
        const std::size_t longer = std::max(word.size(), name.size()), edits = edit_distance(word, name);
        const std::size_t allowed = longer < 2 ? 0 : std::max<std::size_t>(1, longer / 3);
        if (edits <= allowed && (nearest.empty() || edits < fewest)) {
            nearest = name;
            fewest = edits;
        }
    }
    return nearest;
}

}  // namespace iwseg
