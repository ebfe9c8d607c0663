# The npm packages.

set(NODES ${CMAKE_BINARY_DIR}/node CACHE PATH "Where node-prepare has put the Nodes of the platforms")
set(NODE_TEST ${OFFLINE} ${CMAKE_CURRENT_LIST_DIR}/node ${DIST} ${NODES})

# add_node_case(PLATFORM NAME TIMEOUT TOPIC...): names are release.npm.<platform>.<name>.
function(add_node_case platform name timeout)
  add_test(NAME release.npm.${platform}.${name} COMMAND ${NODE_TEST} ${platform} ${ARGN})
  set_tests_properties(release.npm.${platform}.${name} PROPERTIES TIMEOUT ${timeout})
endfunction()

# The packages of the targets that were built.
foreach(platform x64-gnu arm64-gnu x64-musl arm64-musl)
  file(GLOB packages ${DIST}/npm/yokedcache-linux-${platform}-*.tgz)
  if(NOT packages)
    continue()
  endif()
  # An emulated program takes ten times as long: what depends on the processor, on one backend.
  set(topics contents install)
  if(platform STREQUAL "arm64-gnu")
    set(backends redis)
  elseif(platform STREQUAL "arm64-musl")
    set(backends memcached)
  else()
    set(backends memory redis memcached)
    list(APPEND topics files copy missing bundle twice)
  endif()
  if(platform STREQUAL "x64-gnu")
    list(APPEND topics source oldest adapters)
  endif()
  foreach(topic ${topics})
    add_node_case(${platform} ${topic} 300 ${topic})
  endforeach()
  foreach(backend ${backends})
    add_node_case(${platform} conformance.${backend} 600 conformance ${backend})
  endforeach()
endforeach()
