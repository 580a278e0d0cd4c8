SELECT seckill_claim(:item, :user, 'cache');
