#!/bin/bash
# Draw the medians of the hot item against the number of clients.
#
#   bench/plot.sh [directory]
#
# Reads benchmark.csv in the directory (default: docs), writes benchmark.svg.

set -euo pipefail
directory=${1:-$(dirname "$0")/../docs}
csv=$directory/benchmark.csv
points=$(mktemp)
trap 'rm -f "$points"' EXIT

# Ours are solid lines with filled points, the rivals dashed ones with open
# points.  Contestant, colour, dashes (1: solid), point.
styles='
queue           #d62728 1 7
cache           #1f77b4 1 5
auto            #17becf 1 9
submit          #ff7f0e 1 11
buy_many        #9467bd 1 13
advisory        #2ca02c 1 15
pessimistic     #8c564b 1 7
retry           #e377c2 1 5
select_1        #000000 2 1
insert          #7f7f7f 2 4
redis           #b8860b 2 6
cte             #800080 2 8
advisory_call   #006400 2 10
for_update_call #0000cd 2 12
skip_locked     #4682b4 2 14
row_lock        #b22222 2 2
'

command -v gnuplot > /dev/null || { echo "no gnuplot: no plot" >&2; exit 0; }

# One block of points for each contestant that was measured, and the part of
# the plot command that draws it.
plots=
index=0
while read -r name colour dashes point; do
    [ -n "$name" ] || continue
    # select_1 sells nothing: what it answers is shown
    block=$(awk -F, -v name="$name" '$1 == "hot" && $3 == name {
        print $2, name == "select_1" ? $8 : $4, $12 }' "$csv" | sort -n)
    [ -n "$block" ] || continue
    printf '%s\n\n\n' "$block" >> "$points"
    title=${name/select_1/select_1 (answered)}
    plots+="'$points' index $index using 1:COLUMN with linespoints"
    plots+=" lc rgb '$colour' dt $dashes lw 1.8 pt $point ps 0.7 title '$title', "
    index=$((index + 1))
done <<< "$styles"
[ -n "$plots" ] || { echo "no measurement of the hot item: no plot" >&2; exit 0; }
plots=${plots%, }

gnuplot <<PLOT
set terminal svg size 1280,560 font 'sans-serif,14' background 'white'
set output '$directory/benchmark.svg'
set termoption noenhanced
set logscale xy
set xtics (1, 8, 64, 200)
set xrange [0.8:260]
set format y '%.0s%c'
set xlabel 'clients (connections)'
set grid xtics ytics lt 1 lw 1 lc rgb '#dddddd'
set border 3
set tics nomirror
set tmargin at screen 0.91
set bmargin at screen 0.12
set multiplot

set lmargin at screen 0.06
set rmargin at screen 0.385
set title 'One hot item: throughput'
set ylabel 'units sold a second'
unset key
plot ${plots//COLUMN/2}

set lmargin at screen 0.46
set rmargin at screen 0.78
set title 'One hot item: latency of a call, 99th percentile'
set ylabel 'milliseconds' offset 1
set format y '%g'
set key at screen 0.80, 0.91 top left vertical Left reverse samplen 3 spacing 1.15
plot ${plots//COLUMN/3}
PLOT
