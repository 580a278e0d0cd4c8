\set user random(1, 1000000)
\set item 1
