# The Go modules.

set(GO_TEST ${OFFLINE} ${CMAKE_CURRENT_LIST_DIR}/go ${DIST})

# The systems that were built.
foreach(platform amd64-gnu arm64-gnu amd64-musl arm64-musl)
  string(REPLACE "amd64" "x86_64" target ${platform})
  string(REPLACE "arm64" "aarch64" target ${target})
  string(REPLACE "-" "-unknown-linux-" target ${target})
  if(EXISTS ${DIST}/stage/${target})
    add_test(NAME release.go.${platform}.conformance COMMAND ${GO_TEST} ${platform} conformance)
  endif()
endforeach()
foreach(topic program static vendor dynamic modes refused adapters)
  add_test(NAME release.go.amd64-gnu.${topic} COMMAND ${GO_TEST} amd64-gnu ${topic})
endforeach()
