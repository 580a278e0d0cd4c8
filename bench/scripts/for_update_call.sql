SELECT rival.buy_for_update(:item, :user);
