SELECT seckill_buy(:item, :user, 'cache'), gen_random_uuid();
