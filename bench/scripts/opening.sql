\set user random(1, 1000000)
SELECT seckill_buy(2001, :user);
