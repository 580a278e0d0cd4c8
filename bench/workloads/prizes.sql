\set item 2002
\set user random(1, 1000000)
