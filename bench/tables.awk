# Medians in, a Markdown table for each workload out, with the ratios to those
# yardsticks that the workload has.

function ratio(a, b) {
    if (a <= 0 || b <= 0)
        return ""
    return sprintf(a / b < 0.1 ? "%.4f" : "%.2f", a / b)
}

# Choose the yardsticks that were measured in this workload; returns how many.
function choose_yardsticks(workload,    y, n) {
    n = 0
    for (y = 1; y in yardstick; y++)
        if ((workload, yardstick[y]) in ran)
            chosen[++n] = y
    return n
}

function heading(workload, n,    i, rule) {
    print "\n### " title[workload] "\n"
    printf "| clients | contestant | sold/s (min to max) | answered/s (min to max) | p50 ms | p99 ms |"
    rule = "|---:|---|---|---|---:|---:|"
    for (i = 1; i <= n; i++) {
        printf " / `%s` |", yardstick[chosen[i]]
        rule = rule "---:|"
    }
    print "\n" rule
}

function range(middle, low, high) {
    return middle > 0 ? middle " (" low " to " high ")" : "0"
}

function table(workload, n,    k, i, f, sold, answered) {
    for (k = 1; k <= rows; k++) {
        split(row[k], f, ",")
        if (f[1] != workload)
            continue
        sold = range(f[4], f[5], f[6])
        answered = range(f[8], f[9], f[10])
        printf "| %s | `%s` | %s | %s | %.2f | %.2f |", f[2], f[3], sold,
            answered == sold ? "=" : answered, f[11], f[12]
        for (i = 1; i <= n; i++)
            printf " %s |", ratio(rate[f[1], f[2], f[3]], rate[f[1], f[2], yardstick[chosen[i]]])
        print ""
    }
}

BEGIN {
    FS = ","
    title["hot"] = "One hot item"
    title["batch"] = "One hot item, the server in scheduling class SCHED_BATCH"
    title["storm"] = "A sold-out item"
    title["uniform"] = "100 items, equally popular"
    title["zipf"] = "100 items, Zipf"
    title["accounts"] = "100,000 items, Zipf"
    title["eight"] = "8 items, equally popular"
    title["merged"] = "8 items, with calls for 100 buyers"
    title["rules"] = "A limit of 1 and a request with each purchase"
    title["expiry"] = "Pending orders, while 2000 a second expire or none"
    title["cart"] = "A row that references the item, and the purchase, in one transaction"
    title["codes"] = "Coupon codes: one item, each unit with a code"
    title["envelopes"] = "1000 envelopes of 300 shares"
    title["prizes"] = "A prize pool: every third draw wins"
    title["train"] = "Seats of trains of 1000 seats and 20 legs, one train after the other"
    title["trains"] = "Seats of 20 such trains at a time"
    title["full"] = "A train that is sold out"
    title["counter"] = "A counter without orders"
    split("select_1 insert insert_booking seats_skip_locked seats_skip_locked_call seats_skip_locked_steps seats_line insert_unit code_pool odds for_update_call redis redis_100", yardstick, " ")
}
/^#/ { print substr($0, 3) ". Medians; `=` where every call sold a unit."; next }
$1 == "workload" { next }
{
    row[++rows] = $0
    ran[$1, $3] = 1
    # contestants that sell are compared by units sold, the others by answers
    rate[$1, $2, $3] = $4 > 0 ? $4 : $8
    if (!($1 in seen)) {
        seen[$1] = 1
        workload[++workloads] = $1
    }
}
END {
    for (w = 1; w <= workloads; w++) {
        n = choose_yardsticks(workload[w])
        heading(workload[w], n)
        table(workload[w], n)
    }
}
