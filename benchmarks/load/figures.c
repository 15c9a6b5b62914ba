#include "figures.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "net.h"

/* Waiting times fall into buckets that grow by 1 % each, from 1 microsecond up: percentiles are exact to 1 %. */
enum { BUCKETS = 2048 };

struct figures figures;

static uint64_t buckets[BUCKETS];
static double limits[BUCKETS];
static double busy_before;
static char own[512];

static double busy_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

void figures_begin(void) {
    memset(&figures, 0, sizeof figures);
    memset(buckets, 0, sizeof buckets);
    limits[0] = 1e-6;
    for (int i = 1; i < BUCKETS; i++) limits[i] = limits[i - 1] * 1.01;
    figures.measuring = true;
    busy_before = busy_seconds();
}

void figures_wait(double seconds) {
    int low = 0, high = BUCKETS - 1;
    while (low < high) {
        int middle = (low + high) / 2;
        if (limits[middle] < seconds) low = middle + 1;
        else high = middle;
    }
    buckets[low]++;
}

static double percentile(uint64_t all, double share) {
    uint64_t wanted = (uint64_t)((double)all * share), seen = 0;
    for (int i = 0; i < BUCKETS; i++) {
        seen += buckets[i];
        if (seen > wanted) return limits[i];
    }
    return limits[BUCKETS - 1];
}

void figures_add(const char *name, double value) {
    size_t used = strlen(own);
    snprintf(own + used, sizeof own - used, ", \"%s\": %.9g", name, value);
}

void figures_end(double seconds) {
    figures.measuring = false;
    uint64_t waits = 0;
    for (int i = 0; i < BUCKETS; i++) waits += buckets[i];
    printf("{\"done\": %llu, \"seconds\": %.6f, \"rate\": %.3f, \"reordered\": %llu, \"load_busy\": %.3f",
           (unsigned long long)figures.done, seconds, (double)figures.done / seconds,
           (unsigned long long)figures.reordered, (busy_seconds() - busy_before) / seconds);
    if (waits > 0)
        printf(", \"p50\": %.9f, \"p99\": %.9f, \"p999\": %.9f", percentile(waits, 0.50), percentile(waits, 0.99),
               percentile(waits, 0.999));
    printf("%s}\n", own);
    fflush(stdout);
}
