SELECT seckill_buy(1004, :user, 'cache');
