/* Writes one byte behind a block and loses it: a tool that does not say so proves nothing by its silence. */
#include <stdio.h>
#include <stdlib.h>

static void write_behind(int count) {
    volatile char *block = malloc(8);
    block[7 + count] = 'x';
}

int main(int count, char **arguments) {
    (void)arguments;
    write_behind(count);
    puts("done");
    return 0;
}
