/* Fails pwrite64 and fdatasync with EIO for files whose path holds the word in the file $FAILING, while that exists.
   With a `!` before the word it fails with EROFS, as does futimens: a volume that is read-only. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

/* The error that it is to fail with; 0 for none. */
static int fails(int fd) {
    char word[256] = "", link[64], path[4096];
    const char *name = getenv("FAILING");
    FILE *file = name ? fopen(name, "r") : NULL;
    if (!file) return 0;
    size_t length = fread(word, 1, sizeof word - 1, file);
    fclose(file);
    word[length] = 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t got = readlink(link, path, sizeof path - 1);
    if (got <= 0 || !length) return 0;
    path[got] = 0;
    int is_read_only = word[0] == '!';
    return strstr(path, word + is_read_only) ? is_read_only ? EROFS : EIO : 0;
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (!real) real = dlsym(RTLD_NEXT, "pwrite64");
    int error = fails(fd);
    if (error) { errno = error; return -1; }
    return real(fd, bytes, count, offset);
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = dlsym(RTLD_NEXT, "fdatasync");
    int error = fails(fd);
    if (error) { errno = error; return -1; }
    return real(fd);
}

int futimens(int fd, const struct timespec times[2]) {
    static int (*real)(int, const struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "futimens");
    if (fails(fd) == EROFS) { errno = EROFS; return -1; }
    return real(fd, times);
}
