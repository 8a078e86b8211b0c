/* Reads CPU quotas of Linux control groups, versions 1 and 2 (kernel: Documentation/admin-guide/cgroup-v2.rst, "cpu.max";
 * scheduler/sched-bwc.rst, "cpu.cfs_quota_us"). A quota anywhere on the way to the root binds, so every parent is read.
 * In a container the group's own path may be invisible; its limits then stand at the mount's root, the last step of the
 * same walk. May not fail: whatever cannot be read sets no limit. */
#define _GNU_SOURCE
#include "bnf_cgroup.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The file's first bytes as a string; false if it cannot be read. */
static int read_text(const char *path, char *text, size_t size)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    size_t length = 0;
    for (ssize_t n; length < size - 1 && (n = read(fd, text + length, size - 1 - length)) > 0;)
        length += (size_t)n;
    close(fd);
    text[length] = '\0';
    return length > 0;
}

/* CPUs in quota_us of each period_us, rounded up; 0: none. */
static int whole_cpus(long long quota_us, long long period_us)
{
    if (quota_us <= 0 || period_us <= 0)
        return 0;
    const long long cpus = quota_us / period_us + (quota_us % period_us != 0);
    return cpus < INT_MAX ? (int)cpus : INT_MAX;
}

static int smaller_limit(int a, int b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* Version 2: "200000 100000" or "max 100000". */
static int limit_v2(const char *folder)
{
    char path[PATH_MAX], text[64];
    long long quota_us, period_us;
    snprintf(path, sizeof path, "%s/cpu.max", folder);
    if (!read_text(path, text, sizeof text) || sscanf(text, "%lld %lld", &quota_us, &period_us) != 2)
        return 0;
    return whole_cpus(quota_us, period_us);
}

/* Version 1: two files; a quota of -1 is none. */
static int limit_v1(const char *folder)
{
    char path[PATH_MAX], text[64];
    long long quota_us, period_us;
    snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", folder);
    if (!read_text(path, text, sizeof text) || sscanf(text, "%lld", &quota_us) != 1)
        return 0;
    snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
    if (!read_text(path, text, sizeof text) || sscanf(text, "%lld", &period_us) != 1)
        return 0;
    return whole_cpus(quota_us, period_us);
}

/* The smallest limit of base/group, of its parents, and of base. */
static int walk_up(const char *base, const char *group, int (*limit_of)(const char *folder))
{
    char folder[PATH_MAX - 32]; /* room for a file name */
    const int length = snprintf(folder, sizeof folder, "%s%s", base, group);
    if (length < 0 || (size_t)length >= sizeof folder)
        return 0;
    const size_t base_len = strlen(base);
    int limit = 0;
    for (;;) {
        limit = smaller_limit(limit, limit_of(folder));
        char *slash = strrchr(folder + base_len, '/');
        if (slash == NULL)
            return limit;
        *slash = '\0';
    }
}

/* Is `word` one of the comma-separated `list`, which ends at `end`? */
static int in_list(const char *list, const char *end, const char *word)
{
    const size_t n = strlen(word);
    while (list < end) {
        const char *comma = memchr(list, ',', (size_t)(end - list));
        const char *stop = comma != NULL ? comma : end;
        if ((size_t)(stop - list) == n && memcmp(list, word, n) == 0)
            return 1;
        list = stop + 1;
    }
    return 0;
}

/* Lines are "number:controllers:/group"; version 2 has the number 0 and no controllers. */
int bnf_cgroup_cpus(const char *proc_file, const char *mount)
{
    char text[8192];
    if (!read_text(proc_file, text, sizeof text))
        return 0;
    int limit = 0;
    for (char *line = text, *next; line != NULL; line = next) {
        next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        const char *controllers = strchr(line, ':');
        const char *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (group == NULL)
            continue;
        controllers++;
        if (strncmp(line, "0::", 3) == 0) {
            limit = smaller_limit(limit, walk_up(mount, group + 1, limit_v2));
        } else if (in_list(controllers, group, "cpu")) {
            char base[PATH_MAX / 2]; /* distributions link "cpu" to wherever the controller is mounted */
            const int length = snprintf(base, sizeof base, "%s/cpu", mount);
            if (length > 0 && (size_t)length < sizeof base)
                limit = smaller_limit(limit, walk_up(base, group + 1, limit_v1));
        }
    }
    return limit;
}
