\set user random(1, 1000000)
\set from random(0, 19)
\set to random(:from + 1, 20)
\set n :n + 1
\set item 5001 + :n * :clients / 40000 * 20 + random(0, 19)
