/* An I2C bus for an unmodified program: built as a shared object and put in front of the C library with LD_PRELOAD.
 * Whoever opens /dev/i2c-N gets the file `bus` in the directory that WEIR_TESTS_I2C names, and what it asks of that
 * file by ioctl is answered as Documentation/i2c/dev-interface.rst of the Linux kernel says. On the bus are
 *   0x48  a TMP105, if there is a file `48` with degrees Celsius: 12 bits, of which an LM75 driver uses 9
 *   0x44  an SHT4x, if there is a file `44` with degrees Celsius and percent of relative humidity
 * A sensor without its file does not acknowledge its address (ENXIO, Documentation/i2c/fault-codes.rst). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/i2c-dev.h>
#include <linux/i2c.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TMP105 0x48
#define SHT4X 0x44
/* SHT4x: measure with high precision; soft reset. */
#define MEASURE 0xfd
#define RESET 0x94

static uint8_t pointer;     /* which register of the TMP105 is read */
static uint8_t measurement; /* the last command of the SHT4x */

static void place(char *path, size_t size, const char *name) {
    snprintf(path, size, "%s/%s", getenv("WEIR_TESTS_I2C") ?: ".", name);
}

/* What the world around a sensor is like; 0 if the sensor is not there. */
static int world(const char *name, double *first, double *second) {
    char path[4096];
    place(path, sizeof path, name);
    FILE *file = fopen(path, "re");
    if (!file) return 0;
    int read = second ? fscanf(file, "%lf %lf", first, second) : fscanf(file, "%lf", first);
    fclose(file);
    return read > 0;
}

/* CRC-8 of the SHT4x: polynomial 0x31, initially 0xff. */
static void word(uint8_t *out, double ticks) {
    uint16_t value = (uint16_t)(ticks + 0.5);
    out[0] = value >> 8;
    out[1] = value & 0xff;
    uint8_t crc = 0xff;
    for (int byte = 0; byte < 2; byte++) {
        crc ^= out[byte];
        for (int bit = 0; bit < 8; bit++) crc = crc & 0x80 ? (uint8_t)(crc << 1) ^ 0x31 : (uint8_t)(crc << 1);
    }
    out[2] = crc;
}

static int tmp105(struct i2c_msg *message) {
    double degrees;
    if (!world("48", &degrees, NULL)) return -ENXIO;
    if (!(message->flags & I2C_M_RD)) {
        if (message->len > 0) pointer = message->buf[0] & 3;
        return 0;
    }
    /* Other registers: configuration and limits, all at 0. */
    uint16_t value = pointer == 0 ? (uint16_t)((int16_t)(degrees * 16) << 4) : 0;
    for (int at = 0; at < message->len; at++) message->buf[at] = at % 2 ? value & 0xff : value >> 8;
    return 0;
}

static int sht4x(struct i2c_msg *message) {
    double degrees, percent;
    if (!world("44", &degrees, &percent)) return -ENXIO;
    if (!(message->flags & I2C_M_RD)) {
        measurement = message->len > 0 && message->buf[0] != RESET ? message->buf[0] : 0;
        return 0;
    }
    /* Nothing was measured: it does not acknowledge. */
    if (measurement != MEASURE || message->len > 6) return -ENXIO;
    uint8_t answer[6];
    word(answer, (degrees + 45) / 175 * 65535);
    word(answer + 3, (percent + 6) / 125 * 65535);
    memcpy(message->buf, answer, message->len);
    measurement = 0;
    return 0;
}

static int transfer(struct i2c_rdwr_ioctl_data *data) {
    for (unsigned at = 0; at < data->nmsgs; at++) {
        struct i2c_msg *message = &data->msgs[at];
        int result = message->addr == TMP105 ? tmp105(message) : message->addr == SHT4X ? sht4x(message) : -ENXIO;
        if (result < 0) {
            errno = -result;
            return -1;
        }
    }
    return (int)data->nmsgs;
}

static int is_bus(int file) {
    char path[4096];
    struct stat bus, this;
    place(path, sizeof path, "bus");
    return stat(path, &bus) == 0 && fstat(file, &this) == 0 && bus.st_dev == this.st_dev && bus.st_ino == this.st_ino;
}

int ioctl(int file, unsigned long request, ...) {
    va_list list;
    va_start(list, request);
    void *argument = va_arg(list, void *);
    va_end(list);
    if (!is_bus(file)) return (int)syscall(SYS_ioctl, file, request, argument);
    switch (request) {
        case I2C_RDWR: return transfer(argument);
        case I2C_FUNCS: *(unsigned long *)argument = I2C_FUNC_I2C; return 0;
        case I2C_SLAVE:
        case I2C_SLAVE_FORCE:
        case I2C_PEC: return 0;
        default: errno = ENOTTY; return -1;
    }
}

static int open_at(const char *path, int flags, mode_t mode) {
    char bus[4096];
    if (strncmp(path, "/dev/i2c-", 9) == 0) {
        place(bus, sizeof bus, "bus");
        path = bus;
    }
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open(const char *path, int flags, ...) {
    va_list list;
    va_start(list, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;
    va_end(list);
    return open_at(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list list;
    va_start(list, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;
    va_end(list);
    return open_at(path, flags | O_LARGEFILE, mode);
}
