#!/bin/bash
# Draw the medians of the hot item against the number of clients.
#
#   bench/plot.sh [directory]
#
# Reads benchmark.csv in the directory (default: docs).  Writes benchmark.svg,
# the contestants that matter most, and benchmark_others.svg, the others.

set -euo pipefail
directory=${1:-$(dirname "$0")/../docs}
csv=$directory/benchmark.csv
points=$(mktemp)
trap 'rm -f "$points"' EXIT

# The extension's lines are solid with filled points, the rivals' dashed with
# open points.  Contestant, colour, dashes (1: solid), point, title.
main='
queue           #d62728 1 7  queue
cache           #1f77b4 1 5  cache
auto            #17becf 1 9  auto
advisory        #2ca02c 1 15 advisory
redis           #b8860b 2 6  Redis
for_update_call #0000cd 2 12 plain SQL, FOR UPDATE
'
others='
buy_many        #9467bd 1 13 buy_many
submit          #ff7f0e 1 11 submit
pessimistic     #8c564b 1 7  pessimistic
retry           #e377c2 1 5  retry
select_1        #000000 2 1  select_1 (answered)
insert          #7f7f7f 2 4  insert
skip_locked     #4682b4 2 14 skip_locked
advisory_call   #006400 2 10 advisory_call
cte             #800080 2 8  cte
row_lock        #b22222 2 2  row_lock
redis_100       #daa520 2 6  Redis, 100 calls pipelined
'

# Print "clients rate p99" for each number of clients.
points_of() {
    # select_1 sells nothing: its answers are shown
    awk -F, -v name="$1" '$1 == "hot" && $3 == name {
        print $2, name == "select_1" ? $8 : $4, $12 }' "$csv" | sort -n
}

# Write a plot of the styles given to a file.
draw() {
    local file=$1 styles=$2 plots='' index=0 name colour dashes point title block

    : > "$points"
    while read -r name colour dashes point title; do
        [ -n "$name" ] || continue
        block=$(points_of "$name")
        [ -n "$block" ] || continue
        printf '%s\n\n\n' "$block" >> "$points"
        plots+="'$points' index $index using 1:COLUMN with linespoints"
        plots+=" lc rgb '$colour' dt $dashes lw 1.8 pt $point ps 0.7 title '$title', "
        index=$((index + 1))
    done <<< "$styles"
    if [ -z "$plots" ]; then
        echo "no measurement of the hot item: no $(basename "$file")" >&2
        return
    fi
    plots=${plots%, }

    gnuplot <<PLOT
set terminal svg size 1280,560 font 'sans-serif,14' background 'white'
set output '$file'
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
}

command -v gnuplot > /dev/null || { echo "no gnuplot: no plots" >&2; exit 0; }
draw "$directory/benchmark.svg" "$main"
draw "$directory/benchmark_others.svg" "$others"
