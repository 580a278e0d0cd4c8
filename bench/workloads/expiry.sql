\set item 1
\set user random(1, 1000000)
