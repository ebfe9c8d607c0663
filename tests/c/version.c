/* Cargo.toml, the header and the library are of one version, and a mismatch is seen. */
#include "calls.h"

/* "0.1.0" as the header's number. */
static uint32_t number_of(const char *version) {
    unsigned major = 0, minor = 0, patch = 0;
    CHECK(sscanf(version, "%u.%u.%u", &major, &minor, &patch) == 3);
    return major * 10000 + minor * 100 + patch;
}

static void check_mismatch(uint32_t header) {
    yc_error *error = NULL;
    CHECK_CALL(yc_check_abi(header, err), YC_E_ABI_MISMATCH);
    CHECK_STATUS(yc_check_abi(header, &error), YC_E_ABI_MISMATCH);
    CHECK(strstr(yc_error_message(error), yc_version()) != NULL);
    yc_error_free(error);
}

static void check_other_version_is_named(void) {
    yc_error *error = NULL;
    CHECK_STATUS(yc_check_abi(120304, &error), YC_E_ABI_MISMATCH);
    CHECK(strstr(yc_error_message(error), "12.3.4") != NULL);
    yc_error_free(error);
}

int main(void) {
    CHECK(strcmp(yc_version(), CARGO_VERSION) == 0);
    CHECK(number_of(CARGO_VERSION) == YC_VERSION_NUMBER);
    CHECK_CALL(yc_check_abi(YC_VERSION_NUMBER, err), YC_OK);
    check_mismatch(YC_VERSION_NUMBER + 1);
    check_mismatch(YC_VERSION_NUMBER + 100);
    check_mismatch(YC_VERSION_NUMBER - 100);
    check_mismatch(YC_VERSION_NUMBER + 10000);
    check_mismatch(UINT32_MAX);
    check_other_version_is_named();
    return check_result();
}
