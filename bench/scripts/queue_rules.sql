SELECT seckill_buy(1005, :user, 'queue', 1, gen_random_uuid());
