\set item 2001
\set user random(1, 1000000)
