\set item random(3001, 4000)
\set user random(1, 1000000)
