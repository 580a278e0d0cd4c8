#!/bin/bash
# From single measurements to medians, tables and plot, without measuring.
#
#   bench/report.sh [results.csv [directory]]
#
# The medians go to benchmark.csv in the directory (default: docs), the plot
# beside it, the tables to standard output.

set -euo pipefail
here=$(dirname "$0")
results=${1:-$here/results.csv}
directory=${2:-$here/../docs}

awk -f "$here/medians.awk" "$results" > "$directory/benchmark.csv"
echo
awk -f "$here/tables.awk" "$directory/benchmark.csv"
awk -f "$here/targets.awk" "$directory/benchmark.csv"
"$here/plot.sh" "$directory"
