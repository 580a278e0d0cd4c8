# Medians in, a Markdown table of the ratios that matter most out.

# a / b where both were measured
function over(a, b) {
    if (a <= 0 || b <= 0)
        return ""
    return sprintf(a / b < 0.1 ? "%.4f" : "%.2f", a / b)
}

# What a contestant sells a second, or answers if it sells nothing.
function rate(workload, clients, name,    sold) {
    sold = value["sold", workload, clients, name]
    return sold > 0 ? sold : value["answered", workload, clients, name]
}

# Print a line of the table; nothing if nothing was measured.
function line(what, at_8, at_64, at_200) {
    if (at_8 at_64 at_200 == "")
        return
    if (!lines++) {
        print "\n### Ratios of medians\n"
        print "| | 8 clients | 64 clients | 200 clients |"
        print "|---|---:|---:|---:|"
    }
    printf "| %s | %s | %s | %s |\n", what, at_8, at_64, at_200
}

# Compare two contestants of a workload by one of the figures.
function compare(what, figure, workload, ours, theirs) {
    line(what, at(8, figure, workload, ours, theirs),
        at(64, figure, workload, ours, theirs), at(200, figure, workload, ours, theirs))
}

function at(clients, figure, workload, ours, theirs) {
    return over(value[figure, workload, clients, ours], value[figure, workload, clients, theirs])
}

function sold_over(what, ours, theirs) {
    compare(what, "sold", "hot", ours, theirs)
}

function of_workload(workload, what, ours, theirs) {
    compare(what, "sold", workload, ours, theirs)
}

BEGIN { FS = "," }
/^#/ || $1 == "workload" { next }
{
    value["sold", $1, $2, $3] = $4
    # what submit lets in is compared with what others answer
    value["accepted", $1, $2, $3] = $3 ~ /^submit/ ? $7 : $8
    value["answered", $1, $2, $3] = $8
    value["p99", $1, $2, $3] = $12
}
END {
    sold_over("`queue` / `insert`, sold", "queue", "insert")
    sold_over("`queue` / `for_update_call`, sold", "queue", "for_update_call")
    sold_over("`queue` / `row_lock`, sold", "queue", "row_lock")
    sold_over("`queue` / `redis`, sold", "queue", "redis")
    sold_over("`cache` / `insert`, sold", "cache", "insert")
    sold_over("`buy_many` / `insert`, sold", "buy_many", "insert")
    sold_over("`buy_many` / `redis_100`, sold", "buy_many", "redis_100")
    line("`buy_many`, sold/s", value["sold", "hot", 8, "buy_many"],
        value["sold", "hot", 64, "buy_many"], value["sold", "hot", 200, "buy_many"])
    compare("`submit`, accepted/s / `select_1`, answered/s", "accepted", "hot", "submit", "select_1")
    line("`submit`, accepted/s", value["accepted", "hot", 8, "submit"],
        value["accepted", "hot", 64, "submit"], value["accepted", "hot", 200, "submit"])
    sold_over("`submit` / `insert`, sold", "submit", "insert")
    compare("`queue` / `cache`, p99", "p99", "hot", "queue", "cache")
    compare("`queue` / `for_update_call`, p99", "p99", "hot", "queue", "for_update_call")
    of_workload("batch", "`SCHED_BATCH`: `queue` / `insert`, sold", "queue", "insert")
    of_workload("batch", "`SCHED_BATCH`: `cache` / `insert`, sold", "cache", "insert")
    compare("`SCHED_BATCH`: `submit`, accepted/s / `select_1`, answered/s", "accepted", "batch", "submit", "select_1")
    split("select_1 insert cache queue submit", names, " ")
    for (i = 1; i in names; i++)
        line("`" names[i] "`, with / without `SCHED_BATCH`, " (i == 1 ? "answered" : "sold"),
            over(rate("batch", 8, names[i]), rate("hot", 8, names[i])),
            over(rate("batch", 64, names[i]), rate("hot", 64, names[i])),
            over(rate("batch", 200, names[i]), rate("hot", 200, names[i])))
    split("queue cache", names, " ")
    for (i = 1; i in names; i++)
        compare("sold out: `" names[i] "` / `select_1`, answered", "answered", "storm", names[i], "select_1")
    line("`queue`, 8 items / one hot item, sold",
        over(value["sold", "eight", 8, "queue"], value["sold", "hot", 8, "queue"]),
        over(value["sold", "eight", 64, "queue"], value["sold", "hot", 64, "queue"]),
        over(value["sold", "eight", 200, "queue"], value["sold", "hot", 200, "queue"]))
    of_workload("merged", "8 items: `buy_items` / `redis_100`, sold", "buy_items", "redis_100")
    split("for_update_call cte", names, " ")
    for (i = 1; i in names; i++) {
        of_workload("accounts", "100,000 items: `queue` / `" names[i] "`, sold", "queue", names[i])
        of_workload("accounts", "100,000 items: `auto` / `" names[i] "`, sold", "auto", names[i])
    }
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
    compare("full train: `book_full` / `select_1`, answered", "answered", "full", "book_full", "select_1")
    split("update pessimistic advisory retry cache auto", carts, " ")
    for (i = 1; i in carts; i++)
        of_workload("cart", "`cart_" carts[i] "`, with / without a foreign key, sold",
            "cart_" carts[i], "cart_" carts[i] "_no_key")
}
