/* The other end of the clients that are measured: a Socket.IO server that only moves bytes, so that it is never what
 * is waited for. It knows the few messages that the clients send, looks at their first bytes, validates nothing and
 * keeps nothing: an event with an ack id is acknowledged with its argument, one without comes back as it is. What one
 * read brings is answered with one write.
 *
 * It never sleeps, for it would be woken late: between two cores that takes longer than all the rest of an echo. */
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

enum { ROOM = 4 << 20, EVENTS = 1024 };

typedef struct {
    int fd;
    bool open;
    uint8_t *rest;
    size_t rest_length;
} connection;

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

/* ------------------------------------------------------------ the handshake */

static uint32_t turned(uint32_t word, int bits) { return word << bits | word >> (32 - bits); }

/* SHA-1 (RFC 3174) of at most 119 bytes. */
static void sha1(const uint8_t *text, size_t length, uint8_t digest[20]) {
    uint8_t block[128] = {0};
    size_t blocks = length < 56 ? 1 : 2;
    uint32_t hash[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    memcpy(block, text, length);
    block[length] = 0x80;
    for (int i = 0; i < 8; i++) block[64 * blocks - 1 - i] = (uint8_t)((uint64_t)length * 8 >> (8 * i));
    for (size_t n = 0; n < blocks; n++) {
        uint32_t words[80], a = hash[0], b = hash[1], c = hash[2], d = hash[3], e = hash[4];
        for (int i = 0; i < 80; i++) {
            const uint8_t *at = block + 64 * n + 4 * i;
            if (i < 16) words[i] = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
            else words[i] = turned(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
            uint32_t mixed = i < 20   ? ((b & c) | (~b & d)) + 0x5a827999
                             : i < 40 ? (b ^ c ^ d) + 0x6ed9eba1
                             : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc
                                      : (b ^ c ^ d) + 0xca62c1d6;
            uint32_t next = turned(a, 5) + mixed + e + words[i];
            e = d, d = c, c = turned(b, 30), b = a, a = next;
        }
        hash[0] += a, hash[1] += b, hash[2] += c, hash[3] += d, hash[4] += e;
    }
    for (int i = 0; i < 20; i++) digest[i] = (uint8_t)(hash[i / 4] >> (24 - 8 * (i % 4)));
}

/* The value of Sec-WebSocket-Accept (RFC 6455, section 4.2.2) for a key of 24 characters. */
static void acceptance(const char *key, char accept[29]) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t text[60], digest[21] = {0};
    memcpy(text, key, 24);
    memcpy(text + 24, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 36);
    sha1(text, sizeof text, digest);
    for (int i = 0; i < 7; i++) {
        uint32_t group = (uint32_t)digest[3 * i] << 16 | (uint32_t)digest[3 * i + 1] << 8 | digest[3 * i + 2];
        for (int j = 0; j < 4; j++) accept[4 * i + j] = letters[group >> (18 - 6 * j) & 63];
    }
    accept[27] = '=';
    accept[28] = 0;
}

/* ------------------------------------------------------------ frames */

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

static void take_text(const uint8_t *text, size_t length) {
    const uint8_t *bracket, *comma;
    if (length < 2 || text[0] != '4') return;
    if (text[1] == '0') { /* 40, perhaps with something to present */
        answer("40{\"sid\":\"bbbbbbbbbbbbbbbbbbbb\"}");
    } else if (text[1] == '2' && text[2] == '[') {
        memcpy(frame(1, length), text, length);
    } else if (text[1] == '2' && (bracket = memchr(text, '[', length)) && (comma = memchr(text, ',', length))) {
        size_t head = (size_t)(bracket - text) + 1, cut = (size_t)(comma - text) + 1 - head;
        uint8_t *at = frame(1, length - cut);
        memcpy(at, text, head);
        at[1]++;
        memcpy(at + head, comma + 1, length - head - cut);
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
    uint32_t half;
    memcpy(&half, data + head - 4, 4);
    uint64_t key = (uint64_t)half << 32 | half;
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
    if (opcode == 1) take_text(payload, size);
    else if (opcode == 8) shutdown(it->fd, SHUT_RDWR);
    else if (opcode == 9) memcpy(frame(10, size), payload, size);
    return head + size;
}

/* ------------------------------------------------------------ connections */

static void end(connection *it) {
    close(it->fd);
    free(it->rest);
    free(it);
}

static void shake_hands(size_t length) {
    char head[256], accept[29];
    const char *name = "\r\nsec-websocket-key:";
    input[length] = 0;
    char *key = strcasestr((char *)input, name);
    if (key == NULL) return;
    for (key += strlen(name); *key == ' '; key++) {}
    acceptance(key, accept);
    output_length = (size_t)snprintf(head, sizeof head,
                                     "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                                     "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                                     accept);
    memcpy(output, head, output_length);
    answer("0{\"sid\":\"aaaaaaaaaaaaaaaaaaaa\",\"upgrades\":[],\"pingInterval\":300000,\"pingTimeout\":200000,"
           "\"maxPayload\":1000000}");
}

static void take(connection *it) {
    if (it->rest_length > 0) memcpy(input, it->rest, it->rest_length);
    ssize_t got = recv(it->fd, input + it->rest_length, ROOM - 1 - it->rest_length, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN) end(it);
        return;
    }
    size_t length = it->rest_length + (size_t)got, taken = 0, size;
    output_length = 0;
    if (it->open) {
        while ((size = take_frame(it, input + taken, length - taken)) > 0) taken += size;
    } else if (memmem(input, length, "\r\n\r\n", 4) != NULL) {
        shake_hands(length);
        it->open = true;
        taken = length;
    }
    it->rest_length = length - taken;
    if (it->rest_length > 0) {
        it->rest = realloc(it->rest, it->rest_length);
        memcpy(it->rest, input + taken, it->rest_length);
    }
    if (output_length > 0) send_all(it->fd, output, output_length);
}

int main(void) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), poller = epoll_create1(0), one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0) stop("bind");
    if (listen(listener, 4096) < 0) stop("listen");
    if (getsockname(listener, (struct sockaddr *)&address, &length) < 0) stop("getsockname");
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[EVENTS];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        int ready = epoll_wait(poller, events, EVENTS, 0);
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
            event = (struct epoll_event){.events = EPOLLIN, .data.ptr = it};
            epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
        }
    }
}
