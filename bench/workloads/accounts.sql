\set user random(1, 1000000)
\set item 100000 + random_zipfian(1, 100000, 1.001)
