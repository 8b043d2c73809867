// A worker and a closed-loop client in one thread, as cheap as they can be, so that the gateway between them is what is
// measured. Built and run by throughput.py.
//
//     raw_load worker                                   prints its port, answers each read with one response
//     raw_load client PORT CONNECTIONS SECONDS < FILE   asks with the file's bytes, prints requests and p50, p99 in us
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_in loopback(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return a;
}

static void watch(int poll, int fd) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(poll, EPOLL_CTL_ADD, fd, &e);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static int worker(void) {
    char body[301], answer[512], in[65536];
    memset(body, 'x', 300);
    body[300] = 0;
    int size = sprintf(answer, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 300\r\n\r\n%s", body);
    struct sockaddr_in a = loopback(0);
    socklen_t length = sizeof a;
    int listener = socket(AF_INET, SOCK_STREAM, 0), poll = epoll_create1(0);
    if (bind(listener, (struct sockaddr *)&a, sizeof a) || listen(listener, 1024)) return 1;
    getsockname(listener, (struct sockaddr *)&a, &length);
    printf("%d\n", ntohs(a.sin_port));
    fflush(stdout);
    watch(poll, listener);
    struct epoll_event events[256];
    for (;;) {
        int n = epoll_wait(poll, events, 256, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                watch(poll, accept(listener, NULL, NULL));
            } else if (read(fd, in, sizeof in) <= 0 || write(fd, answer, size) != size) {
                close(fd);
            }
        }
    }
}

static int by_size(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static int client(int port, int connections, double seconds) {
    static char request[65536], in[65536];
    static double sent[65536];
    int size = fread(request, 1, sizeof request, stdin), poll = epoll_create1(0);
    float *took = malloc(sizeof(float) << 23);
    struct sockaddr_in a = loopback(port);
    for (int i = 0; i < connections; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(fd, (struct sockaddr *)&a, sizeof a)) return 1;
        watch(poll, fd);
        sent[fd] = now();
        if (write(fd, request, size) != size) return 1;
    }
    long done = 0;
    double end = now() + seconds;
    struct epoll_event events[256];
    while (now() < end) {
        int n = epoll_wait(poll, events, 256, 100);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd, got = read(fd, in, sizeof in);
            if (got < 300 || memcmp(in, "HTTP/1.1 200", 12)) return fprintf(stderr, "%.*s\n", got, in), 1;
            double t = now();
            if (done < 1 << 23) took[done] = (t - sent[fd]) * 1e6;
            done++;
            sent[fd] = t;
            if (write(fd, request, size) != size) return 1;
        }
    }
    qsort(took, done, sizeof(float), by_size);
    printf("%ld %.0f %.0f\n", done, took[done / 2], took[done * 99 / 100]);
    return 0;
}

int main(int argc, char **argv) {
    return argc == 5 ? client(atoi(argv[2]), atoi(argv[3]), atof(argv[4])) : worker();
}
