\set user random(1, 1000000)
\set from random(0, 19)
\set to random(:from + 1, 20)
SELECT 5001 + nextval('rival.booking') / 2000 AS item \gset
