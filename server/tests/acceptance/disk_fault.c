/* Loaded before libc: once the file named by DISK_FAULT_WHEN exists, writes and syncs of files under DISK_FAULT_UNDER fail
 * as its first word says: "full" (ENOSPC), "broken" (EIO at every sync), "read-only" (EROFS), or "torn" (half of a write
 * or pwrite arrives, then EIO). Opening, renaming and cutting files goes on. A sync that fails has still been passed on, as a disk may have done. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static int is_watched(int fd)
{
    const char *under = getenv("DISK_FAULT_UNDER");
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (!under || length < 0)
        return 0;
    path[length] = 0;
    return strncmp(path, under, strlen(under)) == 0;
}

/* The first letter of the fault, or 0. */
static char fault(void)
{
    const char *when = getenv("DISK_FAULT_WHEN");
    int (*real_open)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    ssize_t (*real_read)(int, void *, size_t) = dlsym(RTLD_NEXT, "read");
    int kept = errno, file = when ? real_open(when, O_RDONLY | O_CLOEXEC) : -1;
    char first = 0;
    if (file >= 0) {
        if (real_read(file, &first, 1) != 1)
            first = 0;
        close(file);
    }
    errno = kept;
    return first;
}

static int refuses(int fd)
{
    if (!is_watched(fd))
        return 0;
    switch (fault()) {
    case 'f':
        return ENOSPC;
    case 'r':
        return EROFS;
    default:
        return 0;
    }
}

static int is_torn(int fd)
{
    return is_watched(fd) && fault() == 't';
}

#define REFUSE(fd)                                                                                                            \
    do {                                                                                                                      \
        int why = refuses(fd);                                                                                                \
        if (why) {                                                                                                            \
            errno = why;                                                                                                      \
            return -1;                                                                                                        \
        }                                                                                                                     \
    } while (0)

ssize_t write(int fd, const void *bytes, size_t count)
{
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    REFUSE(fd);
    if (is_torn(fd)) {
        real(fd, bytes, count / 2);
        errno = EIO;
        return -1;
    }
    return real(fd, bytes, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at)
{
    ssize_t (*real)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, "pwrite");
    REFUSE(fd);
    if (is_torn(fd)) {
        real(fd, bytes, count / 2, at);
        errno = EIO;
        return -1;
    }
    return real(fd, bytes, count, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at)
{
    return pwrite(fd, bytes, count, (off_t)at);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    ssize_t (*real)(int, const struct iovec *, int) = dlsym(RTLD_NEXT, "writev");
    REFUSE(fd);
    return real(fd, parts, count);
}

int fsync(int fd)
{
    int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
    int done = real(fd);
    if (is_watched(fd) && fault() == 'b') {
        errno = EIO;
        return -1;
    }
    return done;
}

int fdatasync(int fd)
{
    int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
    int done = real(fd);
    if (is_watched(fd) && fault() == 'b') {
        errno = EIO;
        return -1;
    }
    return done;
}
