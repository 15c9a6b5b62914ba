/* The limit that the kernel sets: a server that only moves bytes. It knows the few messages that the load sends, looks
 * at their first bytes, validates nothing and keeps nothing. Echoes are answered with one write for one read;
 * broadcasts with one write for each message and member, which is what a server pays that does not gather them. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MEMBERS_MAX = 65536, ROOM = 4 << 20, EVENTS = 1024 };

typedef struct {
    int fd, room;
    bool open;
    uint8_t *rest;
    size_t rest_length;
    size_t place; /* among the members */
} connection;

static connection *members[MEMBERS_MAX];
static size_t member_count;
static uint8_t input[ROOM], output[2 * ROOM];
static size_t output_length;

static void stop(const char *what) {
    perror(what);
    exit(1);
}

static void send_all(int fd, const uint8_t *data, size_t length) {
    while (length > 0) {
        ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN) return; /* its end is read next */
            struct pollfd wait = {.fd = fd, .events = POLLOUT};
            poll(&wait, 1, 1000);
            continue;
        }
        data += sent;
        length -= (size_t)sent;
    }
}

/* Room for a frame of `length` bytes at the end of the output; its head is written. */
static uint8_t *frame(int opcode, size_t length) {
    uint8_t *at = output + output_length;
    *at++ = (uint8_t)(0x80 | opcode);
    if (length < 126) {
        *at++ = (uint8_t)length;
    } else if (length < 65536) {
        *at++ = 126;
        *at++ = (uint8_t)(length >> 8);
        *at++ = (uint8_t)length;
    } else {
        *at++ = 127;
        for (int shift = 56; shift >= 0; shift -= 8) *at++ = (uint8_t)((uint64_t)length >> shift);
    }
    output_length = (size_t)(at + length - output);
    return at;
}

static void answer(const char *text) { memcpy(frame(1, strlen(text)), text, strlen(text)); }

/* `43<id>[…]` for `42<id>["echo",…]`, and `46…` for `45…`. */
static void echo(const uint8_t *text, size_t length) {
    const uint8_t *comma = memchr(text, ',', length);
    size_t head = (size_t)((const uint8_t *)memchr(text, '[', length) - text) + 1;
    size_t cut = (size_t)(comma - text) + 1 - head;
    uint8_t *at = frame(1, length - cut);
    memcpy(at, text, head);
    at[1]++;
    memcpy(at + head, comma + 1, length - head - cut);
}

static void broadcast(int room, const uint8_t *value, size_t length) {
    size_t before = output_length;
    uint8_t *at = frame(1, length + 10);
    memcpy(at, "42[\"said\",", 10);
    memcpy(at + 10, value, length);
    for (size_t i = 0; i < member_count; i++)
        if (room < 0 || members[i]->room == room) send_all(members[i]->fd, output + before, output_length - before);
    output_length = before;
}

static void take_text(connection *it, const uint8_t *text, size_t length) {
    if (length == 2) {
        answer("40{\"sid\":\"bbbbbbbbbbbbbbbbbbbb\"}");
        it->place = member_count;
        members[member_count++] = it;
    } else if (text[0] == '4' && text[2] == '[') {
        const uint8_t *value = memchr(text, ',', length);
        int room = -1;
        if (text[4] == 't') {
            room = atoi((const char *)value + 7); /* ,"room 12", */
            value = memchr(value + 1, ',', length);
        }
        broadcast(room, value + 1, length - (size_t)(value + 1 - text));
    } else if (length > 8 && memcmp(text + 3, "[\"join", 6) == 0) {
        it->room = atoi((const char *)text + 16); /* 420["join","room 12"] */
        answer("430[]");
    } else if (length > 1) {
        echo(text, length);
    }
}

static size_t take_frame(connection *it, uint8_t *data, size_t length) {
    if (length < 6) return 0;
    size_t size = data[1] & 0x7f, head = 6;
    if (size == 126) {
        size = (size_t)data[2] << 8 | data[3];
        head = 8;
    } else if (size == 127) {
        head = 14;
        if (length < head) return 0;
        size = 0;
        for (int i = 2; i < 10; i++) size = size << 8 | data[i];
    }
    if (length < head + size) return 0;
    uint64_t key;
    uint32_t half;
    memcpy(&half, data + head - 4, 4);
    key = (uint64_t)half << 32 | half;
    uint8_t *payload = data + head;
    size_t i = 0;
    for (; i + 8 <= size; i += 8) {
        uint64_t word;
        memcpy(&word, payload + i, 8);
        word ^= key;
        memcpy(payload + i, &word, 8);
    }
    for (; i < size; i++) payload[i] ^= data[head - 4 + (i & 3)];
    int opcode = data[0] & 15;
    if (opcode == 1) take_text(it, payload, size);
    else if (opcode == 2) memcpy(frame(2, size), payload, size);
    else if (opcode == 8) shutdown(it->fd, SHUT_RDWR);
    return head + size;
}

static void end(connection *it) {
    if (it->place < member_count && members[it->place] == it) {
        members[it->place] = members[--member_count];
        members[it->place]->place = it->place;
    }
    close(it->fd);
    free(it->rest);
    free(it);
}

static void take(connection *it) {
    if (it->rest_length > 0) memcpy(input, it->rest, it->rest_length);
    ssize_t got = recv(it->fd, input + it->rest_length, ROOM - it->rest_length, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN) end(it);
        return;
    }
    size_t length = it->rest_length + (size_t)got, taken = 0, size;
    output_length = 0;
    if (!it->open) {
        if (memmem(input, length, "\r\n\r\n", 4) == NULL) return; /* the load sends it whole */
        static const char head[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                   "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        memcpy(output, head, sizeof head - 1);
        output_length = sizeof head - 1;
        answer("0{\"sid\":\"aaaaaaaaaaaaaaaaaaaa\",\"upgrades\":[],\"pingInterval\":25000,\"pingTimeout\":20000,"
               "\"maxPayload\":1000000}");
        it->open = true;
        taken = length;
    }
    while ((size = take_frame(it, input + taken, length - taken)) > 0) taken += size;
    it->rest_length = length - taken;
    if (it->rest_length > 0) {
        it->rest = realloc(it->rest, it->rest_length);
        memcpy(it->rest, input + taken, it->rest_length);
    }
    if (output_length > 0) send_all(it->fd, output, output_length);
}

int main(int count, char **values) {
    if (count != 2) {
        fputs("usage: kernel PORT\n", stderr);
        return 2;
    }
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), poller = epoll_create1(0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(values[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0) stop("bind");
    if (listen(listener, 4096) < 0) stop("listen");
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[EVENTS];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    puts("ready");
    fflush(stdout);
    for (;;) {
        int ready = epoll_wait(poller, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.ptr != NULL) {
                take(events[i].data.ptr);
                continue;
            }
            int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
            if (fd < 0) continue;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            connection *it = calloc(1, sizeof *it);
            it->fd = fd;
            it->room = -1;
            it->place = MEMBERS_MAX;
            event = (struct epoll_event){.events = EPOLLIN, .data.ptr = it};
            epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
        }
    }
}
