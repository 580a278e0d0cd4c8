# Medians of the rounds: single measurements in, one line for each contestant
# with its workload and number of clients out, in the order of appearance.
# Needs median.awk.

BEGIN { FS = "," }
/^#/ { print; next }
$1 == "workload" {
    print "workload,clients,contestant,sold,sold_min,sold_max,accepted,answered,answered_min,answered_max,p50,p99"
    next
}
{
    key = $1 "," $2 "," $4
    if (!(key in sold))
        order[++keys] = key
    sold[key] = sold[key] " " $5
    accepted[key] = accepted[key] " " $6
    answered[key] = answered[key] " " $7
    p50[key] = p50[key] " " $8
    p99[key] = p99[key] " " $9
}
END {
    for (k = 1; k <= keys; k++) {
        key = order[k]
        printf "%s,%.0f", key, median(sold[key])
        printf ",%.0f,%.0f", low, high
        printf ",%.0f,%.0f", median(accepted[key]), median(answered[key])
        printf ",%.0f,%.0f", low, high
        printf ",%.3f,%.3f\n", median(p50[key]), median(p99[key])
    }
}
