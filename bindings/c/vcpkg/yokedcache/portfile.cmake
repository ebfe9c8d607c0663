# Installs the libraries of a release. bindings/c/ports writes archives.cmake: where they are, and their checksums.
include("${CMAKE_CURRENT_LIST_DIR}/archives.cmake")

# vcpkg does not name the C library: a triplet for musl says set(YOKEDCACHE_LIBC musl).
if(NOT DEFINED YOKEDCACHE_LIBC)
    set(YOKEDCACHE_LIBC gnu)
endif()
set(arch "${VCPKG_TARGET_ARCHITECTURE}")
if(arch STREQUAL "x64")
    set(arch x86_64)
elseif(arch STREQUAL "arm64")
    set(arch aarch64)
endif()
set(system "${arch}-linux-${YOKEDCACHE_LIBC}")
if(NOT DEFINED sha512_${system})
    message(FATAL_ERROR "yokedcache ${VERSION} has no package for ${system}: build it from source with bindings/c/install")
endif()

set(name "yokedcache-${VERSION}-${system}.tar.gz")
vcpkg_download_distfile(archive URLS "${url}/${name}" FILENAME "${name}" SHA512 "${sha512_${system}}")
vcpkg_extract_source_archive(source ARCHIVE "${archive}")

# One build serves both types of build.
set(VCPKG_POLICY_MISMATCHED_NUMBER_OF_BINARIES enabled)
set(config "${CURRENT_PACKAGES_DIR}/share/${PORT}/yokedcache-config.cmake")
file(INSTALL "${source}/include" DESTINATION "${CURRENT_PACKAGES_DIR}")
file(INSTALL "${source}/lib/libyokedcache.a" "${source}/lib/pkgconfig" DESTINATION "${CURRENT_PACKAGES_DIR}/lib")
file(INSTALL "${source}/lib/cmake/yokedcache/" DESTINATION "${CURRENT_PACKAGES_DIR}/share/${PORT}")
# vcpkg has these files in share/yokedcache, one folder less deep.
file(READ "${config}" text)
string(REPLACE "/../../.." "/../.." text "${text}")

if(VCPKG_LIBRARY_LINKAGE STREQUAL "static")
    # A static triplet has the static library only, under both names.
    string(PREPEND text "if(NOT TARGET yokedcache::yokedcache)
    add_library(yokedcache::yokedcache INTERFACE IMPORTED)
    set_target_properties(yokedcache::yokedcache PROPERTIES INTERFACE_LINK_LIBRARIES yokedcache::static)
endif()
")
    file(RENAME "${CURRENT_PACKAGES_DIR}/lib/pkgconfig/yokedcache-static.pc" "${CURRENT_PACKAGES_DIR}/lib/pkgconfig/yokedcache.pc")
else()
    file(GLOB libraries "${source}/lib/libyokedcache.so*")
    file(INSTALL ${libraries} DESTINATION "${CURRENT_PACKAGES_DIR}/lib")
endif()
file(WRITE "${config}" "${text}")

set(documents "${source}/share/doc/yokedcache")
vcpkg_install_copyright(FILE_LIST "${documents}/LICENSE" "${documents}/THIRD-PARTY-NOTICES")
file(INSTALL "${CMAKE_CURRENT_LIST_DIR}/usage" DESTINATION "${CURRENT_PACKAGES_DIR}/share/${PORT}")
