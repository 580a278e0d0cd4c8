SELECT seckill_buy(:item, :user, 'queue'), gen_random_uuid();
