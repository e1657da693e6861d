/* Put before libc (LD_PRELOAD): makes one write, fsync, rename or creation of a file below a folder fail, once.
   torture_arm says which: the n-th from then on; torture_count, how many there were. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char folder[PATH_MAX];
static size_t folder_length;
static long fail_at;
static int fail_with;
static atomic_long seen;
static char failed[64];

void torture_arm(const char *path, long at, int error) {
  fail_at = at;
  fail_with = error;
  failed[0] = 0;
  atomic_store(&seen, 0);
  strncpy(folder, path, sizeof folder - 1);
  folder_length = strlen(folder);
}
long torture_count(void) { return atomic_load(&seen); }
const char *torture_failed(void) { return failed; }

/* Whether this operation, on something below the folder, is the one that fails. */
static int fails(const char *what, const char *path) {
  if (!folder_length || !path || strncmp(path, folder, folder_length) != 0) return 0;
  if (atomic_fetch_add(&seen, 1) + 1 != fail_at) return 0;
  strncpy(failed, what, sizeof failed - 1);
  errno = fail_with;
  return 1;
}
static int fails_file(const char *what, int file) {
  char link[64], path[PATH_MAX];
  ssize_t length;
  if (!folder_length) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return fails(what, path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int file, const void *data, size_t size) {
  return fails_file("write", file) ? -1 : REAL(write)(file, data, size);
}
ssize_t pwrite(int file, const void *data, size_t size, off_t at) {
  return fails_file("write", file) ? -1 : REAL(pwrite)(file, data, size, at);
}
ssize_t pwrite64(int file, const void *data, size_t size, off64_t at) {
  return fails_file("write", file) ? -1 : REAL(pwrite64)(file, data, size, at);
}
ssize_t writev(int file, const struct iovec *parts, int count) {
  return fails_file("write", file) ? -1 : REAL(writev)(file, parts, count);
}
int fsync(int file) { return fails_file("fsync", file) ? -1 : REAL(fsync)(file); }
int fdatasync(int file) { return fails_file("fsync", file) ? -1 : REAL(fdatasync)(file); }
int ftruncate(int file, off_t length) { return fails_file("truncate", file) ? -1 : REAL(ftruncate)(file, length); }
int ftruncate64(int file, off64_t length) {
  return fails_file("truncate", file) ? -1 : REAL(ftruncate64)(file, length);
}
int rename(const char *from, const char *to) { return fails("rename", to) ? -1 : REAL(rename)(from, to); }
int renameat(int at, const char *from, int there, const char *to) {
  return fails("rename", to) ? -1 : REAL(renameat)(at, from, there, to);
}
int mkdir(const char *path, mode_t mode) { return fails("mkdir", path) ? -1 : REAL(mkdir)(path, mode); }

#define OPEN(name)                                                              \
  int name(const char *path, int flags, ...) {                                  \
    mode_t mode = 0;                                                            \
    va_list rest;                                                               \
    va_start(rest, flags);                                                      \
    if (flags & (O_CREAT | __O_TMPFILE)) mode = va_arg(rest, mode_t);           \
    va_end(rest);                                                               \
    if ((flags & O_CREAT) && fails("create", path)) return -1;                  \
    return ((int (*)(const char *, int, ...))dlsym(RTLD_NEXT, #name))(path, flags, mode); \
  }
OPEN(open)
OPEN(open64)
