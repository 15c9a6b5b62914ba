/* The cases, one file each. */
#ifndef CASES_H
#define CASES_H

void run_echo(void);     /* acked events, a fixed number of each client under way */
void run_paced(void);    /* acked events at a fixed rate, sent when they are due, whatever has been answered */
void run_fanout(void);   /* broadcasts, to all or to rooms */
void run_across(void);   /* broadcasts that one server sends to a room whose members another has */
void run_connects(void); /* handshakes */
void run_churn(void);    /* handshakes and polite farewells */
void run_polling(void);  /* acked events over HTTP long-polling */
void run_idle(void);     /* clients that stay and say nothing, until standard input ends */

#endif
