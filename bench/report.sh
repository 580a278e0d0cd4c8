#!/bin/bash
# Make medians, tables and plots from the measurements of a run, without
# measuring.
#
#   bench/report.sh [directory of the measurements [directory of the summary]]
#
# Reads results.csv, and opening.csv and settling.csv if there are any (default:
# beside this script).  The medians go to benchmark.csv in the other directory
# (default: docs), the plots beside it, and the tables replace those between the
# two markers of benchmarks.md there.

set -euo pipefail
here=$(dirname "$0")
results=${1:-$here}
summary=${2:-$here/../docs}
document=$summary/benchmarks.md
begin='<!-- bench:begin -->'
end='<!-- bench:end -->'

tables() {
    awk -f "$here/tables.awk" "$summary/benchmark.csv"
    awk -f "$here/targets.awk" "$summary/benchmark.csv"
    [ ! -f "$results/opening.csv" ] ||
        awk -f "$here/median.awk" -f "$here/opening.awk" "$results/opening.csv"
    [ ! -f "$results/settling.csv" ] ||
        awk -f "$here/settling.awk" "$results/settling.csv"
}

# Print the document with what stands between the markers replaced by a file.
replace_section() {
    awk -v begin="$begin" -v end="$end" -v section="$1" '
        $0 == end { inside = 0 }
        !inside { print }
        $0 == begin {
            inside = 1
            while ((getline line < section) > 0)
                print line
        }' "$document"
}

awk -f "$here/median.awk" -f "$here/medians.awk" "$results/results.csv" > "$summary/benchmark.csv"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{ echo; tables; echo; } > "$work/section"
[ -f "$document" ] || printf '# Benchmarks\n\n%s\n%s\n' "$begin" "$end" > "$document"
if [ "$(grep -cFx -e "$begin" -e "$end" "$document")" != 2 ]; then
    echo "$document must have one line '$begin' and one line '$end'" >&2
    exit 1
fi
replace_section "$work/section" > "$work/document"
cat "$work/document" > "$document"
"$here/plot.sh" "$summary"
echo "tables: $document" >&2
