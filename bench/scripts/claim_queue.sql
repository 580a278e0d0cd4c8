SELECT seckill_claim(:item, :user, 'queue');
