#define _GNU_SOURCE
#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    READ_ROOM = 4 << 20,        /* bytes taken from a socket in one go, at most */
    EVENTS = 1024,              /* of one epoll_wait */
    HANDSHAKES = 64,            /* under way at once in connect_all */
    PORTS_PER_ADDRESS = 20000,  /* clients from one loopback address, fewer than it has ports */
};

options opt;
int ready_count, connecting_count;

static int poller = -1;
static uint8_t *shared; /* whatever is read passes through here */
static message_handler handle_message;
static bytes_handler handle_bytes;
static client **dirty;
static int dirty_count, dirty_room;

void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* ---------------------------------------------------------------- writing */

static void watch(client *it, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = it};
    epoll_ctl(poller, EPOLL_CTL_MOD, it->fd, &event);
}

static void mark_dirty(client *it) {
    if (it->dirty) return;
    it->dirty = true;
    if (dirty_count == dirty_room) {
        dirty_room = dirty_room ? dirty_room * 2 : 1024;
        dirty = realloc(dirty, sizeof *dirty * (size_t)dirty_room);
    }
    dirty[dirty_count++] = it;
}

void client_write(client *it, const void *data, size_t length) {
    if (it->out_length + length > it->out_room) {
        it->out_room = (it->out_length + length) * 2;
        it->out = realloc(it->out, it->out_room);
        if (it->out == NULL) fail("out of memory");
    }
    memcpy(it->out + it->out_length, data, length);
    it->out_length += length;
    mark_dirty(it);
}

static void send_pending(client *it) {
    while (it->out_start < it->out_length) {
        ssize_t sent = send(it->fd, it->out + it->out_start, it->out_length - it->out_start, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN) fail("client %d cannot write: %s", it->index, strerror(errno));
            if (!it->blocked) watch(it, EPOLLIN | EPOLLOUT);
            it->blocked = true;
            return;
        }
        it->out_start += (size_t)sent;
    }
    it->out_start = it->out_length = 0;
    if (it->blocked) watch(it, EPOLLIN);
    it->blocked = false;
}

void flush(void) {
    for (int i = 0; i < dirty_count; i++) {
        dirty[i]->dirty = false;
        if (!dirty[i]->blocked && dirty[i]->state != CLOSED) send_pending(dirty[i]);
    }
    dirty_count = 0;
}

/* ---------------------------------------------------------------- connecting */

static int port_of(int index) {
    if (opt.other == 0 || index < opt.first) return opt.port;
    return opt.third && index % 2 ? opt.third : opt.other;
}

static void open_socket(client *it, int index) {
    if (poller < 0) {
        poller = epoll_create1(0);
        shared = malloc(READ_ROOM);
    }
    free(it->rest);
    free(it->out);
    void *own = it->own;
    memset(it, 0, sizeof *it);
    it->own = own;
    it->index = index;
    it->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (it->fd < 0) fail("no more sockets: %s (see ulimit -n)", strerror(errno));
    int one = 1;
    setsockopt(it->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(it->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    struct sockaddr_in from = {.sin_family = AF_INET};
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(index / PORTS_PER_ADDRESS));
    if (bind(it->fd, (struct sockaddr *)&from, sizeof from) < 0) fail("cannot bind: %s", strerror(errno));
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port_of(index))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(it->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS)
        fail("cannot connect to port %d: %s", port_of(index), strerror(errno));
}

void client_start(client *it, int index, message_handler on_message) {
    static const char upgrade[] =
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n"
        "Host: 127.0.0.1:%d\r\n"
        "Connection: Upgrade\r\n"
        "Upgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    char head[sizeof upgrade + 16];
    open_socket(it, index);
    handle_message = on_message;
    it->state = STARTING;
    connecting_count++;
    int length = snprintf(head, sizeof head, upgrade, port_of(index));
    client_write(it, head, (size_t)length);
    it->blocked = true; /* until the socket says that it is connected */
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = it};
    epoll_ctl(poller, EPOLL_CTL_ADD, it->fd, &event);
}

void client_start_plain(client *it, int index, bytes_handler on_bytes) {
    open_socket(it, index);
    handle_bytes = on_bytes;
    it->state = READY;
    it->blocked = true;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = it};
    epoll_ctl(poller, EPOLL_CTL_ADD, it->fd, &event);
}

static void forget(client *it) {
    close(it->fd);
    free(it->rest);
    free(it->out);
    it->rest = it->out = NULL;
    it->rest_room = it->out_room = it->rest_length = it->out_length = it->out_start = 0;
    it->state = CLOSED;
}

void client_close(client *it, bool politely) {
    if (it->state == CLOSED) return;
    if (it->state == READY) ready_count--;
    if (politely) {
        static bytes farewell;
        if (farewell.length == 0) frame_append(&farewell, OP_CLOSE, "\x03\xe8", 2);
        client_write(it, farewell.data, farewell.length);
        it->state = CLOSED; /* the descriptor is closed once the server has ended its side */
        send_pending(it);
        return;
    }
    struct linger abort = {.l_onoff = 1, .l_linger = 0}; /* leaves no port waiting */
    setsockopt(it->fd, SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
    forget(it);
}

static void write_text(client *it, const char *text) {
    bytes made = {0};
    frame_append(&made, OP_TEXT, text, strlen(text));
    client_write(it, made.data, made.length);
    free(made.data);
}

/* ---------------------------------------------------------------- reading */

static bool starts(const frame *message, const char *with) {
    size_t length = strlen(with);
    return message->length >= length && memcmp(message->payload, with, length) == 0;
}

static void take_message(client *it, const frame *message) {
    if (message->opcode == OP_PING || message->opcode == OP_PONG) return; /* no server here sends any */
    if (message->opcode == OP_CLOSE) fail("the server has closed the WebSocket of client %d", it->index);
    if (message->length == 1 && message->payload[0] == '2') {
        write_text(it, "3");
    } else if (it->state == READY) {
        handle_message(it, message);
    } else if (it->state == OPENING && starts(message, "0{")) {
        it->state = JOINING;
        write_text(it, "40");
    } else if (it->state == JOINING && starts(message, "40{")) {
        it->state = READY;
        connecting_count--;
        ready_count++;
    } else {
        fail("client %d got an unexpected message: %.*s", it->index, (int)message->length, message->payload);
    }
}

static size_t take_bytes(client *it, const uint8_t *data, size_t length) {
    size_t taken = 0;
    if (it->state == UPGRADING) {
        const uint8_t *end = memmem(data, length, "\r\n\r\n", 4);
        if (end == NULL) return 0;
        if (length < 12 || memcmp(data + 9, "101", 3) != 0)
            fail("client %d was refused: %.*s", it->index, (int)(end - data), data);
        taken = (size_t)(end + 4 - data);
        it->state = OPENING;
    }
    frame message;
    size_t size;
    while (it->state != CLOSED && (size = frame_read(data + taken, length - taken, &message)) > 0) {
        taken += size;
        take_message(it, &message);
    }
    return taken;
}

static void keep_rest(client *it, const uint8_t *data, size_t length) {
    if (length > it->rest_room) {
        it->rest = realloc(it->rest, length);
        if (it->rest == NULL) fail("out of memory");
        it->rest_room = length;
    }
    memmove(it->rest, data, length);
    it->rest_length = length;
}

static void read_from(client *it) {
    size_t have = it->rest_length;
    if (have > 0) memcpy(shared, it->rest, have);
    ssize_t got = recv(it->fd, shared + have, READ_ROOM - have, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (it->state == CLOSED) {
        if (got <= 0) forget(it);
        return;
    }
    if (got <= 0) fail("client %d was cut off in state %d: %s", it->index, it->state, got ? strerror(errno) : "end");
    size_t length = have + (size_t)got;
    size_t taken = handle_bytes ? handle_bytes(it, shared, length) : take_bytes(it, shared, length);
    if (it->state == CLOSED) return;
    it->rest_length = 0;
    if (taken < length) keep_rest(it, shared + taken, length - taken);
}

static void take_event(client *it, uint32_t events) {
    if (events & EPOLLOUT) {
        if (it->state == STARTING) {
            int problem = 0;
            socklen_t size = sizeof problem;
            getsockopt(it->fd, SOL_SOCKET, SO_ERROR, &problem, &size);
            if (problem) fail("client %d cannot connect: %s", it->index, strerror(problem));
            it->state = UPGRADING;
        }
        send_pending(it);
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) read_from(it);
}

void turn(int milliseconds) {
    struct epoll_event events[EVENTS];
    int count = epoll_wait(poller, events, EVENTS, milliseconds);
    if (count < 0 && errno != EINTR) fail("epoll_wait: %s", strerror(errno));
    for (int i = 0; i < count; i++) take_event(events[i].data.ptr, events[i].events);
    flush();
}

/* ---------------------------------------------------------------- what every case needs */

client *connect_all(int count, message_handler on_message) {
    client *all = calloc((size_t)count, sizeof *all);
    if (all == NULL) fail("out of memory");
    int started = 0;
    double last = now();
    int before = 0;
    while (ready_count < count) {
        while (started < count && connecting_count < HANDSHAKES) {
            client_start(&all[started], started, on_message);
            started++;
        }
        turn(1000);
        if (ready_count != before) {
            before = ready_count;
            last = now();
        } else if (now() - last > 20) {
            fail("only %d of %d clients have connected, and none in the last 20 seconds", ready_count, count);
        }
    }
    return all;
}

double run_for(double seconds) {
    double begin = now(), time = begin;
    while (time - begin < seconds) {
        turn(100);
        time = now();
    }
    return time - begin;
}
