service Google Memorystore for Memcached 1.5 (`binary: true`)
source Memorystore for Memcached, "Supported versions" (1.5.16, the default), 2025
# 1.5.16 has no meta commands: the binary protocol has all that the library needs.
server memcached
options binary=true
answer version VERSION 1.5.16\r\n
refuse mg ms md ma mn me watch
note Needs `binary: true`: the server has no meta commands.
