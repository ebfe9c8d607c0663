/* Checks that fail are counted and make a test fail. */
#include "calls.h"

int main(void) {
    CHECK(1 + 1 == 2);
    CHECK(1 + 1 == 3);
    CHECK_STATUS(YC_OK, YC_MISS);
    check_error(NULL, YC_E_INVALID, "an error that is missing", __FILE__, __LINE__);
    return check_result();
}
