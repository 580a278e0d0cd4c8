# settling.csv in, a Markdown table out.

BEGIN { FS = "," }
{
    print "\n### Settling\n"
    print "After a crash, an item with " $1 " orders under the lost lease.\n"
    print "| call | answer | ms |"
    print "|---|---|---:|"
    print "| the first `seckill_buy`, which settles the lease | `" $2 "` | " $3 " |"
    print "| `seckill_audit` | difference " $4 " | " $5 " |"
}
