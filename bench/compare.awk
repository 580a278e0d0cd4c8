# Measurements of two builds in (contestant, clients, round, build, rate,
# microseconds of processor time a call, p99), tables of ratios out.  Needs
# median.awk.

function over(a, b) {
    return b > 0 ? a / b : 0
}

# Returns the list of the ratios after / before of the rounds.
function pair_ratios(value, key,    r, list) {
    for (r = 1; r <= rounds; r++)
        if ((key, r, "before") in value && (key, r, "after") in value)
            list = list " " over(value[key, r, "after"], value[key, r, "before"])
    return list
}

# Add the logarithm of a ratio to what a line of the second table averages.
function collect(what, sold, pairs, cpu) {
    if (!(what in number) && what != "all")
        names[++lines] = what
    number[what]++
    log_sold[what] += log(sold)
    log_pairs[what] += log(pairs)
    log_cpu[what] += log(cpu)
}

function mean(sum, what) {
    return exp(sum[what] / number[what])
}

BEGIN { FS = "," }
$1 == "contestant" { next }
{
    key = $1 "," $2
    if (!((key) in seen)) {
        seen[key] = 1
        order[++keys] = key
    }
    rate[key, $3, $4] = $5
    rates[key, $4] = rates[key, $4] " " $5
    cpu_of[key, $3, $4] = $6
    if ($3 > rounds)
        rounds = $3
}
END {
    print "\n| contestant | clients | before, 1/s | after, 1/s | ratio of medians | median of the pairs' ratios (min to max) | of processor time per call |"
    print "|---|---:|---:|---:|---:|---:|---:|"
    for (k = 1; k <= keys; k++) {
        key = order[k]
        split(key, f, ",")
        before = median(rates[key, "before"])
        after = median(rates[key, "after"])
        pairs = median(pair_ratios(rate, key))
        range = sprintf("%.2f to %.2f", low, high)
        cpu = median(pair_ratios(cpu_of, key))
        printf "| `%s` | %d | %d | %d | %.3f | %.3f (%s) | %.3f (%.2f to %.2f) |\n", f[1], f[2],
            before, after, over(after, before), pairs, range, cpu, low, high
        if (after > 0 && before > 0 && cpu > 0) {
            collect("`" f[1] "`", after / before, pairs, cpu)
            collect("all", after / before, pairs, cpu)
        }
    }
    print "\n| geometric mean | ratio of medians | median of the pairs' ratios | of processor time per call |"
    print "|---|---:|---:|---:|"
    names[++lines] = "all"
    for (k = 1; k <= lines; k++)
        printf "| %s | %.3f | %.3f | %.3f |\n", names[k], mean(log_sold, names[k]),
            mean(log_pairs, names[k]), mean(log_cpu, names[k])
}
