SELECT rival.draw(:item, :user);
