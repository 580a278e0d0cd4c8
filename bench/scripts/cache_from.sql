\set user random(1, 1000000)
SELECT outcome, order_id FROM seckill_buy(1, :user, 'cache');
