#include "apps/report_page.h"

#include <fmt/format.h>

namespace iwseg {
namespace {

constexpr std::string_view style = R"css(
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --text: #1c2430; --soft: #5b6675; --line: #dfe3e9; --strong: #eef2f7;
  --target: #35b6f2; --prediction: #f0a01e; --missed: #ff6fb5;
}
@media (prefers-color-scheme: dark) {
  :root { --page: #12161c; --card: #1b2129; --text: #e6eaf0; --soft: #9aa6b5; --line: #303945; --strong: #242c36; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 24px 16px 64px; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 8px 0 4px; letter-spacing: -0.01em; }
h2 { font-size: 1.3rem; margin: 0 0 6px; }
h3 { font-size: 1.05rem; margin: 0; }
p { margin: 6px 0 12px; max-width: 75ch; }
.lead, .note, figcaption { color: var(--soft); }
.note, figcaption { font-size: 0.9rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 20px; margin: 20px 0; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 16px; }
.chart { --chart-ink: var(--text); --chart-background: var(--card); overflow-x: auto; }
.chart svg { display: block; width: 100%; height: auto; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 8px 12px; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { color: var(--soft); font-weight: 600; font-size: 0.9rem; }
td.best { font-weight: 700; background: var(--strong); }
.scan { border-top: 1px solid var(--line); padding-top: 14px; margin-top: 18px; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 260px), 1fr)); gap: 12px;
  margin: 10px 0; max-width: 820px; }
figure { margin: 0; }
figure svg { display: block; width: 100%; height: auto; background: #000; border-radius: 6px; }
figure path, figure ellipse, .key path, .key ellipse { fill: none; vector-effect: non-scaling-stroke; }
.target { stroke: var(--target); stroke-width: 2.2; }
.prediction { stroke: var(--prediction); stroke-width: 1.2; }
.missed { stroke: var(--missed); stroke-width: 2; stroke-dasharray: 5 4; }
.false { stroke: var(--prediction); stroke-width: 1.6; stroke-dasharray: 2 4; }
.key { display: flex; flex-wrap: wrap; gap: 6px 20px; padding: 0; list-style: none; font-size: 0.9rem; }
.key svg { width: 28px; height: 16px; vertical-align: -3px; margin-right: 6px; }
dt { font-weight: 600; } dd { margin: 0 0 8px; color: var(--soft); max-width: 75ch; }
summary { cursor: pointer; font-weight: 600; }
pre { overflow-x: auto; background: var(--strong); border-radius: 8px; padding: 12px; font-size: 0.85rem; }
)css";

}  // namespace

std::string escape_html(std::string_view text) {
    std::string escaped;
    for (const char letter : text) switch (letter) {
            case '&': escaped += "&amp;"; break;
            case '<': escaped += "&lt;"; break;
            case '>': escaped += "&gt;"; break;
            case '"': escaped += "&quot;"; break;
            case '\'': escaped += "&#39;"; break;
            default: escaped += letter;
        }
    return escaped;
}

std::string html_page(std::string_view title, std::string_view body) {
    return fmt::format(R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{}</title><style>{}</style></head>
<body><main>{}</main></body></html>
)",
                       escape_html(title), style, body);
}

}  // namespace iwseg
