#!/bin/bash
# Draw which legs of the seats of items are taken, as a picture (SVG) on the
# standard output: a row a leg, a column a seat, one block below the other for
# each item.  The connection is that of psql, from its environment variables.
#
#   scripts/draw-seats.sh ITEM...

set -euo pipefail

[ $# -gt 0 ] || { sed -n '2,/^$/s/^# \?//p' "$0" >&2; exit 2; }

psql -XAtq -v ON_ERROR_STOP=1 -c "
    SELECT i.item_id, i.legs, coalesce(i.title, 'item ' || i.item_id),
        row_number() OVER (PARTITION BY i.item_id ORDER BY s.seat) - 1, s.taken
    FROM unnest('{$(IFS=,; echo "$*")}'::bigint[]) WITH ORDINALITY n(item_id, place)
        JOIN seckill.items i USING (item_id)
        JOIN seckill.seats s USING (item_id)
    ORDER BY n.place, s.seat" |
    awk -F'|' '
        $1 != item {
            item = $1
            y = bottom + 24
            bottom = y + 8 * $2
            text = text sprintf("<text x=\"4\" y=\"%d\">%s</text>\n", y - 6, $3)
        }
        {
            for (leg = 0; leg < $2; leg++)
                cells[int($5 / 2 ^ leg) % 2] = cells[int($5 / 2 ^ leg) % 2] \
                    sprintf("M%d %dh7v7h-7z", 4 + 8 * $4, y + 8 * leg)
            width = 8 * $4 + 16 > width ? 8 * $4 + 16 : width
        }
        END {
            printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\">\n", width, bottom + 8
            print "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>"
            printf "<g font-family=\"sans-serif\" font-size=\"12\">\n%s</g>\n", text
            printf "<path fill=\"#e2e8f0\" d=\"%s\"/>\n", cells[0]
            printf "<path fill=\"#2b6cb0\" d=\"%s\"/>\n</svg>\n", cells[1]
        }'
