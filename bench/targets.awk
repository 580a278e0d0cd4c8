# Medians in, a Markdown table of the ratios that matter most out.

# a / b where both were measured
function over(a, b) {
    if (a <= 0 || b <= 0)
        return ""
    return sprintf(a / b < 0.1 ? "%.4f" : "%.2f", a / b)
}

function line(what, at_64, at_200) {
    if (at_64 == "" && at_200 == "")
        return
    if (!lines++) {
        print "\n### Ratios of medians\n"
        print "| | 64 clients | 200 clients |"
        print "|---|---:|---:|"
    }
    printf "| %s | %s | %s |\n", what, at_64, at_200
}

function sold_over(what, ours, theirs) {
    line(what, over(sold["hot", 64, ours], sold["hot", 64, theirs]),
        over(sold["hot", 200, ours], sold["hot", 200, theirs]))
}

function of_workload(workload, what, ours, theirs) {
    line(what, over(sold[workload, 64, ours], sold[workload, 64, theirs]),
        over(sold[workload, 200, ours], sold[workload, 200, theirs]))
}

function p99_over(what, ours, theirs) {
    line(what, over(p99["hot", 64, ours], p99["hot", 64, theirs]),
        over(p99["hot", 200, ours], p99["hot", 200, theirs]))
}

BEGIN { FS = "," }
/^#/ || $1 == "workload" { next }
{
    sold[$1, $2, $3] = $4
    accepted[$1, $2, $3] = $7
    answered[$1, $2, $3] = $8
    p99[$1, $2, $3] = $12
}
END {
    sold_over("`queue` / `insert`, sold", "queue", "insert")
    sold_over("`queue` / `for_update_call`, sold", "queue", "for_update_call")
    sold_over("`queue` / `row_lock`, sold", "queue", "row_lock")
    sold_over("`queue` / `redis`, sold", "queue", "redis")
    sold_over("`buy_many` / `insert`, sold", "buy_many", "insert")
    line("`buy_many`, sold/s", sold["hot", 64, "buy_many"], sold["hot", 200, "buy_many"])
    line("`submit`, accepted/s / `select_1`, answered/s",
        over(accepted["hot", 64, "submit"], answered["hot", 64, "select_1"]),
        over(accepted["hot", 200, "submit"], answered["hot", 200, "select_1"]))
    line("`submit`, accepted/s", accepted["hot", 64, "submit"], accepted["hot", 200, "submit"])
    sold_over("`submit` / `insert`, sold", "submit", "insert")
    p99_over("`queue` / `cache`, p99", "queue", "cache")
    p99_over("`queue` / `for_update_call`, p99", "queue", "for_update_call")
    line("`queue`, 8 items / one hot item, sold",
        over(sold["eight", 64, "queue"], sold["hot", 64, "queue"]),
        over(sold["eight", 200, "queue"], sold["hot", 200, "queue"]))
    of_workload("rules", "`cache`, with / without limit and request, sold", "cache_rules", "cache_uuid")
    of_workload("rules", "`queue`, with / without limit and request, sold", "queue_rules", "queue_uuid")
    of_workload("expiry", "`cache`, while orders expire / while none does, sold", "cache_expiring", "cache_pending")
    of_workload("expiry", "`queue`, while orders expire / while none does, sold", "queue_expiring", "queue_pending")
    of_workload("codes", "codes: `claim_cache` / `insert_unit`, sold", "claim_cache", "insert_unit")
    of_workload("codes", "codes: `claim_cache` / `code_pool`, sold", "claim_cache", "code_pool")
    of_workload("codes", "codes: `claim_queue` / `insert_unit`, sold", "claim_queue", "insert_unit")
    of_workload("codes", "codes: `numbered_queue` / `insert_unit`, sold", "numbered_queue", "insert_unit")
    of_workload("codes", "codes: `claim_queue` / `redis`, sold", "claim_queue", "redis")
    of_workload("envelopes", "envelopes: `claim_queue` / `insert_unit`, sold", "claim_queue", "insert_unit")
    of_workload("envelopes", "envelopes: `claim_auto` / `insert_unit`, sold", "claim_auto", "insert_unit")
    of_workload("envelopes", "envelopes: `claim_queue` / `redis`, sold", "claim_queue", "redis")
    of_workload("prizes", "prizes: `claim_queue` / `odds`, sold", "claim_queue", "odds")
    of_workload("prizes", "prizes: `claim_cache` / `insert_unit`, sold", "claim_cache", "insert_unit")
    split("train trains", seats, " ")
    for (i = 1; i in seats; i++) {
        of_workload(seats[i], seats[i] ": `book_cache` / `insert_booking`, sold", "book_cache", "insert_booking")
        of_workload(seats[i], seats[i] ": `book_cache` / `seats_skip_locked`, sold", "book_cache", "seats_skip_locked")
        of_workload(seats[i], seats[i] ": `book_cache` / `seats_skip_locked_call`, sold", "book_cache", "seats_skip_locked_call")
        of_workload(seats[i], seats[i] ": `book_cache` / `seats_skip_locked_steps`, sold", "book_cache", "seats_skip_locked_steps")
        of_workload(seats[i], seats[i] ": `book_cache` / `redis`, sold", "book_cache", "redis")
        of_workload(seats[i], seats[i] ": `book_queue` / `redis`, sold", "book_queue", "redis")
        of_workload(seats[i], seats[i] ": `book_cache` / `seats_line`, sold", "book_cache", "seats_line")
        of_workload(seats[i], seats[i] ": `book_queue` / `insert_booking`, sold", "book_queue", "insert_booking")
    }
    line("full train: `book_full` / `select_1`, answered",
        over(answered["full", 64, "book_full"], answered["full", 64, "select_1"]),
        over(answered["full", 200, "book_full"], answered["full", 200, "select_1"]))
    split("update pessimistic advisory retry cache auto", carts, " ")
    for (i = 1; i in carts; i++)
        of_workload("cart", "`cart_" carts[i] "`, with / without a foreign key, sold",
            "cart_" carts[i], "cart_" carts[i] "_no_key")
}
