# The npm packages.

set(NODES ${CMAKE_BINARY_DIR}/node CACHE PATH "Where node-prepare has put the Nodes of the platforms")
set(NODE_TEST ${OFFLINE} ${CMAKE_CURRENT_LIST_DIR}/node ${DIST} ${NODES})

# add_node_case(PLATFORM NAME TIMEOUT TOPIC...): names are release.npm.<platform>.<name>.
function(add_node_case platform name timeout)
  add_test(NAME release.npm.${platform}.${name} COMMAND ${NODE_TEST} ${platform} ${ARGN})
  set_tests_properties(release.npm.${platform}.${name} PROPERTIES TIMEOUT ${timeout})
endfunction()

# The packages of the targets that were built. qemu takes ten times as long.
foreach(platform x64-gnu arm64-gnu x64-musl arm64-musl)
  file(GLOB packages ${DIST}/npm/yokedcache-linux-${platform}-*.tgz)
  if(NOT packages)
    continue()
  endif()
  set(topics contents install files copy missing)
  if(platform MATCHES "x64")
    list(APPEND topics bundle twice)
  endif()
  if(platform STREQUAL "x64-gnu")
    list(APPEND topics source oldest)
  endif()
  foreach(topic ${topics})
    add_node_case(${platform} ${topic} 300 ${topic})
  endforeach()
  foreach(backend memory redis memcached)
    add_node_case(${platform} conformance.${backend} 600 conformance ${backend})
  endforeach()
endforeach()
