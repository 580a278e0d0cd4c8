SELECT seckill_buy(1005, :user, 'cache', 1, gen_random_uuid());
