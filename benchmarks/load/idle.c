#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "cases.h"
#include "net.h"

static void on_message(client *it, const frame *message) {
    fail("client %d got an unexpected message: %.*s", it->index, (int)message->length, message->payload);
}

/* Says {"ready": N} when all are there; answers heartbeats until standard input ends. */
void run_idle(void) {
    connect_all(opt.clients, on_message);
    printf("{\"ready\": %d}\n", ready_count);
    fflush(stdout);
    fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
    char byte;
    while (read(STDIN_FILENO, &byte, 1) != 0) turn(100);
}
