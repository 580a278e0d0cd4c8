SELECT rival.buy_advisory(:item, :user);
