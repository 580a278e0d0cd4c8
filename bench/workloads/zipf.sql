\set user random(1, 1000000)
\set item random_zipfian(1, 100, 1.001)
