# The archives and the Debian packages.

set(C_TEST ${OFFLINE} ${CMAKE_CURRENT_LIST_DIR}/c ${DIST} ${CMAKE_BINARY_DIR})

# The systems that were built.
foreach(platform x86_64-gnu aarch64-gnu x86_64-musl aarch64-musl)
  string(REPLACE "-" "-unknown-linux-" target ${platform})
  if(EXISTS ${DIST}/stage/${target})
    foreach(topic contents shared static tool)
      add_test(NAME release.c.${platform}.${topic} COMMAND ${C_TEST} ${platform} ${topic})
    endforeach()
  endif()
endforeach()
add_test(NAME release.deb.amd64 COMMAND ${C_TEST} x86_64-gnu debian)
if(EXISTS ${DIST}/stage/aarch64-unknown-linux-gnu)
  add_test(NAME release.deb.arm64 COMMAND ${C_TEST} aarch64-gnu unpacked)
endif()
