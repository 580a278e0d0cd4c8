# opening.csv in, a Markdown table of the medians by second out.  Needs
# median.awk.

BEGIN { FS = "," }
{
    if (!($1 in seconds))
        ahead[++rows] = $1
    seconds[$1] = NF - 2
    clients = $2
    for (s = 1; s <= NF - 2; s++)
        sold[$1, s] = sold[$1, s] " " $(s + 2)
}
END {
    print "\n### The first seconds of a sale\n"
    print "Mode `auto`, " clients " clients, units sold in each second after the opening.\n"
    printf "| `seckill.open_ahead` |"
    rule = "|---|"
    for (s = 1; s <= seconds[ahead[1]]; s++) {
        printf " %d |", s
        rule = rule "---:|"
    }
    print "\n" rule
    for (r = 1; r <= rows; r++) {
        printf "| %s |", ahead[r]
        for (s = 1; s <= seconds[ahead[r]]; s++)
            printf " %d |", median(sold[ahead[r], s])
        print ""
    }
}
