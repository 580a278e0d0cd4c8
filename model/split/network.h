/*
 * network.h
 *		Messages between nodes.
 */
#ifndef SPLIT_NETWORK_H
#define SPLIT_NETWORK_H

#include "split.h"

extern bool faults;
extern uint64 lost_messages;
extern int64 pause(void);
extern void send_msg(const Msg *msg);
extern void drop_msg(int i);

#endif							/* SPLIT_NETWORK_H */
