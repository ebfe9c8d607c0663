/* Writes one byte behind a block: AddressSanitizer has to end this program, or its other tests prove nothing. */
#include <stdio.h>
#include <stdlib.h>

int main(int count, char **arguments) {
    (void)arguments;
    volatile char *block = malloc(8);
    block[7 + count] = 'x';
    puts("nobody noticed");
    free((void *)block);
    return 0;
}
