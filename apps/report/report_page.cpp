#include "apps/report/report_page.h"

#include <fmt/format.h>

#include "apps/chart/chart.h"

namespace iwseg {
namespace {

constexpr std::string_view kStyle = R"css(
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --text: #1c2430; --soft: #566070; --line: #dfe3e9; --strong: #eef2f7;
  --target: #f0e442;
}
@media (prefers-color-scheme: dark) {
  :root { --page: #12161c; --card: #1b2129; --text: #e6eaf0; --soft: #a3aebc; --line: #303945; --strong: #242c36; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 24px 16px 64px; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 8px 0 4px; letter-spacing: -0.01em; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 0 0 6px; }
h3 { font-size: 1.05rem; margin: 0; overflow-wrap: anywhere; }
p { margin: 6px 0 12px; max-width: 75ch; }
a { color: inherit; }
.lead, .note, figcaption { color: var(--soft); }
.note, figcaption { font-size: 0.9rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 20px; margin: 20px 0; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); gap: 16px; }
.chart { --chart-ink: var(--text); --chart-background: var(--card); }
.chart svg { display: block; width: 100%; height: auto; }
.scroll { overflow-x: auto; margin: 8px 0 14px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 7px 12px; border-bottom: 1px solid var(--line); vertical-align: top; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
tbody th { font-weight: 400; }
thead th { font-weight: 600; font-size: 0.9rem; vertical-align: bottom; }
td.text { text-align: left; }
td.best { font-weight: 700; background: var(--strong); }
.run { white-space: nowrap; }
.run i { display: inline-block; width: 0.75em; height: 0.75em; border-radius: 3px; margin-right: 0.4em; }
.scan { border-top: 1px solid var(--line); padding-top: 14px; margin-top: 18px; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 260px), 1fr)); gap: 12px;
  margin: 10px 0; max-width: 820px; }
figure { margin: 0; }
figure svg { display: block; width: 100%; height: auto; background: #000; border-radius: 6px; }
figure path, figure ellipse, .key path, .key ellipse { fill: none; vector-effect: non-scaling-stroke; }
.halo { stroke: #fff; stroke-opacity: 0.7; stroke-width: 3.4; }
.target { stroke: var(--target); stroke-width: 2; }
.prediction { stroke-width: 1.8; }
.missed { stroke: var(--target); stroke-width: 2; stroke-dasharray: 5 4; }
.false { stroke-width: 2; stroke-dasharray: 2 3; }
.scale { stroke: #fff; stroke-width: 2; }
.edge { stroke: #000; stroke-width: 5; }
.mark { fill: #fff; stroke: #000; stroke-width: 0.16em; paint-order: stroke; font-weight: 600; }
.key { display: flex; flex-wrap: wrap; gap: 6px 20px; padding: 0; list-style: none; font-size: 0.9rem; }
.key svg { width: 34px; height: 20px; vertical-align: -5px; margin-right: 6px; background: #555; border-radius: 3px; }
.key path, .key ellipse { fill: none; }
dt { font-weight: 600; } dd { margin: 0 0 8px; color: var(--soft); max-width: 75ch; }
details { margin: 10px 0; }
summary { cursor: pointer; font-weight: 600; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--strong); border-radius: 8px; padding: 12px;
  font-size: 0.85rem; margin: 6px 0; }
footer { color: var(--soft); font-size: 0.9rem; }
@media (max-width: 640px) {
  main { padding: 12px 8px 40px; }
  section { padding: 14px 12px; border-radius: 8px; }
  th, td { padding: 6px 7px; font-size: 0.92rem; }
}
@page { margin: 14mm; }
@media print {
  :root { color-scheme: light; --page: #fff; --card: #fff; --text: #000; --soft: #333; --line: #bbb; --strong: #eee; }
  body { font-size: 10.5pt; }
  main { padding: 0; max-width: none; }
  section { border: 0; border-radius: 0; padding: 0; margin: 0 0 8mm; }
  h2, h3, summary, thead, section > p, .scan > .note, .key { break-after: avoid; }
  figure, .chart, tr, .pictures, dt, pre { break-inside: avoid; }
  .charts { grid-template-columns: 1fr 1fr; }
  .scroll { overflow: visible; }
  th, td { padding: 1.2mm 1.6mm; font-size: 9pt; }
  tbody th { overflow-wrap: anywhere; }
  pre { break-inside: auto; }
  details::details-content { content-visibility: visible; display: block; height: auto; }
  .key svg, figure svg, .run i, td.best { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  a[download] { display: none; }
}
)css";

std::string cell_html(const HtmlCell& cell) {
    const char* kind = cell.best ? " class=\"best\"" : cell.is_text ? " class=\"text\"" : "";
    return fmt::format("<td{}>{}</td>", kind, cell.html);
}

}  // namespace

std::string escape_html(std::string_view text) {
    std::string escaped;
    for (const char letter : text) switch (letter) {
            case '&':
                escaped += "&amp;";
                break;
            case '<':
                escaped += "&lt;";
                break;
            case '>':
                escaped += "&gt;";
                break;
            case '"':
                escaped += "&quot;";
                break;
            case '\'':
                escaped += "&#39;";
                break;
            default:
                escaped += letter;
        }
    return escaped;
}

std::string run_mark(std::string_view name, std::size_t nth) {
    return fmt::format(R"(<span class="run"><i style="background:{}"></i>{}</span>)", chart_colour(nth),
                       escape_html(name));
}

std::string html_table(const HtmlTable& table) {
    std::string html = "<div class=\"scroll\"><table>";
    if (!table.caption.empty()) html += fmt::format("<caption>{}</caption>", table.caption);
    html += "<thead><tr>";
    for (const std::string& heading : table.headings) html += fmt::format(R"(<th scope="col">{}</th>)", heading);
    html += "</tr></thead><tbody>";
    for (const HtmlRow& row : table.rows) {
        html += fmt::format(R"(<tr><th scope="row">{}</th>)", row.heading);
        for (const HtmlCell& cell : row.cells) html += cell_html(cell);
        html += "</tr>";
    }
    return html + "</tbody></table></div>";
}

std::string html_page(std::string_view title, std::string_view body) {
    return fmt::format(R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{}</title><style>{}</style></head>
<body><main>{}</main></body></html>
)",
                       escape_html(title), kStyle, body);
}

}  // namespace iwseg
