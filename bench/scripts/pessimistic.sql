\set user random(1, 1000000)
SELECT seckill_buy(1, :user, 'pessimistic');
