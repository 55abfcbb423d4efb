/* A fast OpenAI-compatible audio server with made-up answers: one thread, epoll, Linux.
 *
 *   cc -O2 -o mock_upstream mock_upstream.c && ./mock_upstream 9001
 *
 * POST .../audio/speech          chunked audio, controlled by marks in the input text, which any proxy passes on:
 *                                    @size=BYTES   size of the whole answer      (8192)
 *                                    @chunks=N     number of HTTP chunks         (1)
 *                                    @first=MS     wait before head and chunk 1  (0)
 *                                    @gap=MS       wait before each other chunk  (0)
 *                                Each chunk begins with the time when it was sent: CLOCK_MONOTONIC, nanoseconds,
 *                                8 bytes, little endian. A client on the same machine can compute the chunk's age.
 * POST .../audio/transcriptions  reads the whole body and answers with one sentence.
 * anything else                  a list of models, for health checks.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define READ_SIZE (1 << 18)
#define LARGEST_CHUNK (8 << 20)
#define EVENTS 512
#define TRANSCRIPT "{\"text\":\"The quick brown fox jumps over the lazy dog.\"}"
#define MODELS "{\"object\":\"list\",\"data\":[{\"id\":\"tts-1\",\"object\":\"model\"}]}"

typedef enum { HEAD, BODY, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER, ANSWERING } State;
typedef enum { SPEECH, TRANSCRIPTION, OTHER } Path;

typedef struct {
    int fd;
    State state;

    /* the request */
    Path path;
    bool wants_close;
    char head[16384];
    int head_len;
    char text[8193]; /* the beginning of the body, which contains the marks */
    int text_len;
    char line[128]; /* of chunked framing */
    int line_len;
    long long remain; /* bytes of the body, or of its chunk */

    /* the answer */
    long long size, chunk_size, gap_ns, due_ns;
    int chunks, chunks_sent;
    char *out;
    size_t out_len, out_sent, out_room;
    bool wants_writable;
    int waiting_at; /* index in `waiting`, or -1 */
} Connection;

static int epoll;
static char read_buffer[READ_SIZE];
static char audio[LARGEST_CHUNK];
static Connection **waiting; /* connections that wait for the time of their next chunk, unordered */
static int waiting_count, waiting_room;

static long long now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* ---- connections. A function that may close one returns whether it is still open. ---- */

static void stop_waiting(Connection *c) {
    if (c->waiting_at < 0)
        return;
    Connection *last = waiting[--waiting_count];
    waiting[c->waiting_at] = last;
    last->waiting_at = c->waiting_at;
    c->waiting_at = -1;
}

static void start_waiting(Connection *c) {
    if (c->waiting_at >= 0)
        return;
    if (waiting_count == waiting_room) {
        waiting_room = waiting_room ? waiting_room * 2 : 1024;
        waiting = realloc(waiting, waiting_room * sizeof *waiting);
    }
    c->waiting_at = waiting_count;
    waiting[waiting_count++] = c;
}

static bool drop(Connection *c) {
    stop_waiting(c);
    close(c->fd);
    free(c->out);
    free(c);
    return false;
}

static void watch_writable(Connection *c, bool wanted) {
    if (c->wants_writable == wanted)
        return;
    c->wants_writable = wanted;
    struct epoll_event event = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
}

/* ---- the answer ---- */

static void make_room(Connection *c, size_t size) {
    if (c->out_room >= size)
        return;
    c->out_room = size;
    c->out = realloc(c->out, size);
}

static void prepare_json(Connection *c, const char *body) {
    make_room(c, strlen(body) + 512);
    c->chunks = c->chunks_sent = 0;
    c->out_sent = 0;
    c->out_len = sprintf(c->out,
                         "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Request-Id: req_mock\r\n"
                         "Content-Length: %zu\r\n\r\n%s",
                         strlen(body), body);
}

static long long mark(const char *text, const char *name, long long otherwise) {
    const char *found = strstr(text, name);
    return found ? atoll(found + strlen(name)) : otherwise;
}

static void prepare_speech(Connection *c) {
    c->text[c->text_len] = 0;
    c->size = mark(c->text, "@size=", 8192);
    c->chunks = (int)mark(c->text, "@chunks=", 1);
    c->gap_ns = mark(c->text, "@gap=", 0) * 1000000;
    c->due_ns = now_ns() + mark(c->text, "@first=", 0) * 1000000;
    if (c->chunks < 1)
        c->chunks = 1;
    if (c->size < c->chunks)
        c->size = c->chunks;
    if (c->size / c->chunks >= LARGEST_CHUNK / 2)
        c->chunks = (int)(c->size / (LARGEST_CHUNK / 2)) + 1;
    c->chunk_size = c->size / c->chunks;
    c->chunks_sent = 0;
    c->out_len = c->out_sent = 0;
}

static void prepare_chunk(Connection *c) {
    bool first = c->chunks_sent == 0, last = c->chunks_sent == c->chunks - 1;
    long long size = last ? c->size - c->chunk_size * c->chunks_sent : c->chunk_size;
    make_room(c, size + 1024);
    char *end = c->out;
    if (first)
        end += sprintf(end, "HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nX-Request-Id: req_mock\r\n"
                            "Openai-Processing-Ms: 1\r\nTransfer-Encoding: chunked\r\n\r\n");
    end += sprintf(end, "%llx\r\n", size);
    memcpy(end, audio, size);
    if (size >= 8) {
        long long stamp = now_ns();
        memcpy(end, &stamp, 8);
    }
    end += size;
    end += sprintf(end, last ? "\r\n0\r\n\r\n" : "\r\n");
    c->out_len = end - c->out;
    c->out_sent = 0;
    c->chunks_sent++;
    c->due_ns += c->gap_ns;
}

/* Send what is due and can be sent. After the answer, wait for the next request. */
static bool send_answer(Connection *c) {
    for (;;) {
        while (c->out_sent < c->out_len) {
            ssize_t sent = send(c->fd, c->out + c->out_sent, c->out_len - c->out_sent, MSG_NOSIGNAL);
            if (sent < 0 && errno != EAGAIN)
                return drop(c);
            if (sent < 0) {
                watch_writable(c, true);
                return true;
            }
            c->out_sent += sent;
        }
        if (c->chunks_sent >= c->chunks)
            break;
        if (c->due_ns > now_ns()) {
            watch_writable(c, false);
            start_waiting(c);
            return true;
        }
        stop_waiting(c);
        prepare_chunk(c);
    }
    watch_writable(c, false);
    stop_waiting(c);
    if (c->wants_close)
        return drop(c);
    c->state = HEAD;
    c->head_len = c->text_len = c->line_len = 0;
    return true;
}

static bool answer(Connection *c) {
    c->state = ANSWERING;
    if (c->path == SPEECH)
        prepare_speech(c);
    else
        prepare_json(c, c->path == TRANSCRIPTION ? TRANSCRIPT : MODELS);
    return send_answer(c);
}

/* ---- the request. A `take` function returns how many bytes it used, or -1 once the connection is gone. ---- */

/* The head as a string, without its last line break. */
static bool read_head(Connection *c, char *head) {
    bool chunked = false;
    char *rest = head, *line = strsep(&rest, "\n");
    c->path = strstr(line, "/audio/speech") ? SPEECH : strstr(line, "/audio/trans") ? TRANSCRIPTION : OTHER;
    c->remain = 0;
    c->wants_close = false;
    while ((line = strsep(&rest, "\n"))) {
        if (!strncasecmp(line, "content-length:", 15))
            c->remain = atoll(line + 15);
        else if (!strncasecmp(line, "transfer-encoding:", 18))
            chunked = strcasestr(line, "chunked") != NULL;
        else if (!strncasecmp(line, "connection:", 11))
            c->wants_close = strcasestr(line, "close") != NULL;
        else if (!strncasecmp(line, "expect:", 7) && send(c->fd, "HTTP/1.1 100 Continue\r\n\r\n", 25, MSG_NOSIGNAL) < 0)
            return drop(c);
    }
    if (!chunked && c->remain == 0)
        return answer(c);
    c->state = chunked ? CHUNK_SIZE : BODY;
    return true;
}

static int take_head(Connection *c, const char *data, int count) {
    int room = (int)sizeof c->head - 1 - c->head_len, taken = count < room ? count : room, before = c->head_len;
    int from = before > 3 ? before - 3 : 0;
    memcpy(c->head + before, data, taken);
    c->head_len += taken;
    char *end = memmem(c->head + from, c->head_len - from, "\r\n\r\n", 4);
    if (!end && taken == room) {
        drop(c);
        return -1;
    }
    if (!end)
        return taken;
    *end = 0;
    int used = (int)(end + 4 - c->head) - before;
    return read_head(c, c->head) ? used : -1;
}

static int take_body(Connection *c, const char *data, int count) {
    int taken = c->remain < count ? (int)c->remain : count;
    int room = (int)sizeof c->text - 1 - c->text_len, kept = taken < room ? taken : room;
    memcpy(c->text + c->text_len, data, kept);
    c->text_len += kept;
    c->remain -= taken;
    if (c->remain > 0)
        return taken;
    if (c->state == BODY)
        return answer(c) ? taken : -1;
    c->state = CHUNK_END;
    return taken;
}

/* A byte of a chunk's size, of the line break after a chunk, or of a trailer. */
static int take_framing(Connection *c, char byte) {
    if (byte != '\n') {
        if (byte != '\r' && c->line_len < (int)sizeof c->line - 1)
            c->line[c->line_len++] = byte;
        return 1;
    }
    c->line[c->line_len] = 0;
    bool empty = c->line_len == 0;
    c->line_len = 0;
    if (c->state == CHUNK_END) {
        c->state = CHUNK_SIZE;
    } else if (c->state == CHUNK_SIZE) {
        c->remain = strtoll(c->line, NULL, 16);
        c->state = c->remain ? CHUNK_DATA : TRAILER;
    } else if (empty) {
        return answer(c) ? 1 : -1;
    }
    return 1;
}

static bool feed(Connection *c, const char *data, int count) {
    while (count > 0) {
        int used;
        if (c->state == HEAD)
            used = take_head(c, data, count);
        else if (c->state == BODY || c->state == CHUNK_DATA)
            used = take_body(c, data, count);
        else if (c->state == ANSWERING)
            return drop(c); /* no proxy pipelines requests */
        else
            used = take_framing(c, *data);
        if (used < 0)
            return false;
        data += used;
        count -= used;
    }
    return true;
}

/* ---- the event loop ---- */

static int listen_on(int port) {
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(listener, (void *)&address, sizeof address) || listen(listener, 4096)) {
        perror("mock_upstream");
        exit(1);
    }
    return listener;
}

static void accept_all(int listener) {
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        Connection *c = calloc(1, sizeof *c);
        c->fd = fd;
        c->waiting_at = -1;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    }
}

static void handle(Connection *c, uint32_t events) {
    if (events & (EPOLLERR | EPOLLHUP)) {
        drop(c);
        return;
    }
    if (events & EPOLLIN) {
        ssize_t count = recv(c->fd, read_buffer, READ_SIZE, 0);
        if (count == 0 || (count < 0 && errno != EAGAIN)) {
            drop(c);
            return;
        }
        if (count > 0 && !feed(c, read_buffer, (int)count))
            return;
    }
    if (events & EPOLLOUT && c->state == ANSWERING)
        send_answer(c);
}

/* Milliseconds until the next chunk is due, rounded up; -1 if none is. */
static int patience(void) {
    if (waiting_count == 0)
        return -1;
    long long next = waiting[0]->due_ns, now = now_ns();
    for (int i = 1; i < waiting_count; i++)
        if (waiting[i]->due_ns < next)
            next = waiting[i]->due_ns;
    return next <= now ? 0 : (int)((next - now + 999999) / 1000000);
}

/* Backwards: when an entry leaves, the last one takes its place. */
static void send_what_is_due(void) {
    long long now = waiting_count ? now_ns() : 0;
    for (int i = waiting_count - 1; i >= 0; i--) {
        if (i >= waiting_count || waiting[i]->due_ns > now)
            continue;
        Connection *c = waiting[i];
        stop_waiting(c);
        send_answer(c);
    }
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    uint32_t seed = 12345;
    for (int i = 0; i < LARGEST_CHUNK; i++) {
        seed = seed * 1664525 + 1013904223;
        audio[i] = (char)(seed >> 24);
    }
    int listener = listen_on(argc > 1 ? atoi(argv[1]) : 9001);
    epoll = epoll_create1(0);
    struct epoll_event arrival = {.events = EPOLLIN, .data.ptr = NULL}, events[EVENTS];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &arrival);
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS, patience());
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr)
                handle(events[i].data.ptr, events[i].events);
            else
                accept_all(listener);
        }
        send_what_is_due();
    }
}
