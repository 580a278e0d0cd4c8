SELECT seckill_submit(:item, :user);
